"""How images are prepared where nothing beside the weights says it: by publisher and size.

torchvision's table is that of ``torchvision.models.ViT_*_Weights``, Google's that of timm for the same files.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from vit_steps.pretrained.dialects import FLAX, TORCHVISION, Dialect

FINEST = 384  # pixels; from this size on, timm crops nothing of what Google's weights are given


def _bilinear(resized: int, size: int = 224) -> dict:
    return {"crop_pct": Fraction(size, resized), "interpolation": "bilinear"}


WHOLE = {"crop_pct": Fraction(1), "interpolation": "bicubic"}
V1, LINEAR = "IMAGENET1K_V1", "IMAGENET1K_SWAG_LINEAR_V1"
# By dim, patch_size and the side of the image: torchvision's weights of this size, and what is done for each.
PUBLISHED = {
    (768, 16, 224): {V1: _bilinear(256), LINEAR: WHOLE},
    (768, 16, 384): {"IMAGENET1K_SWAG_E2E_V1": WHOLE},
    (768, 32, 224): {V1: _bilinear(256)},
    (1024, 16, 224): {V1: _bilinear(242), LINEAR: WHOLE},
    (1024, 16, 512): {"IMAGENET1K_SWAG_E2E_V1": WHOLE},
    (1024, 32, 224): {V1: _bilinear(256)},
    (1280, 14, 224): {LINEAR: WHOLE},
    (1280, 14, 518): {"IMAGENET1K_SWAG_E2E_V1": WHOLE},
}
# How torchvision calls the files whose shapes are those of another: vit_b_16_lc_swag-4e70ced5.pth.
FILES = {r"vit_[bl]_16-[0-9a-f]{8}\b.*": V1, r"vit_[bl]_16_lc_swag\b.*": LINEAR}


class Unsaid(NamedTuple):
    """How images are prepared, as far as the weights alone tell.

    Attributes:
        preparation: arguments of Preprocess but for its size; without a mean where nobody can know.
        assumed: what is taken and might be otherwise, a sentence; None where the weights leave no doubt.
    """

    preparation: dict
    assumed: str | None = None


def unsaid_preparation(dialect: Dialect, sizes: dict, made_for: tuple[int, int], file: str) -> Unsaid:
    """Tell apart the weights of one publisher by what they are.

    Args:
        dialect: of the weights.
        sizes: as read_sizes gives them.
        made_for: (height, width) of the images that the position table was learned for.
        file: name of the weights' file: torchvision's tells apart two whose shapes are the same.
    """
    if dialect is TORCHVISION:
        ways = PUBLISHED.get((sizes["dim"], sizes["patch_size"], *set(made_for)), {})
        named = [weights for name, weights in FILES.items() if re.fullmatch(name, file) and weights in ways]
        return _of_torchvision(ways, named or list(ways))
    if dialect in FLAX and min(made_for) >= FINEST:
        return Unsaid(dialect.preprocess | {"crop_pct": Fraction(1)})
    return Unsaid(dialect.preprocess)


def _of_torchvision(ways: dict[str, dict], weights: list[str]) -> Unsaid:
    if len(weights) == 1:
        return Unsaid(TORCHVISION.preprocess | ways[weights[0]])
    whose = f"{' and '.join(ways)} have" if ways else "no weights of its own has"
    return Unsaid(
        TORCHVISION.preprocess | ways.get(V1, {}),
        f"images are prepared as for torchvision's {V1}, resized bilinearly with a margin that is cropped; "
        f"of torchvision's, {whose} these shapes, and for those of SWAG it would be "
        "dataclasses.replace(preprocess, crop_pct=1, interpolation='bicubic')",
    )
