"""Step 1: image <-> patches -> patch embeddings, once naively and once as a convolution."""

from numbers import Integral

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor


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
    _check_image(image, patch_size)
    windows = image.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # B C rows cols p p -> B N P


def patches2image(
    patches: Shaped[Tensor, "batch patches patch_dim"], patch_size: int, image_size: tuple[int, int]
) -> Shaped[Tensor, "batch channels height width"]:
    """Put flattened patches back in their places: the exact inverse of :func:`image2patches`.

    Args:
        patches: row-major, each flattened in the order (channel, row, col).
        patch_size: side of a patch, in pixels.
        image_size: (height, width) of the image, in pixels.

    Raises:
        ValueError: "patches holds 9 patches, image_size (8, 8) with patch_size 4 needs 4".
        TypeError: ``patches`` is not a tensor, or a size is not an integer.
    """
    rows, cols, channels = _check_patches(patches, patch_size, image_size)
    blocks = patches.unflatten(2, (channels, patch_size, patch_size)).unflatten(1, (rows, cols))
    return blocks.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # B rows cols C p p -> B C H W


def weight2kernel(
    weight: Shaped[Tensor, "patch_dim dim"], channels: int, patch_size: int
) -> Shaped[Tensor, "dim channels {patch_size} {patch_size}"]:
    """Read the columns of an embedding matrix as the kernels of a convolution.

    The transpose comes first: column ``d`` of ``weight`` is kernel ``d``. A reshape without it gives a tensor
    of the right shape with the wrong numbers in it.

    Raises:
        ValueError: "weight has 48 rows, channels 1 * patch_size 4 squared is 16".
        TypeError: ``weight`` is not a tensor, or a size is not an integer.
    """
    _check_weight(weight, channels, patch_size)
    return weight.T.unflatten(1, (channels, patch_size, patch_size))


def kernel2weight(kernel: Shaped[Tensor, "dim channels side side"]) -> Shaped[Tensor, "patch_dim dim"]:
    """Lay the kernels of a convolution out as the columns of a matrix: the inverse of :func:`weight2kernel`.

    Raises:
        ValueError: "kernel must be square, got 4 x 5".
        TypeError: ``kernel`` is not a tensor.
    """
    _check_kernel(kernel)
    return kernel.flatten(1).T


def image2emb_naive(
    image: Float[Tensor, "batch channels height width"],
    patch_size: int,
    weight: Float[Tensor, "patch_dim dim"],
) -> Float[Tensor, "batch patches dim"]:
    """Embed patches the way the paper writes it: flatten each patch, multiply by E (ViT paper, equation 1).

    Raises:
        ValueError: "weight has 48 rows, channels 1 * patch_size 4 squared is 16", "image height 30 is not a
            multiple of patch_size 4".
        TypeError: a dtype that is not floating point, or two different ones.
    """
    _check_embedding(image, patch_size, weight)
    return image2patches(image, patch_size) @ weight


def image2emb_conv(
    image: Float[Tensor, "batch channels height width"],
    kernel: Float[Tensor, "dim channels side side"],
    stride: int,
) -> Float[Tensor, "batch patches dim"]:
    """Embed patches as every library does it: a convolution whose stride is the patch size.

    Args:
        image: batch of images.
        kernel: one small picture per component of the embedding; its side is the patch size.
        stride: step between patches, in pixels; less than the kernel's side makes patches overlap.

    Raises:
        ValueError: "image height 30 is not a multiple of patch_size 4", "kernel has 1 channels, image has 3",
            or "stride 8 is larger than the kernel's side 4: the pixels between patches would be skipped".
        TypeError: a dtype that is not floating point, or two different ones.
    """
    _check_convolution(image, kernel, stride)
    feature_map = F.conv2d(image, kernel, stride=stride)
    return feature_map.flatten(2).transpose(1, 2)  # B D rows cols -> B N D


def _check_axes(name: str, tensor: Tensor, axes: str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if tensor.ndim != len(axes.split()):
        raise ValueError(f"{name} must have the axes ({axes}), got shape {tuple(tensor.shape)}")


def _check_alike(**tensors: Tensor) -> None:
    (first, a), (second, b) = tensors.items()
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}")
    if a.dtype != b.dtype:
        raise TypeError(f"{first} is {a.dtype}, {second} is {b.dtype}: they must be the same")
    if a.device != b.device:
        raise ValueError(f"{first} is on {a.device}, {second} is on {b.device}: they must be on the same")


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        # To Python, True is an integer; here it never is what the caller meant.
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise TypeError(f"{name} must be an integer, got {size!r}")
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def _check_image(image: Tensor, patch_size: int) -> None:
    _check_axes("image", image, "batch channels height width")
    _check_positive(patch_size=patch_size)
    _check_multiples(image.shape[2:], patch_size, "image")


def _check_multiples(image_size: tuple[int, int], patch_size: int, name: str) -> None:
    for side, size in zip(("height", "width"), image_size, strict=True):
        if size < 1 or size % patch_size:
            raise ValueError(f"{name} {side} {size} is not a multiple of patch_size {patch_size}")


def _check_patches(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> tuple[int, int, int]:
    _check_axes("patches", patches, "batch patches patch_dim")
    if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
        raise TypeError(f"image_size must be (height, width), got {image_size!r}")
    height, width = image_size
    _check_positive(patch_size=patch_size, **{"image_size height": height, "image_size width": width})
    _check_multiples((height, width), patch_size, "image_size")
    _, num_patches, patch_dim = patches.shape
    rows, cols = height // patch_size, width // patch_size
    if num_patches != rows * cols:
        raise ValueError(
            f"patches holds {num_patches} patches, image_size {tuple(image_size)} "
            f"with patch_size {patch_size} needs {rows * cols}"
        )
    if patch_dim % patch_size**2:
        raise ValueError(
            f"patch_dim {patch_dim} of patches is not a multiple of patch_size {patch_size} squared, "
            f"{patch_size**2}"
        )
    return rows, cols, patch_dim // patch_size**2


def _check_weight(weight: Tensor, channels: int, patch_size: int) -> None:
    _check_axes("weight", weight, "patch_dim dim")
    _check_positive(channels=channels, patch_size=patch_size)
    patch_dim = channels * patch_size**2
    if weight.shape[0] != patch_dim:
        raise ValueError(
            f"weight has {weight.shape[0]} rows, channels {channels} * patch_size {patch_size} squared "
            f"is {patch_dim}"
        )


def _check_embedding(image: Tensor, patch_size: int, weight: Tensor) -> None:
    _check_image(image, patch_size)
    _check_weight(weight, image.shape[1], patch_size)
    _check_alike(image=image, weight=weight)


def _check_kernel(kernel: Tensor) -> None:
    _check_axes("kernel", kernel, "dim channels side side")
    if kernel.shape[2] != kernel.shape[3]:
        raise ValueError(f"kernel must be square, got {kernel.shape[2]} x {kernel.shape[3]}")


def _check_convolution(image: Tensor, kernel: Tensor, stride: int) -> None:
    _check_axes("image", image, "batch channels height width")
    _check_kernel(kernel)
    _check_alike(image=image, kernel=kernel)
    # Without channels conv2d gives no components at all, where the matrix product gives zeros.
    dim, channels, side, _ = kernel.shape
    _check_positive(stride=stride, kernel_dim=dim, kernel_channels=channels, kernel_side=side)
    if kernel.shape[1] != image.shape[1]:
        raise ValueError(f"kernel has {kernel.shape[1]} channels, image has {image.shape[1]}")
    patch_size = kernel.shape[2]
    if stride > patch_size:
        raise ValueError(
            f"stride {stride} is larger than the kernel's side {patch_size}: "
            "the pixels between patches would be skipped"
        )
    if stride == patch_size:
        _check_multiples(image.shape[2:], patch_size, "image")
    for side, size in zip(("height", "width"), image.shape[2:], strict=True):
        if size < patch_size or (size - patch_size) % stride:
            raise ValueError(
                f"image {side} {size} minus the kernel's side {patch_size} "
                f"is not a multiple of stride {stride}"
            )
