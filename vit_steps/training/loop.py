"""The loop: AdamW, warm-up and cosine decay, and an exponential average of the weights."""

import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy

import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from vit_steps.training._guards import check_images, check_recipe, check_run
from vit_steps.training._processes import batch_size_of, ctrl_c_noted, make_accelerator, make_loader
from vit_steps.training._run_files import check_same_epoch, identity_of, restore_run, save_run
from vit_steps.training.augmentation import random_affine
from vit_steps.training.measuring import accuracy
from vit_steps.training.recipe import History, Recipe
from vit_steps.vit import ViT

WARMUP = 0.1  # of all steps
MAX_GRADIENT = 1.0


def fit(
    model: ViT,
    train: tuple[Float[Tensor, "train channels height width"], Int[Tensor, " train"]],
    valid: tuple[Float[Tensor, "valid channels height width"], Int[Tensor, " valid"]] | None,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: int | float = 3e-3,
    weight_decay: int | float = 0.05,
    label_smoothing: int | float = 0.1,
    augment: int | float = 0.15,
    average: int | float = 0.995,
    seed: int = 0,
    mixed_precision: str = "no",
    origin: str | None = None,
    checkpoint: str | os.PathLike | None = None,
    on_epoch: Callable[[History], object] | None = None,
    progress: bool = True,
) -> History:
    """Train a model: AdamW, warm-up and cosine decay, and an exponential average of the weights.

    The model keeps the average that was best on ``valid`` (of equals the last; without ``valid`` simply the
    last) and is in eval mode afterwards. Ctrl-C stops after the current step and keeps the best as well. The
    same call on the same machine gives the same bits. Under ``accelerate launch`` the same loop runs on many
    processes, which share each batch.

    Args:
        model: is trained in place; it stays on its device, while the work is done where Accelerate says. Of
            frozen parameters (``requires_grad`` is False) every bit stays, and the optimizer holds nothing.
        train: images and their labels, 0 to ``num_classes - 1``.
        valid: images to choose the best epoch by, or None.
        epochs: how often each training image is seen; an incomplete batch at the end is left out.
        batch_size: images in a step, over all processes together.
        lr: highest learning rate, reached after a tenth of all steps.
        weight_decay: as in AdamW (Loshchilov and Hutter, arXiv 1711.05101).
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        augment: how far an affine map may lie from doing nothing, see :func:`random_affine`; 0 for none.
        average: share of the old average that outlives a step; 0 for no average.
        seed: of the order of images and of the affine maps.
        mixed_precision: "no", or "bf16" for products in bfloat16.
        origin: what the model started from, in a word or a digest; a checkpoint of another one is refused.
        checkpoint: file that is written after every epoch, and gone on from where it exists. Whether it can
            be written is found out first; where that fails later, the training warns and goes on.
        on_epoch: called with the history so far after every epoch, for instance to draw it.
        progress: whether to show a bar (on stderr, or as a widget).

    Returns:
        The history, one number for each epoch.

    Raises:
        ValueError: "train has 64 images and labels of shape (63,)", "train has label 10, the head has 10
            classes: 0 to 9", "model has no parameter to train: all are frozen (requires_grad is False)",
            "batch_size 64 is not a multiple of the 3 processes", "checkpoint run.safetensors belongs to
            another run: lr was 0.003, is 0.001".
        TypeError: an argument of the wrong kind.
        OSError: "run.safetensors cannot be written: Read-only file system", a PermissionError where
            permission is what lacks, a FileNotFoundError: "there is no folder runs to write run.safetensors
            into".
        FloatingPointError: "the loss is nan in epoch 3; a lower lr may help, it is 100".

    Example:
        >>> train, valid = load_digits_images("train"), load_digits_images("valid")
        >>> history = fit(digits_model(), train, valid, epochs=60)
        >>> history.valid_accuracy[-1] > 0.98
        True
    """
    check_run(model, checkpoint, on_epoch, origin)
    recipe = Recipe(
        epochs, batch_size, lr, weight_decay, label_smoothing, augment, average, seed, mixed_precision
    )
    check_recipe(recipe)
    recipe = recipe.plain()
    check_images("train", train, model)
    if valid is not None:
        check_images("valid", valid, model)
    with ctrl_c_noted() as pressed:
        run = _Run(model, train, valid, recipe, pressed, origin)
        if checkpoint is not None:
            run.restore(checkpoint)
            check_same_epoch(checkpoint, gather_object([run.epoch]))
        run.to_the_end(checkpoint, on_epoch, progress)
    return run.history


class _Run:
    """A training run between two steps: all that it takes to make the next one."""

    def __init__(
        self,
        model: ViT,
        train: tuple,
        valid: tuple | None,
        recipe: Recipe,
        pressed: threading.Event,
        origin: str | None,
    ):
        self.origin = origin
        self.best, self.train, self.valid, self.recipe, self.pressed = model, train, valid, recipe, pressed
        self.history = History()
        self.accelerator = make_accelerator()
        self.trained = deepcopy(model).to(self.accelerator.device).train()
        self.average = deepcopy(self.trained).eval()  # a head put in by hand may hold dropout
        self.order = torch.Generator()
        optimizer = torch.optim.AdamW(
            [parameter for parameter in self.trained.parameters() if parameter.requires_grad],
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        loader = make_loader(train, batch_size_of(recipe, len(train[1]), self.accelerator), order=self.order)
        self.parallel, self.optimizer, self.loader = self.accelerator.prepare(self.trained, optimizer, loader)

    @property
    def epoch(self) -> int:
        return len(self.history.loss)

    def to_the_end(
        self, checkpoint: str | os.PathLike | None, on_epoch: Callable | None, progress: bool
    ) -> None:
        first = self.accelerator.is_main_process
        steps = self.recipe.epochs * len(self.loader)
        done = self.epoch * len(self.loader)
        with tqdm(total=steps, initial=done, unit="step", disable=not (progress and first)) as bar:
            while self.epoch < self.recipe.epochs and not self.history.stopped:
                self._train_epoch(bar)
                if checkpoint is not None and first and not self.history.stopped:
                    self.save(checkpoint)
                if on_epoch is not None and first:
                    on_epoch(self.history)
        self.best.eval()

    def _train_epoch(self, bar: tqdm) -> None:
        start, total, steps = time.perf_counter(), 0.0, 0
        bar.set_description(f"epoch {self.epoch + 1}/{self.recipe.epochs}", refresh=False)
        for images, labels in self._batches():
            total = total + self._step(images, labels, self.epoch * len(self.loader) + steps)
            steps += 1
            bar.update()
            if self._is_stopped():
                self.history.stopped = True
                break
        loss = self.accelerator.reduce(total / steps, "mean").item()
        _check_loss(loss, self.epoch + 1, self.recipe.lr)
        self._note(loss, self._validate(), time.perf_counter() - start)
        bar.set_postfix(_postfix(self.history), refresh=False)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.order.manual_seed(_seed(self.recipe.seed, self.epoch))
        place = 1 + self.accelerator.process_index
        noise = torch.Generator().manual_seed(_seed(self.recipe.seed, self.epoch, place))
        for images, labels in self.loader:
            yield random_affine(images, self.recipe.augment, generator=noise), labels

    def _step(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        steps = self.recipe.epochs * len(self.loader)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * _warm_up_and_decay(step, steps)
        with self._autocast():
            loss = F.cross_entropy(self.parallel(images), labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.parallel.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        _move_average(self.average, self.trained, min(self.recipe.average, (1 + step) / (10 + step)))
        return loss.detach()

    def _is_stopped(self) -> bool:
        if self.accelerator.num_processes == 1:
            return self.pressed.is_set()
        if self.pressed.is_set():
            self.accelerator.set_trigger()
        return self.accelerator.check_trigger()  # all processes stop after the same step

    def _validate(self) -> float | None:
        if self.valid is None:
            return None
        with self._autocast():
            return accuracy(self.average, self.valid)

    def _note(self, loss: float, found: float | None, seconds: float) -> None:
        if found is None or found >= max(self.history.valid_accuracy, default=0.0):
            self.best.load_state_dict(self.average.state_dict())
        self.history.loss.append(loss)
        self.history.seconds.append(seconds)
        if found is not None:
            self.history.valid_accuracy.append(found)

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.mixed_precision == "bf16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=enabled)

    def save(self, path: str | os.PathLike) -> None:
        save_run(path, self._models(), self.optimizer, self.history, self._identity())

    def restore(self, path: str | os.PathLike) -> None:
        """Go on from a file that :meth:`save` wrote, where there is one."""
        history = restore_run(path, self._models(), self.optimizer, self._identity())
        self.history = history or self.history

    def _models(self) -> dict[str, ViT]:
        return {"best": self.best, "trained": self.trained, "average": self.average}

    def _identity(self) -> dict:
        return identity_of(self.best, self.recipe, self.train, self.valid, self.origin)


def _warm_up_and_decay(step: int, steps: int) -> float:
    """Share of the learning rate: up in a straight line, down along half a cosine."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


@torch.no_grad()
def _move_average(average: ViT, model: ViT, decay: int | float) -> None:
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        if new.requires_grad:
            old.lerp_(new, 1 - decay)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


def _seed(*numbers: int) -> int:
    """One seed out of several numbers, unlike that of any neighbour."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7])


def _postfix(history: History) -> dict[str, str]:
    shown = {"loss": f"{history.loss[-1]:.3f}"}
    if history.valid_accuracy:
        shown["valid"] = f"{history.valid_accuracy[-1]:.1%}"
    return shown


def _check_loss(loss: float, epoch: int, lr: int | float) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} in epoch {epoch}; a lower lr may help, it is {lr}")
