"""What every test stands on: shapes checked at run time, one thread a worker, timm importable."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers with two threads each get in each other's way
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jaxtyping
import pytest
import torch
import torchvision_stub  # noqa: F401

# A shell's background job ignores Ctrl-C, and so would all that the tests start: but that is tested, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The types in the signatures are checked while the tests run. Where a test asks what a door says about a
# wrong type, it takes the fixture `doors_only`, or the type checker would answer in its place.
jaxtyping.install_import_hook("vit_steps", "beartype.beartype")


# What takes longest begins first, or one worker would be left with it at the end. A file stays in one piece.
FIRST = (
    *("test_lessons_in_lab", "5_classification.ipynb", "test_hostile_table", "a_looking_inside.ipynb"),
    *("test_axe", "3_position_embedding.ipynb", "test_site", "test_slides", "test_processes"),
    *(
        "1_patch_embedding.ipynb",
        "4_encoder.ipynb",
        "2_cls_token.ipynb",
        "tests/pretrained/",
        "test_environment",
    ),
)


def pytest_collection_modifyitems(items):
    def place(item):
        file = item.nodeid.partition("::")[0]
        return next((place for place, name in enumerate(FIRST) if name in file), len(FIRST))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def doors_only():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
