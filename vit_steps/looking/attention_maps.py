"""What attention tensors, kernels and a model show when they are laid out as maps, distances and curves."""

from collections.abc import Callable
from math import isqrt

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from vit_steps.doors import door, values

PREFIX = "num_prefix is at least 0"
PATCHES = "attention tokens is num_prefix + grid rows * grid cols: the CLS token and registers come first"


@door(
    "num_prefix is at least 1: the CLS token comes first",
    PATCHES,
    "layer is an index of attention depth",
    "attention heads is at least 1",
    "head is an index of attention heads",
)
def cls_attention(
    attention: Float[Tensor, "batch depth heads tokens tokens"],
    grid: tuple[int, int],
    *,
    layer: int = -1,
    head: int | None = None,
    num_prefix: int = 1,
) -> Float[Tensor, "batch rows cols"]:
    """Lay what the CLS token attends to out as a picture, one number per patch.

    Args:
        attention: weights of all layers, as :meth:`vit_steps.ViT.trace` returns them.
        grid: (rows, cols), counted in patches.
        layer: which encoder block, from 0; negative numbers count from the last.
        head: which head; ``None`` is the mean over all of them.
        num_prefix: tokens before the patches, which no picture shows: the CLS token, and registers. Of a
            model without a CLS token, :func:`vit_steps.looking.attribution.answer_attention` knows more.

    Returns:
        Weights between 0 and 1. They sum to what the CLS token does not spend on the prefix.

    Raises:
        ValueError: "attention tokens 17 is not num_prefix 1 + grid rows 3 * grid cols 3 = 10: the CLS token
            and registers come first", "layer 12 is out of range: attention
            depth is 12", and the same for ``head``.
        TypeError: ``attention`` is not a floating-point tensor, or a number is not an integer.
    """
    weights = attention[:, layer, :, 0, num_prefix:]
    weights = weights.mean(dim=1) if head is None else weights[:, head]
    return weights.unflatten(1, grid)


@door("attention depth is at least 1", "attention heads is at least 1", "attention tokens is at least 1")
def attention_rollout(
    attention: Float[Tensor, "batch depth heads tokens tokens"],
) -> Float[Tensor, "batch tokens tokens"]:
    """Follow attention from the last layer back to the input (Abnar and Zuidema, arXiv 2005.00928).

    A block adds what it attended to onto the token that it already had, so half of each layer's mixing
    matrix is attention, averaged over heads, and the other half is the identity: the token's own residual
    stream. The product of these matrices, the last layer leftmost, says how much of each input token reached
    each output.

    Returns:
        Rows are output tokens, columns input tokens; each row sums to 1. Registers take part, as they mix
        tokens, too: a picture is ``rollout[:, 0, model.num_prefix :]``, where there is a CLS token to read.
        :func:`vit_steps.looking.attribution.answer_rollout` has one for each way to pool.

    Raises:
        ValueError: ``attention`` does not have five axes, or is not square in its last two, or "attention
            depth must be at least 1, got 0".
        TypeError: ``attention`` is not a floating-point tensor.
    """
    identity = torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
    mixing = 0.5 * attention.mean(dim=2) + 0.5 * identity
    mixing = mixing / mixing.sum(dim=-1, keepdim=True)
    rollout = mixing[:, 0]
    for layer in range(1, mixing.shape[1]):
        rollout = mixing[:, layer] @ rollout
    return rollout


A_MEAN = (
    "attention batch is at least 1: a mean over images needs one",
    "attention depth is at least 1",
    "attention heads is at least 1",
    "attention tokens is at least 1",
)


@door(*A_MEAN, PREFIX, PATCHES)
def mean_attention_distance(
    attention: Float[Tensor, "batch depth heads tokens tokens"],
    grid: tuple[int, int],
    patch_size: int,
    *,
    num_prefix: int = 1,
) -> Float[Tensor, "depth heads"]:
    """How far each head looks, in pixels (ViT paper, figure 7 right and appendix D.7).

    The distance from a query patch to every key patch, centre to centre, is weighted by attention and summed
    over keys, then averaged over queries and images. The CLS token and registers have no place in the
    picture: they are left out as queries and as keys, and the rest of the row is taken as it is, as in
    Keras's probing_vits. What a patch spends on the prefix therefore counts as no distance at all.

    Args:
        attention: weights of all layers, as :meth:`vit_steps.ViT.trace` returns them.
        grid: (rows, cols), counted in patches.
        patch_size: side of a patch, in pixels.
        num_prefix: tokens before the patches: the CLS token, and registers.

    Returns:
        Pixels, between 0 and the diagonal of the image.

    Raises:
        ValueError: "attention tokens 17 is not num_prefix 1 + grid rows 3 * grid cols 3 = 10: the CLS token
            and registers come first", "attention batch must be at least 1, got 0: a mean over
            images needs one".
        TypeError: ``attention`` is not a floating-point tensor, or a size is not an integer.
    """
    rows, cols = grid
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(cols)).to(attention)
    distance = patch_size * (places[:, None] - places).norm(dim=-1)
    return (attention[..., num_prefix:, num_prefix:] * distance).sum(dim=-1).mean(dim=(0, 3))


@door(*A_MEAN)
def attention_entropy(
    attention: Float[Tensor, "batch depth heads tokens tokens"],
) -> Float[Tensor, "depth heads"]:
    """How widely each head spreads its attention: Shannon entropy of a row, averaged over queries and images.

    All tokens count, as queries and as keys: an entropy is of a whole row, the CLS token and registers in it.

    Returns:
        Nats, between 0 (all attention on one token) and log(tokens) (the same on every token).

    Raises:
        ValueError: ``attention`` does not have five axes, or "attention batch must be at least 1, got 0: a
            mean over images needs one".
        TypeError: ``attention`` is not a floating-point tensor.
    """
    return torch.special.entr(attention).sum(dim=-1).mean(dim=(0, 3))


@door(
    "num_components is at most kernel dim - 1: the mean kernel is taken off first",
    "num_components is at most kernel channels * kernel side squared",
    lambda kernel: values.finite("kernel", kernel, "it has no principal components"),
)
def kernel_components(
    kernel: Float[Tensor, "dim channels side side"], num_components: int = 28
) -> Float[Tensor, "components channels side side"]:
    """Principal components of the embedding kernels, the most variance first (ViT paper, figure 7 left).

    Each kernel is one sample; the mean kernel is taken off first.

    Args:
        kernel: weights of the patch embedding as a convolution.
        num_components: how many components; the paper shows 28.

    Returns:
        Orthogonal pictures of length 1. The sign of a component means nothing, so it is chosen such that the
        entry of largest magnitude is positive, as scikit-learn does.

    Raises:
        ValueError: "num_components 28 is more than kernel channels 1 * kernel side 4 squared = 16",
            "num_components 8 is more than kernel dim 8 - 1 = 7: the mean kernel is taken off first".
        TypeError: ``kernel`` is not a floating-point tensor, or ``num_components`` is not an integer.
    """
    kernels = kernel.flatten(1).double()
    directions = torch.linalg.svd(kernels - kernels.mean(dim=0), full_matrices=False).Vh[:num_components]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).unflatten(1, kernel.shape[1:]).to(kernel.dtype)


def _of_squares(images: Tensor, order: Tensor) -> None:
    (height, width), side, patches = images.shape[2:], _patch_side(images, order), order.shape[1]
    if not side or height % side or width % side or height * width != patches * side**2:
        raise ValueError(
            f"order has {patches} patches, an image of {height} x {width} cannot be cut into "
            f"{patches} squares"
        )


def _each_patch_once(order: Tensor) -> None:
    patches = torch.arange(order.shape[1], device=order.device)
    wrong = (order.sort(dim=1).values != patches).any(dim=1)
    if wrong.any():
        raise ValueError(
            f"order of image {wrong.nonzero()[0].item()} does not hold each of the patches "
            f"0 to {order.shape[1] - 1} once"
        )


@door(
    "images batch is at least 1: a mean over images needs one",
    "images channels is at least 1",
    "order patches is at least 1",
    lambda images: values.finite("images", images, "there is no mean colour to paint with"),
    _of_squares,
    _each_patch_once,
)
def deletion_curve(
    model: Callable[[Tensor], Tensor],
    images: Float[Tensor, "batch channels height width"],
    labels: Integer[Tensor, " batch"],
    order: Integer[Tensor, "batch patches"],
) -> Float[Tensor, " patches+1"]:
    """Accuracy as patches are removed, one after the other (Petsiuk et al., arXiv 1806.07421, deletion).

    A removed patch is painted over with the mean colour of its own image, so that any classifier can be asked
    the same question. Mind what that measures: a flat patch is still a token, and a sight that training never
    showed, so part of the fall is surprise and not loss of information. Compare it with a random order.

    Args:
        model: callable from images to logits; put it in eval mode first. It is run without gradients.
        images: a batch of images.
        labels: the class of each image.
        order: for each image the numbers of its patches (row-major), the first to go first. Its length
            tells the patch size.

    Returns:
        Accuracy between 0 and 1 after 0, 1, ..., all patches are gone. With n images the standard error of
        accuracy a is ``sqrt(a * (1 - a) / n)``.

    Raises:
        ValueError: "order of image 3 does not hold each of the patches 0 to 15 once", "order has 15 patches,
            an image of 8 x 8 cannot be cut into 15 squares", or logits that are NaN.
        TypeError: an argument is not a tensor of the right dtype.
    """
    side = _patch_side(images, order)
    colour = images.mean(dim=(2, 3), keepdim=True)
    turn = order.argsort(dim=1).unflatten(1, (images.shape[2] // side, -1))[:, None]  # B N -> B 1 rows cols
    turn = turn.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)
    accuracies = []
    with torch.no_grad():
        for num_removed in range(order.shape[1] + 1):
            logits = model(torch.where(turn < num_removed, colour, images))
            accuracies.append(_share_right(logits, labels))
    return torch.stack(accuracies)


def _patch_side(images: Tensor, order: Tensor) -> int:
    """How many pixels a patch has on a side, where all pixels are shared out among them."""
    return isqrt(images.shape[2] * images.shape[3] // order.shape[1])


def _among_the_classes(logits: Tensor, labels: Tensor) -> None:
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, model has {logits.shape[1]} classes"
        )


def _most_probable(logits: Tensor) -> None:
    if logits.isnan().any():
        raise ValueError("model gave logits that are NaN: there is no most probable class")


@door(_among_the_classes, _most_probable)
def _share_right(
    logits: Float[Tensor, "batch classes"], labels: Integer[Tensor, " batch"]
) -> Float[Tensor, ""]:
    return (logits.argmax(dim=1) == labels).float().mean()
