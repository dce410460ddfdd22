"""Tokens of one image as a picture: their principal components, in colours."""

import torch
from jaxtyping import Float
from torch import Tensor

from vit_steps.doors import door, values

TAILS = (
    0.01,
    0.99,
)  # shares of the patches between which the colours run, so that a few do not set the scale


@door(
    "grid rows * grid cols is tokens patches",
    "tokens patches is at least 3",
    "tokens dim is at least 2",
    lambda tokens: values.finite("tokens", tokens, "they have no principal components"),
)
def token_colours(
    tokens: Float[Tensor, "patches dim"], grid: tuple[int, int]
) -> Float[Tensor, "rows cols 3"]:
    """Two principal components of an image's tokens, the first as yellow and the second as blue.

    Patches with the same colour have tokens that are alike in the two directions in which the tokens of this
    image differ most (as in figure 1 of DINOv2, arXiv 2304.07193, which paints three). Yellow and blue are
    told apart by nearly all eyes, as red and green are not: black has little of both, white much of both.

    Args:
        tokens: of the patches of one image, without a CLS token.
        grid: (rows, cols), counted in patches.

    Returns:
        An RGB picture with one pixel for each patch, values in [0, 1]. The sign of a component means nothing:
        the entry of largest magnitude of its direction is made positive, as scikit-learn does.

    Raises:
        ValueError: "grid rows 3 * grid cols 5 = 15 is not tokens patches 16", "tokens holds NaN or infinity:
            they have no principal components".
        TypeError: ``tokens`` is not a floating-point tensor.
    """
    centred = tokens.double() - tokens.double().mean(dim=0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    parts = centred @ (directions * largest.sign()).T
    low, high = parts.quantile(torch.tensor(TAILS, dtype=parts.dtype, device=parts.device), dim=0)
    yellow, blue = ((parts - low) / (high - low).clamp_min(1e-12)).clamp(0, 1).T
    return torch.stack([yellow, yellow, blue], dim=1).unflatten(0, grid).to(tokens.dtype)
