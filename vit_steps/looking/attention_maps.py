"""What attention tensors, kernels and a model show when they are laid out as maps, distances and curves."""

from collections.abc import Callable
from math import isqrt
from numbers import Integral

import torch
from jaxtyping import Float, Int
from torch import Tensor


def cls_attention(
    attention: Float[Tensor, "batch depth heads tokens tokens"],
    grid: tuple[int, int],
    *,
    layer: int = -1,
    head: int | None = None,
) -> Float[Tensor, "batch rows cols"]:
    """Lay what the CLS token attends to out as a picture, one number per patch.

    Args:
        attention: weights of all layers, as :meth:`vit_steps.ViT.trace` returns them.
        grid: (rows, cols), counted in patches.
        layer: which encoder block, from 0; negative numbers count from the last.
        head: which head; ``None`` is the mean over all of them.

    Returns:
        Weights between 0 and 1. They sum to what the CLS token does not spend on itself.

    Raises:
        ValueError: "attention has 17 tokens, grid (3, 3) with the CLS token needs 10",
            "layer 12 is out of range: attention has 12 layers", and the same for ``head``.
        TypeError: ``attention`` is not a floating-point tensor, or a number is not an integer.
    """
    rows, cols = _check_grid(attention, grid)
    _check_place("layer", layer, attention.shape[1])
    weights = attention[:, layer, :, 0, 1:]
    if head is None:
        return weights.mean(dim=1).unflatten(1, (rows, cols))
    _check_place("head", head, attention.shape[2])
    return weights[:, head].unflatten(1, (rows, cols))


def attention_rollout(
    attention: Float[Tensor, "batch depth heads tokens tokens"],
) -> Float[Tensor, "batch tokens tokens"]:
    """Follow attention from the last layer back to the input (Abnar and Zuidema, arXiv 2005.00928).

    A block adds what it attended to onto the token that it already had, so half of each layer's mixing
    matrix is attention, averaged over heads, and the other half is the identity: the token's own residual
    stream. The product of these matrices, the last layer leftmost, says how much of each input token reached
    each output.

    Returns:
        Rows are output tokens, columns input tokens; each row sums to 1.

    Raises:
        ValueError: ``attention`` does not have five axes, or is not square in its last two.
        TypeError: ``attention`` is not a floating-point tensor.
    """
    _check_attention(attention)
    identity = torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
    mixing = 0.5 * attention.mean(dim=2) + 0.5 * identity
    mixing = mixing / mixing.sum(dim=-1, keepdim=True)
    rollout = mixing[:, 0]
    for layer in range(1, mixing.shape[1]):
        rollout = mixing[:, layer] @ rollout
    return rollout


def mean_attention_distance(
    attention: Float[Tensor, "batch depth heads tokens tokens"], grid: tuple[int, int], patch_size: int
) -> Float[Tensor, "depth heads"]:
    """How far each head looks, in pixels (ViT paper, figure 7 right and appendix D.7).

    The distance from a query patch to every key patch, centre to centre, is weighted by attention and summed
    over keys, then averaged over queries and images. The CLS token has no place in the picture: it is left
    out as query and as key, and the rest of the row is taken as it is, as in Keras's probing_vits. What a
    patch spends on the CLS token therefore counts as no distance at all.

    Args:
        attention: weights of all layers, as :meth:`vit_steps.ViT.trace` returns them.
        grid: (rows, cols), counted in patches.
        patch_size: side of a patch, in pixels.

    Returns:
        Pixels, between 0 and the diagonal of the image.

    Raises:
        ValueError: "attention has 17 tokens, grid (3, 3) with the CLS token needs 10", or an empty batch.
        TypeError: ``attention`` is not a floating-point tensor, or a size is not an integer.
    """
    rows, cols = _check_grid(attention, grid)
    _check_integer("patch_size", patch_size, at_least=1)
    _check_batch("attention", attention)
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(cols)).to(attention)
    distance = patch_size * (places[:, None] - places).norm(dim=-1)
    return (attention[..., 1:, 1:] * distance).sum(dim=-1).mean(dim=(0, 3))


def attention_entropy(
    attention: Float[Tensor, "batch depth heads tokens tokens"],
) -> Float[Tensor, "depth heads"]:
    """How widely each head spreads its attention: Shannon entropy of a row, averaged over queries and images.

    Returns:
        Nats, between 0 (all attention on one token) and log(tokens) (the same on every token).

    Raises:
        ValueError: ``attention`` does not have five axes, or an empty batch.
        TypeError: ``attention`` is not a floating-point tensor.
    """
    _check_attention(attention)
    _check_batch("attention", attention)
    return torch.special.entr(attention).sum(dim=-1).mean(dim=(0, 3))


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
        ValueError: "num_components 28 is more than the 16 there can be: dim is 64, patch_dim is 16".
        TypeError: ``kernel`` is not a floating-point tensor, or ``num_components`` is not an integer.
    """
    _check_components(kernel, num_components)
    kernels = kernel.flatten(1).double()
    directions = torch.linalg.svd(kernels - kernels.mean(dim=0), full_matrices=False).Vh[:num_components]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).unflatten(1, kernel.shape[1:]).to(kernel.dtype)


def deletion_curve(
    model: Callable[[Tensor], Tensor],
    images: Float[Tensor, "images channels height width"],
    labels: Int[Tensor, " images"],
    order: Int[Tensor, "images patches"],
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
    patch_size = _check_deletion(model, images, labels, order)
    colour = images.mean(dim=(2, 3), keepdim=True)
    turn = order.argsort(dim=1).unflatten(1, (images.shape[2] // patch_size, -1))[
        :, None
    ]  # B N -> B 1 rows cols
    turn = turn.repeat_interleave(patch_size, dim=2).repeat_interleave(patch_size, dim=3)
    accuracies = []
    with torch.no_grad():
        for num_removed in range(order.shape[1] + 1):
            logits = _check_logits(model(torch.where(turn < num_removed, colour, images)), labels)
            accuracies.append((logits.argmax(dim=1) == labels).float().mean())
    return torch.stack(accuracies)


def _check_tensor(name: str, tensor: Tensor, axes: str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if tensor.ndim != len(axes.split()):
        raise ValueError(f"{name} must have the axes ({axes}), got shape {tuple(tensor.shape)}")


def _check_floating(name: str, tensor: Tensor, axes: str) -> None:
    _check_tensor(name, tensor, axes)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {tensor.dtype}")


def _check_integers(name: str, tensor: Tensor, axes: str) -> None:
    _check_tensor(name, tensor, axes)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {tensor.dtype}")


def _check_integer(name: str, value: int, at_least: int | None = None) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if at_least is not None and value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")


def _check_attention(attention: Tensor) -> None:
    _check_floating("attention", attention, "batch depth heads tokens tokens")
    _, depth, heads, queries, keys = attention.shape
    if queries != keys:
        raise ValueError(f"attention must be square, got {queries} queries and {keys} keys")
    for name, size in (("layers", depth), ("heads", heads), ("tokens", keys)):
        if size < 1:
            raise ValueError(f"attention has {size} {name}, at least 1 is needed")


def _check_grid(attention: Tensor, grid: tuple[int, int]) -> tuple[int, int]:
    _check_attention(attention)
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise TypeError(f"grid must be (rows, cols), got {grid!r}")
    for axis, size in zip(("rows", "cols"), grid, strict=True):
        _check_integer(f"grid {axis}", size, at_least=1)
    rows, cols = grid
    if attention.shape[-1] != 1 + rows * cols:
        raise ValueError(
            f"attention has {attention.shape[-1]} tokens, grid {tuple(grid)} with the CLS token "
            f"needs {1 + rows * cols}"
        )
    return rows, cols


def _check_place(name: str, place: int, number: int) -> None:
    _check_integer(name, place)
    if not -number <= place < number:
        raise ValueError(f"{name} {place} is out of range: attention has {number} {name}s")


def _check_batch(name: str, tensor: Tensor) -> None:
    if not len(tensor):
        raise ValueError(f"{name} has a batch of 0, a mean over images needs at least 1")


def _check_numbers(name: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise ValueError(f"{name} is on the meta device: it holds no numbers")


def _check_components(kernel: Tensor, num_components: int) -> None:
    _check_floating("kernel", kernel, "dim channels side side")
    if kernel.shape[2] != kernel.shape[3]:
        raise ValueError(f"kernel must be square, got {kernel.shape[2]} x {kernel.shape[3]}")
    _check_integer("num_components", num_components, at_least=1)
    dim, patch_dim = kernel.shape[0], kernel.shape[1:].numel()
    # The mean kernel is taken off first: that leaves one direction less than there are kernels.
    if num_components > min(dim - 1, patch_dim):
        raise ValueError(
            f"num_components {num_components} is more than the {min(dim - 1, patch_dim)} there can be: "
            f"dim is {dim}, patch_dim is {patch_dim}"
        )
    _check_numbers("kernel", kernel)
    if not kernel.isfinite().all():
        raise ValueError("kernel holds NaN or infinity: it has no principal components")


def _check_deletion(model: Callable, images: Tensor, labels: Tensor, order: Tensor) -> int:
    if not callable(model):
        raise TypeError(f"model must be callable, got {model!r}")
    _check_floating("images", images, "images channels height width")
    _check_integers("labels", labels, "images")
    _check_integers("order", order, "images patches")
    _check_batch("images", images)
    if images.shape[1] < 1:
        raise ValueError(f"images has {images.shape[1]} channels, at least 1 is needed")
    for name, tensor in (("images", images), ("labels", labels), ("order", order)):
        _check_numbers(name, tensor)
        if len(tensor) != len(images):
            raise ValueError(f"{name} is for {len(tensor)} images, images holds {len(images)}")
        if tensor.device != images.device:
            raise ValueError(
                f"{name} is on {tensor.device}, images is on {images.device}: they must be on the same"
            )
    if not images.isfinite().all():
        raise ValueError("images holds NaN or infinity: there is no mean colour to paint with")
    _check_order(order)
    return _check_squares(images, order.shape[1])


def _check_order(order: Tensor) -> None:
    patches = torch.arange(order.shape[1], device=order.device)
    wrong = (order.sort(dim=1).values != patches).any(dim=1)
    if wrong.any():
        raise ValueError(
            f"order of image {wrong.nonzero()[0].item()} does not hold each of the patches "
            f"0 to {order.shape[1] - 1} once"
        )


def _check_squares(images: Tensor, num_patches: int) -> int:
    height, width = images.shape[2:]
    side = isqrt(height * width // max(num_patches, 1))
    if side < 1 or side**2 * num_patches != height * width or height % side or width % side:
        raise ValueError(
            f"order has {num_patches} patches, an image of {height} x {width} cannot be cut into "
            f"{num_patches} squares"
        )
    return side


def _check_logits(logits: Tensor, labels: Tensor) -> Tensor:
    _check_floating("logits of model", logits, "images classes")
    if len(logits) != len(labels):
        raise ValueError(f"model gave logits for {len(logits)} images, labels has {len(labels)}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, model has {logits.shape[1]} classes"
        )
    if logits.isnan().any():
        raise ValueError("model gave logits that are NaN: there is no most probable class")
    return logits
