"""What a model still knows when patches are removed, and not painted over: their tokens are left out."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from vit_steps.doors import door, values
from vit_steps.looking._tokens import AT_ONCE, enter, finish, pick, prefix_of, reads_cls, turns_no_token
from vit_steps.looking.attention_maps import _each_patch_once, _share_right
from vit_steps.vit import ViT


def _all_patches(model: ViT, order: Tensor) -> None:
    patches = model.grid[0] * model.grid[1]
    if order.shape[1] != patches:
        raise ValueError(f"order has {order.shape[1]} patches, the model has {patches}")


@door(
    "images batch is at least 1: a mean over images needs one",
    lambda images: values.finite("images", images, "there is no answer"),
    reads_cls,
    turns_no_token,
    _all_patches,
    _each_patch_once,
)
def removal_curve(
    model: ViT,
    images: Float[Tensor, "batch channels height width"],
    labels: Integer[Tensor, " batch"],
    order: Integer[Tensor, "batch patches"],
) -> Float[Tensor, " patches+1"]:
    """Accuracy as tokens are left out, one after the other (deletion, arXiv 1806.07421, without paint).

    A transformer takes any number of tokens. So a patch can be really gone: its token, place and all, is not
    among those that the first block sees. Compare it with a random order, and with :func:`deletion_curve`,
    which paints.

    Args:
        model: a ViT in eval mode that reads its CLS token. It is run without gradients. Registers stay.
        images: a batch of images.
        labels: the class of each image.
        order: for each image the numbers of its patches (row-major), the first to go first.

    Returns:
        Accuracy between 0 and 1 after 0, 1, ..., all patches are gone: only the prefix is left at last.

    Raises:
        ValueError: "order of image 3 does not hold each of the patches 0 to 15 once",
            "order has 15 patches, the model has 16", "model pools the mean of the patches, not its CLS token
            alone", "model has no CLS token: it pools the patches by attention", "model turns queries and keys
            by their places: without one token, the next would be turned as it".
        TypeError: an argument is not a tensor of the right dtype, or "model must be a ViT, not Linear".
    """
    with torch.no_grad():
        parts = zip(*(each.split(AT_ONCE) for each in (images, order.long())), strict=True)
        logits = torch.cat([_without(model, some, theirs) for some, theirs in parts], dim=1)
        return torch.stack([_share_right(each, labels) for each in logits])


def _without(model: ViT, images: Tensor, order: Tensor) -> Tensor:
    """Logits when 0, 1, ..., all patches are gone."""
    tokens, prefix = enter(model, images), prefix_of(model, order)
    patches = model.num_prefix + order
    rows = [torch.cat([prefix, patches[:, gone:]], dim=1) for gone in range(order.shape[1] + 1)]
    return torch.stack([finish(model, pick(tokens, kept)) for kept in rows])
