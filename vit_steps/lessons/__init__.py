"""Lessons: what a cell needs around it, and what the exercises are held against.

``cells`` shows a function and a figure in a notebook. The exercises of each lesson have a module of the
lesson's name; its ``check_…`` functions say what is wrong with a reader's answer, and not only that it is.
"Check" means this and nothing else.
"""

from vit_steps.lessons._verdict import Grade, grade
from vit_steps.lessons.cells import show_figure, show_source
from vit_steps.lessons.classification import (
    check_classify_by_mean,
    check_freeze_all_but_head,
    check_smoothed_loss,
)
from vit_steps.lessons.cls_token import check_pool_patches, check_reached, check_registers
from vit_steps.lessons.encoder import check_attention_zoo, check_pool_zoo, check_weights_zoo
from vit_steps.lessons.left_out import leave_out
from vit_steps.lessons.my_vit import check_my_vit
from vit_steps.lessons.patch_embedding import check_overlap, check_patches2image, check_weight_rows
from vit_steps.lessons.position_embedding import check_most_alike, check_sincos_1d, check_swap_positions

__all__ = [
    "Grade",
    "check_attention_zoo",
    "check_classify_by_mean",
    "check_freeze_all_but_head",
    "check_most_alike",
    "check_my_vit",
    "check_overlap",
    "check_patches2image",
    "check_pool_patches",
    "check_pool_zoo",
    "check_reached",
    "check_registers",
    "check_sincos_1d",
    "check_smoothed_loss",
    "check_swap_positions",
    "check_weight_rows",
    "check_weights_zoo",
    "grade",
    "leave_out",
    "show_figure",
    "show_source",
]
