"""The CLS token between two blocks: what it holds, and what becomes of the answer when it is another's."""

import torch
from jaxtyping import Float
from torch import Tensor

from vit_steps.doors import door, values
from vit_steps.looking._tokens import AT_ONCE, by_block, finish, has_cls, reads_cls
from vit_steps.vit import ViT

Images = Float[Tensor, "batch channels height width"]


@door(has_cls)
def cls_by_block(model: ViT, images: Images) -> Float[Tensor, "stops batch dim"]:
    """The CLS token as it enters the first block, and as it leaves each of them.

    Raises:
        ValueError: "model has no CLS token: it pools the mean of the patches".
        TypeError: "model must be a ViT, not Linear", or ``images`` is not a floating-point tensor.
    """
    with torch.no_grad():
        parts = [by_block(model, part) for part in images.split(AT_ONCE)]
        return torch.cat([torch.stack([tokens[:, 0] for tokens in stops]) for stops in parts], dim=1)


def _that_many_blocks(model: ViT, blocks: int) -> None:
    if blocks > len(model.blocks):
        raise ValueError(f"blocks {blocks} is more than the model has, {len(model.blocks)}")


@door(
    "blocks is at least 0",
    _that_many_blocks,
    reads_cls,
    lambda images: values.finite("images", images, "there is no answer"),
    lambda others: values.finite("others", others, "there is no answer"),
)
def swap_cls(model: ViT, images: Images, others: Images, blocks: int) -> Float[Tensor, "batch classes"]:
    """Logits when the CLS token of each image, after so many blocks, is replaced by that of another.

    Patches and registers stay the image's own, and the blocks behind run on: an intervention, where a probe
    only reads.

    Args:
        model: in eval mode.
        images: whose patches go on.
        others: whose CLS tokens take the place, one for each image.
        blocks: how many blocks are behind when they are swapped; 0 is before the first.

    Raises:
        ValueError: "blocks 5 is more than the model has, 4", "images has batch 3, others has batch 2", "model
            pools the mean of the patches, not its CLS token alone".
        TypeError: "model must be a ViT, not Linear", or images that are not floating-point tensors.
    """
    with torch.no_grad():
        tokens, foreign = (by_block(model, each)[blocks] for each in (images, others))
        return finish(model, torch.cat([foreign[:, :1], tokens[:, 1:]], dim=1), blocks)
