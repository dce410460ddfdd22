"""Make torchvision, and timm which wants it, importable beside a CPU-only torch."""

import torch


def make_torchvision_importable() -> list:
    """Declare the operators whose compiled half a CPU-only torch cannot load; nothing here calls them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return [library]
    return []


KEPT_ALIVE = make_torchvision_importable()
