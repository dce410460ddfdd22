"""Fit a ViT on images and labels, on one core or many machines; keep it in a file that is never unpickled."""

import argparse
import hashlib
import json
import math
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from numbers import Integral
from operator import index
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, gather_object
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm

from vit_steps.data import load_digits_images, load_image_folder, split_in_three
from vit_steps.vit import ViT

SHIPPED = Path(__file__).parent / "weights" / "digits.safetensors"
PRECISIONS = ("no", "bf16")
INTERPOLATIONS = ("bicubic", "bilinear", "nearest")
WARMUP = 0.1  # of all steps
MAX_GRADIENT = 1.0


@dataclass
class History:
    """What :func:`fit` saw, one number for each epoch.

    ``loss`` is the mean over the training steps, label smoothing included; ``valid_accuracy`` lies in [0, 1]
    and is empty where there was nothing to validate on; ``seconds`` are those of the wall clock and count
    for nothing when two histories are compared. ``stopped`` says whether Ctrl-C cut the last epoch short.
    """

    loss: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list, compare=False)
    stopped: bool = False


class Recipe(NamedTuple):
    """The numbers that, with the data and the fresh model, decide what :func:`fit` gives."""

    epochs: int
    batch_size: int
    lr: int | float
    weight_decay: int | float
    label_smoothing: int | float
    augment: int | float
    average: int | float
    seed: int
    mixed_precision: str


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
        model: is trained in place; it stays on its device, while the work is done where Accelerate says.
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
        checkpoint: file that is written after every epoch, and gone on from where it exists.
        on_epoch: called with the history so far after every epoch, for instance to draw it.
        progress: whether to show a bar (on stderr, or as a widget).

    Returns:
        The history, one number for each epoch.

    Raises:
        ValueError: "train has 64 images and labels of shape (63,)", "train labels must lie in 0 to 9, got
            10", "batch_size 64 is not a multiple of the 3 processes", "checkpoint run.safetensors belongs to
            another run: lr was 0.003, is 0.001".
        TypeError: an argument of the wrong kind.
        FloatingPointError: "the loss is nan in epoch 3; a lower lr may help, it is 100".

    Example:
        >>> train, valid = load_digits_images("train"), load_digits_images("valid")
        >>> history = fit(digits_model(), train, valid, epochs=60)
        >>> history.valid_accuracy[-1] > 0.98
        True
    """
    _check_hooks(checkpoint, on_epoch)
    recipe = Recipe(
        epochs, batch_size, lr, weight_decay, label_smoothing, augment, average, seed, mixed_precision
    )
    _check_model(model)
    _check_recipe(recipe)
    recipe = _whole(recipe)
    _check_images("train", train, model)
    if valid is not None:
        _check_images("valid", valid, model)
    with _ctrl_c_noted() as pressed:
        run = _Run(model, train, valid, recipe, pressed)
        if checkpoint is not None:
            run.restore(checkpoint)
            _check_same_epoch(checkpoint, gather_object([run.epoch]))
        run.to_the_end(checkpoint, on_epoch, progress)
    return run.history


class _Run:
    """A training run between two steps: all that it takes to make the next one."""

    def __init__(
        self, model: ViT, train: tuple, valid: tuple | None, recipe: Recipe, pressed: threading.Event
    ):
        self.best, self.train, self.valid, self.recipe, self.pressed = model, train, valid, recipe, pressed
        self.history = History()
        self.accelerator = _accelerator()
        self.trained = deepcopy(model).to(self.accelerator.device).train()
        self.average = deepcopy(self.trained)
        self.order = torch.Generator()
        optimizer = torch.optim.AdamW(
            self.trained.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
        loader = _loader(train, _batch_size(recipe, len(train[1]), self.accelerator), order=self.order)
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
        """Write everything that the next epoch depends on; the random numbers follow from seed and epoch."""
        tensors = {}
        for part in ("best", "trained", "average"):
            tensors |= {f"{part}.{name}": t for name, t in getattr(self, part).state_dict().items()}
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": t for name, t in state.items()}
        _write(path, tensors, {"kind": "run", "history": asdict(self.history), **self._identity()})

    def restore(self, path: str | os.PathLike) -> None:
        """Go on from a file that :meth:`save` wrote, where there is one."""
        _check_writable(path)
        if not Path(path).exists():
            return
        tensors, header = _read(path, "run")
        _check_same_run(path, header, self._identity())
        for part in ("best", "trained", "average"):
            _load_into(getattr(self, part), _part(tensors, part), path)
        state = self.optimizer.state_dict()
        for name, tensor in _part(tensors, "optimizer").items():
            place, _, key = name.partition(".")
            state["state"].setdefault(int(place), {})[key] = tensor
        self.optimizer.load_state_dict(state)
        self.history = History(**header["history"])

    def _identity(self) -> dict:
        parts = {"train": self.train, "valid": self.valid or ()}
        data = {name: _digest(dict(enumerate(part))) for name, part in parts.items()}
        return _jsoned({"config": self.best.config, "recipe": self.recipe._asdict(), "data": data})


def accuracy(
    model: nn.Module,
    images_and_labels: tuple[Float[Tensor, "images channels height width"], Int[Tensor, " images"]],
    *,
    batch_size: int = 256,
) -> float:
    """Share of the images that a model puts into the right class, in [0, 1].

    Under ``accelerate launch`` the processes share the work, and each image counts once.

    Args:
        model: gives logits; it may be on any device.
        images_and_labels: as :func:`fit` takes them.
        batch_size: images that one process looks at together.

    Raises:
        ValueError: "images_and_labels has 64 images and labels of shape (63,)", no images, NaN among them.
        TypeError: an argument of the wrong kind.
    """
    _check_pair("images_and_labels", images_and_labels)
    _check_measured(model, batch_size)
    accelerator = _accelerator()
    images, labels = images_and_labels
    share = math.ceil(len(labels) / accelerator.num_processes)
    loader = _loader((images, labels), min(index(batch_size), share) * accelerator.num_processes)
    device = next((parameter.device for parameter in model.parameters()), images.device)
    right = 0
    with torch.inference_mode():
        for some, expected in accelerator.prepare(loader):
            found = model(some.to(device)).argmax(dim=1).to(expected.device)
            right += accelerator.gather_for_metrics(found == expected).sum().item()
    return right / len(labels)


def random_affine(
    images: Float[Tensor, "batch channels height width"],
    strength: int | float,
    *,
    generator: torch.Generator,
    interpolation: str = "bicubic",
) -> Float[Tensor, "batch channels height width"]:
    """Turn, stretch, shear and shift each image a little, each in its own way.

    The six numbers of the affine map are those of doing nothing plus uniform noise in
    [-strength, strength]. At 0.1 that is a turn of up to 6 degrees, a tenth of the size, and a shift of a
    twentieth of the side. What comes in from outside is black.

    Args:
        images: on any device.
        strength: 0 gives the images back as they are.
        generator: of the noise, on the CPU.
        interpolation: "bicubic" keeps the images sharp, which matters: images that are tested are sharp too.
            "bilinear" blurs them, and "nearest" moves whole pixels.

    Raises:
        ValueError: "strength must be at least 0 and below inf, got -1", images without pixels, or another
            interpolation.
        TypeError: an argument of the wrong kind.
    """
    _check_affine(images, strength, generator, interpolation)
    if not strength:
        return images
    if images.device.type == "mps":  # has no bicubic sampling
        return random_affine(images.cpu(), strength, generator=generator, interpolation=interpolation).to(
            "mps"
        )
    noise = 2 * torch.rand(len(images), 2, 3, generator=generator) - 1
    maps = (torch.eye(2, 3) + strength * noise).to(images)
    places = F.affine_grid(maps, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, places, mode=interpolation, align_corners=False)
    return moved.clamp(images.min(), images.max())  # bicubic sampling overshoots at edges


def fresh_model(*, seed: int = 0, **config: object) -> ViT:
    """Make a ViT whose positions start as large as the patches they are added to (deviation 0.5).

    With the paper's 0.02 a small model first has to learn to see the positions at all.

    Args:
        seed: of the parameters; torch's global random numbers are left as they were.
        **config: the arguments of :class:`ViT`.

    Raises: as :class:`ViT`, and "seed must be at least 0, got -1".
    """
    _check_integer("seed", seed, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ViT(**config)
        nn.init.normal_(model.pos_embed, std=0.5)
    return model


def digits_model(*, patch_size: int = 4, depth: int = 3, pool: str = "cls", seed: int = 0) -> ViT:
    """Make the small ViT that learns scikit-learn's 8×8 digits: tokens of 64 numbers, four heads."""
    sizes = {"image_size": 8, "patch_size": patch_size, "channels": 1, "num_classes": 10}
    return fresh_model(seed=seed, dim=64, depth=depth, num_heads=4, mlp_dim=256, pool=pool, **sizes)


def save_checkpoint(model: ViT, path: str | os.PathLike, *, notes: dict | None = None) -> None:
    """Write a model to a safetensors file, with the constructor's arguments inside.

    The file appears at once and whole: it is written beside ``path`` under another name first.

    Args:
        model: any ViT of this package.
        path: of the file; one that is there is replaced.
        notes: what else the file should say, such as how it was made; whatever JSON can hold.

    Raises:
        TypeError: "model must be a ViT, not Linear", "notes must be what JSON can hold, got ...".
        FileNotFoundError: "there is no folder runs to write model.safetensors into".
    """
    _check_model(model)
    _check_notes(notes)
    _check_writable(path)
    _write(path, model.state_dict(), {"kind": "model", "config": model.config, "notes": notes or {}})


def load_checkpoint(path: str | os.PathLike | None = None) -> ViT:
    """Read a model that :func:`save_checkpoint` wrote; without a path, the one that ships, trained on digits.

    Args:
        path: of the file.

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        FileNotFoundError: "there is no file model.safetensors".
        ValueError: says what is wrong with which file, be it damaged, cut short or of another kind.
    """
    path = SHIPPED if path is None else path
    _check_path("path", path)
    tensors, header = _read(path, "model")
    return _build(header.get("config"), tensors, path)


def read_notes(path: str | os.PathLike | None = None) -> dict:
    """Read what a model file says of itself; without a path, that of the model that ships.

    Raises: as :func:`load_checkpoint`.
    """
    path = SHIPPED if path is None else path
    _check_path("path", path)
    return _read(path, "model")[1]["notes"]


def _build(config: object, tensors: dict[str, Tensor], path: str | os.PathLike) -> ViT:
    try:
        if config["depth"] > len(tensors):  # a forged number must not keep us busy for ever
            raise ValueError(f"depth {config['depth']} with {len(tensors)} tensors")
        size = config["image_size"]
        with torch.device("meta"):  # no memory before the shapes are known to be right
            model = ViT(**config | {"image_size": tuple(size) if isinstance(size, list) else size})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} does not describe a ViT: {error}") from None
    _load_into(model, tensors, path, assign=True)
    return model.eval()


def _load_into(model: ViT, tensors: dict[str, Tensor], path: str | os.PathLike, assign: bool = False) -> None:
    """Take over all tensors, and say which one does not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"{path}: {name} should be {expected.get(name)}, is {found.get(name)}")
    model.load_state_dict(tensors, assign=assign)


def _write(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> None:
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = _jsoned(header)
    header["digest"] = _digest(tensors, header)
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(save(tensors, metadata={"vit_steps": json.dumps(header)}))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _jsoned(header: dict) -> dict:
    """Make of a header what reading it back will give."""
    return json.loads(json.dumps(header, default=_plain))


def _plain(value: object) -> int:
    """Turn an integer of another library into one that JSON knows."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"notes must be what JSON can hold, got {value!r}") from None


def _read(path: str | os.PathLike, kind: str) -> tuple[dict[str, Tensor], dict]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from None
    header = _parse_header(path, metadata)
    if header.get("kind") != kind:
        raise ValueError(f"{path} holds a {header.get('kind')}, a {kind} was wanted")
    if header.pop("digest", None) != _digest(tensors, header):
        raise ValueError(f"{path} is damaged: it does not hold what was written")
    return tensors, header


def _parse_header(path: str | os.PathLike, metadata: dict[str, str]) -> dict:
    if "vit_steps" not in metadata:
        raise ValueError(
            f"{path} was not written by vit_steps; load_pretrained reads files of other libraries"
        )
    try:
        header = json.loads(metadata["vit_steps"])
    except ValueError as error:
        raise ValueError(f"{path} is damaged: its header is no JSON, {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path} is damaged: its header is {header!r}")
    return header


def _digest(tensors: dict, header: dict | None = None) -> str:
    """SHA-256 of the header and of all names, shapes and bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _accelerator() -> Accelerator:
    loading = DataLoaderConfiguration(split_batches=True)
    return Accelerator(cpu=not torch.accelerator.is_available(), dataloader_config=loading)


class _Images(TensorDataset):
    """Takes a batch out of the tensors in one go, not image by image."""

    def __getitems__(self, places: list[int]) -> tuple[Tensor, ...]:
        return self[places]


def _loader(pair: tuple, batch_size: int, order: torch.Generator | None = None) -> DataLoader:
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


def _batch_size(recipe: Recipe, images: int, accelerator: Accelerator) -> int:
    processes = accelerator.num_processes
    if recipe.batch_size % processes:
        raise ValueError(f"batch_size {recipe.batch_size} is not a multiple of the {processes} processes")
    if images < processes:
        raise ValueError(f"train has {images} images for {processes} processes")
    return min(recipe.batch_size, images // processes * processes)


def _whole(recipe: Recipe) -> Recipe:
    """Python's own integers: another library's are spelled otherwise, and give another seed."""
    return recipe._replace(
        **{name: index(getattr(recipe, name)) for name in ("epochs", "batch_size", "seed")}
    )


def _warm_up_and_decay(step: int, steps: int) -> float:
    """Share of the learning rate: up in a straight line, down along half a cosine."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


@torch.no_grad()
def _move_average(average: ViT, model: ViT, decay: int | float) -> None:
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.lerp_(new, 1 - decay)


def _seed(*numbers: int) -> int:
    """One seed out of several numbers, unlike that of any neighbour."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7])


def _postfix(history: History) -> dict[str, str]:
    shown = {"loss": f"{history.loss[-1]:.3f}"}
    if history.valid_accuracy:
        shown["valid"] = f"{history.valid_accuracy[-1]:.1%}"
    return shown


@contextmanager
def _ctrl_c_noted() -> Iterator[threading.Event]:
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


def _check_same_run(path: str | os.PathLike, then: dict, now: dict) -> None:
    for part in ("config", "recipe", "data"):
        before = then.get(part, {})
        for name in sorted(before.keys() | now[part].keys()):
            was, is_now = before.get(name), now[part].get(name)
            if was != is_now:
                raise ValueError(f"checkpoint {path} belongs to another run: {name} was {was}, is {is_now}")


def _check_same_epoch(path: str | os.PathLike, epochs: list[int]) -> None:
    if len(set(epochs)) > 1:
        raise ValueError(
            f"checkpoint {path} is at epoch {epochs} for the {len(epochs)} processes; all must see one file"
        )


def _check_loss(loss: float, epoch: int, lr: int | float) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} in epoch {epoch}; a lower lr may help, it is {lr}")


def _check_model(model: object) -> None:
    if not isinstance(model, ViT):
        raise TypeError(f"model must be a ViT, not {type(model).__name__}")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("model is on the meta device: it holds no numbers")


def _check_notes(notes: object) -> None:
    if notes is not None and not isinstance(notes, dict):
        raise TypeError(f"notes must be a dict, got {notes!r:.80}")


def _check_measured(model: object, batch_size: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, not {type(model).__name__}")
    _check_integer("batch_size", batch_size, 1)


def _check_hooks(checkpoint: object, on_epoch: object) -> None:
    if checkpoint is not None:
        _check_path("checkpoint", checkpoint)
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch must be callable, not {type(on_epoch).__name__}")


def _check_path(name: str, path: object) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {type(path).__name__}")
    if "\0" in os.fsdecode(path):
        raise ValueError(f"{name} has a NUL in it, got {path!r}")


def _check_writable(path: str | os.PathLike) -> None:
    _check_path("path", path)
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, a file was wanted")


def _check_recipe(recipe: Recipe) -> None:
    for name, least in {"epochs": 1, "batch_size": 1, "seed": 0}.items():
        _check_integer(name, getattr(recipe, name), least)
    for name, end in {"lr": math.inf, "weight_decay": math.inf}.items():
        _check_range(name, getattr(recipe, name), end)
    for name in ("label_smoothing", "augment", "average"):
        _check_range(name, getattr(recipe, name), 1)
    if recipe.mixed_precision not in PRECISIONS:
        raise ValueError(f"mixed_precision must be one of no, bf16, got {recipe.mixed_precision!r}")


def _check_integer(name: str, number: object, least: int) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise TypeError(f"{name} must be an integer, got {number!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")


def _check_range(name: str, number: object, end: int | float) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{name} must be a number, got {number!r}")
    if not 0 <= number < end:
        raise ValueError(f"{name} must be at least 0 and below {end}, got {number}")


def _check_images(name: str, pair: object, model: ViT) -> None:
    _check_pair(name, pair, model.config["num_classes"])
    images, _ = pair
    expected = (model.channels, *model.image_size)
    if tuple(images.shape[1:]) != expected:
        got, wanted = (" x ".join(map(str, sizes)) for sizes in (images.shape[1:], expected))
        raise ValueError(f"{name} images are {got}, the model was made for {wanted}")
    if images.dtype != model.pos_embed.dtype:
        raise TypeError(f"{name} images are {images.dtype}, the model is {model.pos_embed.dtype}")


def _check_pair(name: str, pair: object, classes: int | None = None) -> None:
    """What a pair must be for any model, or for one with so many classes."""
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
        raise TypeError(f"{name} must be a tuple of two tensors, images and labels")
    images, labels = pair
    if images.ndim != 4:
        axes = "(images channels height width)"
        raise ValueError(f"{name} images must have the axes {axes}, got shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"{name} images must be floating-point, got {images.dtype}")
    _check_numbers(name, images, labels)
    _check_labels(name, labels, len(images), classes)


def _check_numbers(name: str, images: Tensor, labels: Tensor) -> None:
    if images.is_meta or labels.is_meta:
        raise ValueError(f"{name} is on the meta device: it holds no numbers")
    if not images.isfinite().all():
        raise ValueError(f"{name} images hold NaN or infinity")


def _check_affine(images: object, strength: object, generator: object, interpolation: object) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch.Tensor, not {type(images).__name__}")
    if images.ndim != 4 or 0 in images.shape:
        axes = "(batch channels height width)"
        raise ValueError(f"images must have the axes {axes}, none empty, got shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating-point, got {images.dtype}")
    _check_range("strength", strength, math.inf)
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")


def _check_labels(name: str, labels: Tensor, images: int, classes: int | None) -> None:
    if labels.dtype != torch.int64:
        raise TypeError(f"{name} labels must be int64, got {labels.dtype}")
    if labels.shape != (images,):
        raise ValueError(f"{name} has {images} images and labels of shape {tuple(labels.shape)}")
    if not images:
        raise ValueError(f"{name} has no images")
    if classes is None:  # any number may be a class
        return
    if classes == 0:
        raise ValueError("model has no head to train, num_classes is 0")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ValueError(f"{name} labels must lie in 0 to {classes - 1}, got {wrong[0].item()}")


EXAMPLES = """examples:
  the digits of scikit-learn, in seconds
    python -m vit_steps.training --data digits --out digits.safetensors
  small patches, whose attention is worth a look, in minutes
    python -m vit_steps.training --data digits --patch-size 2 --depth 4 --epochs 200
  a folder with one subfolder of images for each class, in a run that can be killed and started again
    python -m vit_steps.training --data pets --image-size 96 --patch-size 8 --dim 192 --depth 6 --heads 6 \\
        --checkpoint run.safetensors --out pets.safetensors
  two processes on this machine; all GPUs of this machine
    accelerate launch --cpu --num_processes 2 -m vit_steps.training --data digits
    accelerate launch --multi_gpu -m vit_steps.training --data pets --mixed-precision bf16 --batch-size 512
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m vit_steps.training``: 0 when all went well, 130 when Ctrl-C ended it early."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = parser.parse_args(words)
    try:
        model, parts, history, notes = _train(options)
    except (ValueError, OSError, FloatingPointError) as error:
        parser.error(str(error))
    notes["test_accuracy"] = accuracy(model, parts["test"])
    notes["command"] = shlex.join(["python", "-m", "vit_steps.training", *words])
    _say(_outcome(history, notes, len(parts["train"][1]), len(parts["test"][1])))
    if _accelerator().is_main_process:
        save_checkpoint(model.cpu(), options.out, notes=notes)
    return 130 if history.stopped else 0


def _train(options: argparse.Namespace) -> tuple[ViT, dict, History, dict]:
    """Do all that can be refused; the notes are what the file will say of the model."""
    _check_files(options)
    _check_recipe(Recipe(**_recipe(options)))
    parts, classes = _load_parts(options)
    model = _model_of(options, parts["train"][0], len(classes)).to(_accelerator().device)
    _say(_plan(options, model, parts))
    history = fit(model, parts["train"], parts["valid"], checkpoint=options.checkpoint, **_recipe(options))
    best = max(history.valid_accuracy)
    return model, parts, history, {"classes": classes, "split_seed": options.seed, "valid_accuracy": best}


def _check_files(options: argparse.Namespace) -> None:
    """Refuse before the work what could not be written after it."""
    for path in filter(None, (options.out, options.checkpoint)):
        _check_writable(path)
    if options.checkpoint and Path(options.checkpoint).resolve() == Path(options.out).resolve():
        raise ValueError(f"--out and --checkpoint must be two files, both are {options.out}")


OPTIONS = (
    ("data", "digits", '"digits", or a folder with one subfolder of images for each class'),
    ("out", "model.safetensors", "file for the model"),
    ("checkpoint", None, "file written after every epoch; the same command goes on from it"),
    ("image-size", 64, "side of the square that images of a folder are brought to, in pixels"),
    ("channels", 3, "of the images of a folder: 3 for colour, 1 for grey"),
    ("broken", "refuse", "what to do with files of a folder that are no images: refuse or skip"),
    ("patch-size", 4, "side of a patch, in pixels"),
    ("dim", 64, "width of a token"),
    ("depth", 3, "number of encoder blocks"),
    ("heads", 4, "heads of each attention"),
    ("pool", "cls", "what the head reads: cls or mean"),
    ("epochs", 60, "how often each image is seen"),
    ("batch-size", 64, "images in a step, over all processes together"),
    ("lr", 3e-3, "highest learning rate"),
    ("weight-decay", 0.05, "of AdamW"),
    ("label-smoothing", 0.1, "share of the target spread over all classes"),
    ("augment", 0.15, "strength of the random affine maps, 0 for none"),
    ("average", 0.995, "share of the averaged weights that outlives a step"),
    ("mixed-precision", "no", "no, or bf16 where there is a GPU"),
    ("seed", 0, "of the split, the parameters, the order and the affine maps"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vit_steps.training",
        description="Train a Vision Transformer, test it on images it never saw, and write it to a file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, default, text in OPTIONS:
        kind = str if default is None else type(default)
        shown = "" if default is None else f" ({default})"
        parser.add_argument(f"--{name}", default=default, type=kind, metavar=kind.__name__, help=text + shown)
    return parser


def _load_parts(options: argparse.Namespace) -> tuple[dict[str, tuple[Tensor, Tensor]], tuple[str, ...]]:
    if options.data == "digits":
        parts = {split: load_digits_images(split, seed=options.seed) for split in ("train", "valid", "test")}
        return parts, tuple("0123456789")
    folder = load_image_folder(
        options.data, size=options.image_size, channels=options.channels, broken=options.broken
    )
    places = split_in_three(folder.labels, seed=options.seed)
    parts = {split: (folder.images[some], folder.labels[some]) for split, some in places.items()}
    return parts, folder.classes


def _model_of(options: argparse.Namespace, images: Tensor, classes: int) -> ViT:
    return fresh_model(
        seed=options.seed,
        image_size=tuple(images.shape[2:]),
        patch_size=options.patch_size,
        channels=images.shape[1],
        dim=options.dim,
        depth=options.depth,
        num_heads=options.heads,
        mlp_dim=4 * options.dim,
        num_classes=classes,
        pool=options.pool,
    )


def _recipe(options: argparse.Namespace) -> dict:
    return {name: getattr(options, name) for name in Recipe._fields}


def _plan(options: argparse.Namespace, model: ViT, parts: dict[str, tuple[Tensor, Tensor]]) -> str:
    accelerator, config = _accelerator(), model.config
    counts = ", ".join(f"{len(labels)} {split}" for split, (_, labels) in parts.items())
    size = " x ".join(map(str, parts["train"][0].shape[1:]))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = {"data": f"{options.data}: {counts} images of {size}, {config['num_classes']} classes"}
    lines["patches"] = f"{model.grid[0]} x {model.grid[1]} of {config['patch_size']} pixels"
    lines["model"] = f"dim {config['dim']}, depth {config['depth']}, {config['num_heads']} heads, "
    lines["model"] += f"{config['pool']} pooled, {parameters:,} parameters"
    lines["recipe"] = ", ".join(f"{name} {value}" for name, value in _recipe(options).items())
    lines["machine"] = f"{_count(accelerator.num_processes, 'process')} on {accelerator.device.type}"
    lines["writes"] = options.out + (f", {options.checkpoint}" if options.checkpoint else "")
    return "\n".join(f"{name:8} {line}" for name, line in lines.items())


def _outcome(history: History, notes: dict, trained: int, tested: int) -> str:
    speed = trained * len(history.seconds) / sum(history.seconds)
    lines = [f"{speed:,.0f} images per second in training, validation included"]
    if history.stopped:
        lines.append(f"stopped by Ctrl-C in epoch {len(history.loss)}; the best epoch so far is kept")
    lines.append(f"best accuracy in validation {notes['valid_accuracy']:.2%}")
    found = notes["test_accuracy"]
    lines.append(f"accuracy in test {found:.2%} ({round(found * tested)} of {tested} images)")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("es" if number > 1 else "")


def _say(text: str) -> None:
    _accelerator().print(text, flush=True)


def _started_alone() -> bool:
    """Whether Accelerate was asked for several processes on the CPU and, for want of MPI, started one."""
    asked = os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_PORT" in os.environ
    return asked and not any(
        name.endswith(("WORLD_SIZE", "WORLD_LOCAL_SIZE", "PMI_SIZE")) for name in os.environ
    )


def _start_all() -> None:
    """Start the processes that ``accelerate launch --cpu --num_processes n`` means, with torch's launcher."""
    from torch.distributed.run import main as launch

    processes = f"--nproc-per-node={_asked_processes()}"
    launch(["--standalone", processes, "-m", "vit_steps.training", *sys.argv[1:]])


def _asked_processes() -> int:
    """Read the number off the command that started this process: Accelerate does not hand it on.

    See https://github.com/huggingface/accelerate/issues/2741, "Multiple processes on CPUs".
    """
    import psutil
    from accelerate.commands.launch import launch_command_parser

    words = psutil.Process().parent().cmdline()
    start = next((place for place, word in enumerate(words) if word.endswith("launch")), len(words))
    options, _ = launch_command_parser().parse_known_args([*words[start + 1 :], "-m", "vit_steps.training"])
    if options.num_processes is None or (options.num_machines or 1) > 1:
        raise SystemExit("accelerate launch --cpu needs --num_processes on the command line, and one machine")
    return options.num_processes


def _leave(code: int) -> None:
    """End one of several processes without tearing it down.

    Gloo's threads outlive ``destroy_process_group`` once DistributedDataParallel was used, and meet an
    interpreter that is ending: about one run in fifteen aborted, its model already written.
    """
    if torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


if __name__ == "__main__":
    _leave(_start_all() or 0 if _started_alone() else main())
