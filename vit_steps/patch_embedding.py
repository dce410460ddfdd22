"""Step 1: image <-> patches -> patch embeddings, once naively and once as a convolution."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from vit_steps.doors import door


@door("image height is a multiple of patch_size", "image width is a multiple of patch_size")
def image2patches(
    image: Shaped[Tensor, "batch channels height width"], patch_size: int
) -> Shaped[Tensor, "batch patches patch_dim"]:
    """Cut an image into square patches and flatten each one (ViT paper, section 3.1).

    Args:
        image: any dtype, height and width multiples of ``patch_size``.
        patch_size: side of a patch, in pixels.

    Returns:
        The patches in row-major order, each flattened in the order (channel, row, col):
        ``patches = (height / patch_size) * (width / patch_size)``,
        ``patch_dim = channels * patch_size**2``.

    Raises:
        ValueError: "image height 30 is not a multiple of patch_size 4".
        TypeError: ``image`` is not a tensor, or ``patch_size`` is not an integer.
    """
    windows = image.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # B C rows cols p p -> B N P


@door(
    "image_size height is a multiple of patch_size",
    "image_size width is a multiple of patch_size",
    "patches patch_dim is a multiple of patch_size squared",
    "number of patches is image_size height * image_size width / patch_size squared",
)
def patches2image(
    patches: Shaped[Tensor, "batch patches patch_dim"], patch_size: int, image_size: tuple[int, int]
) -> Shaped[Tensor, "batch channels height width"]:
    """Put flattened patches back in their places: the exact inverse of :func:`image2patches`.

    Args:
        patches: row-major, each flattened in the order (channel, row, col).
        patch_size: side of a patch, in pixels.
        image_size: (height, width) of the image, in pixels.

    Raises:
        ValueError: "patches patch_dim 50 is not a multiple of patch_size 4 squared = 16", or too few patches
            for ``image_size``.
        TypeError: ``patches`` is not a tensor, or a size is not an integer.
    """
    blocks = patches.unflatten(2, (-1, patch_size, patch_size)).unflatten(
        1, (-1, image_size[1] // patch_size)
    )
    return blocks.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # B rows cols C p p -> B C H W


@door("weight patch_dim is channels * patch_size squared")
def weight2kernel(
    weight: Shaped[Tensor, "patch_dim dim"], channels: int, patch_size: int
) -> Shaped[Tensor, "dim channels {patch_size} {patch_size}"]:
    """Read the columns of an embedding matrix as the kernels of a convolution.

    The transpose comes first: column ``d`` of ``weight`` is kernel ``d``. A reshape without it gives a tensor
    of the right shape with the wrong numbers in it.

    Raises:
        ValueError: "weight patch_dim 48 is not channels 1 * patch_size 4 squared = 16".
        TypeError: ``weight`` is not a tensor, or a size is not an integer.
    """
    return weight.T.unflatten(1, (channels, patch_size, patch_size))


@door()
def kernel2weight(kernel: Shaped[Tensor, "dim channels side side"]) -> Shaped[Tensor, "patch_dim dim"]:
    """Lay the kernels of a convolution out as the columns of a matrix: the inverse of :func:`weight2kernel`.

    Raises:
        ValueError: "kernel has side 4 and side 5: they must be the same".
        TypeError: ``kernel`` is not a tensor.
    """
    return kernel.flatten(1).T


@door("image channels is at least 1", "weight patch_dim is image channels * patch_size squared")
def image2emb_naive(
    image: Float[Tensor, "batch channels height width"],
    patch_size: int,
    weight: Float[Tensor, "patch_dim dim"],
) -> Float[Tensor, "batch patches dim"]:
    """Embed patches the way the paper writes it: flatten each patch, multiply by E (ViT paper, equation 1).

    Raises:
        ValueError: "weight patch_dim 48 is not image channels 1 * patch_size 4 squared = 16", "image height
            30 is not a multiple of patch_size 4".
        TypeError: a dtype that is not floating point, or two different ones.
    """
    return image2patches(image, patch_size) @ weight


@door(
    "stride is at most kernel side: the pixels between patches would be skipped",
    "image height - kernel side is 0 or a multiple of stride",
    "image width - kernel side is 0 or a multiple of stride",
    "kernel channels is at least 1",
    "kernel dim is at least 1",
)
def image2emb_conv(
    image: Float[Tensor, "batch channels height width"],
    kernel: Float[Tensor, "dim channels side side"],
    stride: int,
) -> Float[Tensor, "batch patches dim"]:
    """Embed patches as most libraries do it: a convolution whose stride is the patch size.

    Args:
        image: batch of images.
        kernel: one small picture per component of the embedding; its side is the patch size.
        stride: step between patches, in pixels; less than the kernel's side makes patches overlap.

    Raises:
        ValueError: "image height 30 - kernel side 4 = 26 is neither 0 nor a multiple of stride 4", "image has
            channels 3, kernel has channels 1", "stride 8 is more than kernel side 4: the pixels between
            patches would be skipped".
        TypeError: a dtype that is not floating point, or two different ones.
    """
    return map2emb(F.conv2d(image, kernel, stride=stride))


@door()
def map2emb(feature_map: Shaped[Tensor, "batch dim rows cols"]) -> Shaped[Tensor, "batch patches dim"]:
    """Read a convolution's feature map place by place, row after row: one embedding for each place.

    Raises:
        ValueError: ``feature_map`` does not have four axes.
        TypeError: ``feature_map`` is not a tensor.
    """
    return feature_map.flatten(2).transpose(1, 2)  # B D rows cols -> B N D


@door("kernel side is at least 1")
def resize_kernel(
    kernel: Float[Tensor, "dim channels side side"], patch_size: int
) -> Float[Tensor, "dim channels {patch_size} {patch_size}"]:
    """Fit kernels to patches of another size: an enlarged patch gives the same token (FlexiViT, section 3.4).

    Enlarging a patch is linear: as a row, it becomes ``patch @ enlarge``. It keeps its token if ``enlarge``
    times the new kernel is the old one, and the pseudo-inverse of ``enlarge`` solves this (Beyer et al.,
    "FlexiViT: One Model for All Patch Sizes", arXiv 2212.08013).

    Args:
        kernel: one small picture per component of the embedding.
        patch_size: the new side, in pixels; where it is smaller, tokens come as near as least squares can.

    Raises:
        ValueError: "kernel has side 4 and side 5: they must be the same", "patch_size must be at least 1, got
            0".
        TypeError: a dtype that is not floating point, or a size that is not an integer.
    """
    side = kernel.shape[2]
    pixels = torch.eye(side * side, dtype=torch.float64).unflatten(1, (1, side, side))
    enlarge = F.interpolate(pixels, size=(patch_size, patch_size), mode="bilinear").flatten(1)
    inverse = torch.linalg.pinv(enlarge).to(kernel)  # in the kernel's precision, on its device
    return (kernel.flatten(2) @ inverse.T).unflatten(2, (patch_size, patch_size))
