"""All exercises of the five lessons in one table: editions, grading and the teacher's pack are made from it.

>>> [exercise.id for exercise in EXERCISES if exercise.lesson == "2_cls_token"]
['2a', '2b', '2c']
>>> exercise = find_exercise("2b")
>>> exercise.title, exercise.names, exercise.points
('A mean of patches, and of nothing else', ('pool_patches',), 3)
>>> answers = exercise.mistakes["this is the sum; divide by the number of patches"]
>>> grade(exercise.check, *answers).mistake
'this is the sum; divide by the number of patches'
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_steps.classification import classify, pool_mean
from vit_steps.cls_token import prepend_registers
from vit_steps.doors import door
from vit_steps.encoder import attention_weights, self_attention
from vit_steps.lessons import _wrong
from vit_steps.lessons._verdict import NOT_YET, Grade, grade
from vit_steps.lessons.classification import (
    CLASSIFY_BY_MEAN_MISTAKES,
    SMOOTHED_LOSS_MISTAKES,
    check_classify_by_mean,
    check_freeze_all_but_head,
    check_smoothed_loss,
)
from vit_steps.lessons.cls_token import (
    POOL_PATCHES_MISTAKES,
    REACHED_MISTAKES,
    REGISTERS_MISTAKES,
    check_pool_patches,
    check_reached,
    check_registers,
)
from vit_steps.lessons.encoder import check_attention_zoo, check_pool_zoo, check_weights_zoo
from vit_steps.lessons.my_vit import check_my_vit
from vit_steps.lessons.patch_embedding import (
    PATCHES2IMAGE_MISTAKES,
    WEIGHT_ROWS_MISTAKES,
    check_overlap,
    check_patches2image,
    check_weight_rows,
)
from vit_steps.lessons.position_embedding import (
    MOST_ALIKE_MISTAKES,
    SWAP_POSITIONS_MISTAKES,
    check_most_alike,
    check_sincos_1d,
    check_swap_positions,
)
from vit_steps.patch_embedding import image2emb_conv, patches2image
from vit_steps.position_embedding import sincos_position
from vit_steps.vit import ViT

LESSONS = ("1_patch_embedding", "2_cls_token", "3_position_embedding", "4_encoder", "5_classification")


@dataclass(frozen=True)
class Exercise:
    """One exercise of one lesson.

    Attributes:
        lesson: stem of the notebook, "1_patch_embedding".
        letter: "a", and "vit" for the ViT of lesson 5; its cells are ``exercise-a``, ``exercise-a-stub``,
            ``exercise-a-solution``.
        title: as the heading says it, without the letter.
        check: the ``check_…`` function.
        names: what the reader defines in the stub, in the order in which the check takes it.
        points: for a right answer; there are none for a wrong one.
        mistakes: from the name of a mistake, as ``grade`` gives it, to answers that make it. What has no name
            (a shape, an error) is not among them.
        borrowed: answers that call what is to be written; None where the check does not mind.
    """

    lesson: str
    letter: str
    title: str
    check: Callable[..., bool]
    names: tuple[str, ...]
    points: int
    mistakes: Mapping[str, tuple] = field(repr=False)
    borrowed: tuple | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The number of the lesson and the letter: "1a", "5vit"."""
        return self.lesson[0] + self.letter

    @property
    def cell(self) -> str:
        """Where the ids of its cells begin: "exercise-a"."""
        return f"exercise-{self.letter}"

    def grade(self, namespace: Mapping[str, Any]) -> Grade:
        """Grade what a notebook has defined; a name that is not there is no answer yet."""
        missing = [name for name in self.names if name not in namespace]
        if missing:
            return Grade(False, f"not yet: there is no {missing[0]}", NOT_YET)
        return grade(self.check, *(namespace[name] for name in self.names))


@door()
def find_exercise(id: str) -> Exercise:
    """Find an exercise by its id.

    Raises:
        ValueError: "id must be one of 1a, 1b, ..., got '6a'".
    """
    found = {exercise.id: exercise for exercise in EXERCISES}
    if id not in found:
        raise ValueError(f"id must be one of {', '.join(found)}, got {id!r}")
    return found[id]


def _alone(mistakes: Mapping[str, Any]) -> dict[str, tuple]:
    return {words: (answer,) for words, answer in mistakes.items()}


def _cut_and_count(size: tuple[int, int], patch: int, stride: int) -> tuple[int, range]:
    tokens = image2emb_conv(torch.ones(1, 1, *size), torch.ones(1, 1, patch, patch), stride)
    return tokens.shape[1], range(stride, patch)


def _with_prepended(patches: Tensor, cls_token: Tensor, registers: Tensor) -> Tensor:
    with_registers = prepend_registers(patches, registers)
    return torch.cat([cls_token.expand(len(patches), -1, -1), with_registers], dim=1)


def _by_torch(logits: Tensor, label: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(logits, label, label_smoothing=smoothing)


def _like_self_attention(attention: Callable) -> bool:
    given = _wrong._two_images()
    return torch.allclose(attention(*given)[0], self_attention(*given)[0], atol=1e-5)


def _like_attention_weights(weights_of: Callable) -> bool:
    query, key = torch.randn(2, 2, 3, 5, 4)
    return torch.allclose(weights_of(query, key), attention_weights(query, key), atol=1e-5)


def _like_pool_mean(pool: Callable) -> bool:
    tokens = torch.randn(2, 5, 8)
    return torch.allclose(pool(tokens), pool_mean(tokens), atol=1e-5)


def _the_packages_vit(*sizes: Any) -> ViT:
    return ViT(**dict(zip(_wrong.SIZES, sizes, strict=True)))


def _the_packages_table(places: int, dim: int) -> Tensor:
    return sincos_position((1, places), 2 * dim)[:, :dim]


_LOOP = "right numbers, but in a loop: reshape and permute move all patches at once"
EXERCISES = (
    Exercise(
        *("1_patch_embedding", "a", "Put the patches back", check_patches2image, ("my_patches2image",), 3),
        mistakes=_alone(PATCHES2IMAGE_MISTAKES | {_LOOP: _wrong.put_back_in_a_loop}),
        borrowed=(lambda patches, size, image_size: patches2image(patches, size, image_size),),
    ),
    Exercise(
        *("1_patch_embedding", "b", "The other order", check_weight_rows, ("weight_rows",), 3),
        mistakes=_alone(WEIGHT_ROWS_MISTAKES),
    ),
    Exercise(
        *("1_patch_embedding", "c", "Patches that overlap", check_overlap, ("overlap",), 4),
        mistakes=_alone(_wrong.OVERLAP),
        borrowed=(_cut_and_count,),
    ),
    Exercise(
        *("2_cls_token", "a", "Four registers", check_registers, ("add_registers",), 3),
        mistakes=_alone(REGISTERS_MISTAKES),
        borrowed=(_with_prepended,),
    ),
    Exercise(
        *("2_cls_token", "b", "A mean of patches, and of nothing else", check_pool_patches),
        *(("pool_patches",), 3),
        mistakes=_alone(POOL_PATCHES_MISTAKES),
        borrowed=(lambda tokens, num_prefix: pool_mean(tokens, num_prefix=num_prefix),),
    ),
    Exercise(
        *("2_cls_token", "c", "Whom does the loss reach?", check_reached, ("reached",), 4),
        mistakes=_alone(REACHED_MISTAKES),
    ),
    Exercise(
        *("3_position_embedding", "a", "One axis is not enough", check_sincos_1d),
        *(("sincos_1d", "false_neighbours"), 4),
        mistakes=_wrong.SINCOS_1D,
        borrowed=(_the_packages_table, _wrong.ROW_ENDS),
    ),
    Exercise(
        *("3_position_embedding", "b", "Find the one that is most alike", check_most_alike),
        *(("most_alike",), 3),
        mistakes=_alone(MOST_ALIKE_MISTAKES),
    ),
    Exercise(
        *("3_position_embedding", "c", "Swap two positions", check_swap_positions, ("swap_positions",), 3),
        mistakes=_alone(SWAP_POSITIONS_MISTAKES),
    ),
    Exercise(
        *("4_encoder", "a", "Is this the mean of the patches?", check_pool_zoo, ("is_mean_of_patches",), 3),
        mistakes=_alone(_wrong.POOL),
        borrowed=(_like_pool_mean,),
    ),
    Exercise(
        *("4_encoder", "b", "Are these attention weights?", check_weights_zoo, ("is_attention",), 3),
        mistakes=_alone(_wrong.WEIGHTS),
        borrowed=(_like_attention_weights,),
    ),
    Exercise(
        *("4_encoder", "c", "Is this self-attention? Find out without knowing the answer"),
        *(check_attention_zoo, ("is_self_attention",), 4),
        mistakes=_alone(_wrong.ATTENTION),
        borrowed=(_like_self_attention,),
    ),
    Exercise(
        *("5_classification", "vit", "Now write it yourself", check_my_vit, ("MyViT",), 10),
        mistakes=_alone(_wrong.MY_VIT),
        borrowed=(_the_packages_vit,),
    ),
    Exercise(
        *("5_classification", "a", "Label smoothing by hand", check_smoothed_loss, ("smoothed_loss",), 3),
        mistakes=_alone(SMOOTHED_LOSS_MISTAKES),
        borrowed=(_by_torch,),
    ),
    Exercise(
        *("5_classification", "b", "The head, with mean pooling", check_classify_by_mean),
        *(("classify_by_mean",), 3),
        mistakes=_alone(CLASSIFY_BY_MEAN_MISTAKES),
        borrowed=(lambda tokens, norm, head: classify(tokens, norm, head, pool=pool_mean),),
    ),
    Exercise(
        *("5_classification", "c", "Freeze all but the head", check_freeze_all_but_head),
        *(("freeze_all_but_head",), 4),
        mistakes=_alone(_wrong.FREEZE),
    ),
)
