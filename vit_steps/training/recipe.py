"""The numbers that decide a training run, and what it saw."""

from dataclasses import dataclass, field
from operator import index
from typing import NamedTuple


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

    def plain(self) -> "Recipe":
        """Python's own numbers: another library's are spelled otherwise, and give another seed."""
        numbers = {name: value for name, value in self._asdict().items() if name != "mixed_precision"}
        counts = {name: index(numbers.pop(name)) for name in ("epochs", "batch_size", "seed")}
        return self._replace(**counts, **{name: float(value) for name, value in numbers.items()})
