"""What every test stands on: shapes checked at run time, one thread a worker, timm and torchvision importable."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers with two threads each get in each other's way
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

# The types in the signatures are checked while the tests run. A door that says what is wrong is tested on
# the function under the hook: inspect.unwrap(function).
install_import_hook("vit_steps", "beartype.beartype")

import pytest
import torch


def _make_torchvision_importable() -> list:
    """Declare the operators whose compiled half a CPU-only torch cannot load; nothing here calls them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return [library]
    return []


_KEPT_ALIVE = _make_torchvision_importable()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
