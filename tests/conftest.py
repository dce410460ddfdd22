"""What every test stands on: shapes checked at run time, one thread a worker, timm importable."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers with two threads each get in each other's way
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jaxtyping
import pytest
import torch
import torchvision_stub  # noqa: F401

# The types in the signatures are checked while the tests run. Where a test asks what a door says about a
# wrong type, it takes the fixture `doors_only`, or the type checker would answer in its place.
jaxtyping.install_import_hook("vit_steps", "beartype.beartype")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def doors_only():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
