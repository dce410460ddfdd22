"""Training: fit a ViT on one core or many machines, and keep it in a file that is never unpickled.

Here live the loop (``loop``), the maps that move its images (``augmentation``), fresh models (``models``),
how often a model is right (``measuring``), a model's file (``checkpoints``) and the command (``command``).
Within are the file of a run, the work of several processes, and what is refused (``_…``).
"""

from vit_steps.training.augmentation import random_affine
from vit_steps.training.checkpoints import SHIPPED, load_checkpoint, read_notes, save_checkpoint
from vit_steps.training.loop import fit
from vit_steps.training.measuring import accuracy
from vit_steps.training.models import digits_model, fresh_model
from vit_steps.training.recipe import History, Recipe

__all__ = [
    "SHIPPED",
    "History",
    "Recipe",
    "accuracy",
    "digits_model",
    "fit",
    "fresh_model",
    "load_checkpoint",
    "random_affine",
    "read_notes",
    "save_checkpoint",
]
