"""One process or many: who does which share of the work, and how they stop together."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from vit_steps.training.recipe import Recipe


def make_accelerator() -> Accelerator:
    """Where the work is done; each call gives the same processes, each batch is shared among them."""
    loading = DataLoaderConfiguration(split_batches=True)
    return Accelerator(cpu=not torch.accelerator.is_available(), dataloader_config=loading)


class _Images(TensorDataset):
    """Takes a batch out of the tensors in one go, not image by image."""

    def __getitems__(self, places: list[int]) -> tuple[Tensor, ...]:
        return self[places]


def make_loader(pair: tuple, batch_size: int, order: torch.Generator | None = None) -> DataLoader:
    """Give batches of images and labels; with an order, shuffled by it and all of one size."""
    shuffle = order is not None
    images, labels = (part.detach() for part in pair)  # or the loss would leave a gradient on the images
    return DataLoader(
        _Images(images, labels),
        batch_size,
        shuffle=shuffle,
        drop_last=shuffle,
        generator=order,
        collate_fn=tuple,
    )


def batch_size_of(recipe: Recipe, images: int, accelerator: Accelerator) -> int:
    """Take the recipe's batch size, or all images where there are fewer."""
    processes = accelerator.num_processes
    if recipe.batch_size % processes:
        raise ValueError(f"batch_size {recipe.batch_size} is not a multiple of the {processes} processes")
    if images < processes:
        raise ValueError(f"train has {images} images for {processes} processes")
    return min(recipe.batch_size, images // processes * processes)


@contextmanager
def ctrl_c_noted() -> Iterator[threading.Event]:
    """Note the first Ctrl-C, so that the step can end; a second one interrupts as ever."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # only the main thread may ask for signals
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def leave(code: int) -> None:
    """End one of several processes without tearing it down.

    Gloo's threads outlive ``destroy_process_group`` once DistributedDataParallel was used, and meet an
    interpreter that is ending: about one run in fifteen aborted, its model already written.
    """
    if torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
