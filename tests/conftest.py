"""What every test stands on: shapes checked at run time, one thread a worker, timm importable."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers with two threads each get in each other's way
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jaxtyping
import pytest
import torch

# The types in the signatures are checked while the tests run. Where a test asks what a door says about a
# wrong type, it takes the fixture `doors_only`, or the type checker would answer in its place.
jaxtyping.install_import_hook("vit_steps", "beartype.beartype")


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


@pytest.fixture
def doors_only():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
