"""A run in a file, written after every epoch: all that the next epoch depends on.

The random numbers follow from seed and epoch. The images are not in it, only their number and a digest: in a
run that goes on with other images nothing would be what it says.
"""

import os
import warnings
from dataclasses import asdict
from pathlib import Path

from torch.optim import Optimizer

from vit_steps.files.reading import digest, shown
from vit_steps.files.writing import writable
from vit_steps.training._own_files import jsoned, load_into, part_of, read_own, tensors_of, write_own
from vit_steps.training.recipe import History, Recipe
from vit_steps.vit import ViT

COPIES = 3  # of the weights: best, trained, average
MOMENTS = 2  # of the optimizer, for each number that is trained


def identity_of(
    model: ViT, recipe: Recipe, train: tuple, valid: tuple | None, origin: str | None = None
) -> dict:
    """All that decides a run; one that differs in any of it is another run."""
    pairs = {"train": train, "valid": valid or ()}
    said = {"config": model.config, "recipe": recipe._asdict()}
    said["origin"] = origin
    said["frozen"] = [name for name, each in model.named_parameters() if not each.requires_grad]
    said["images"] = {name: len(pair[1]) if pair else 0 for name, pair in pairs.items()}
    said["data"] = {
        name: digest({str(place): part for place, part in enumerate(pair)}) for name, pair in pairs.items()
    }
    return jsoned(said)


def save_run(
    path: str | os.PathLike, models: dict[str, ViT], optimizer: Optimizer, history: History, identity: dict
) -> None:
    """Write a run; where that fails, warn and let the training go on: the model matters more."""
    tensors = {}
    for part, model in models.items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in tensors_of(model).items()}
    for place, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in state.items()}
    try:
        write_own(path, tensors, {"kind": "run", "history": asdict(history), **identity})
    except (OSError, ValueError) as error:
        warnings.warn(f"{error}; the training goes on without it", RuntimeWarning, stacklevel=2)


def restore_run(
    path: str | os.PathLike, models: dict[str, ViT], optimizer: Optimizer, identity: dict
) -> History | None:
    """Go on from a file that :func:`save_run` wrote, where there is one; it must be writable in any case."""
    writable(path, size=_size(next(iter(models.values()))))
    if not Path(path).exists():
        return None
    tensors, header = read_own(path, "run")
    _check_same_run(path, header, identity)
    try:
        state = _optimizer_state(optimizer, part_of(tensors, "optimizer"))
        history = History(**header["history"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{shown(path)} does not describe a run: {error!r}") from None
    for part, model in models.items():
        load_into(model, part_of(tensors, part), path)
    optimizer.load_state_dict(state)
    return history


def _size(model: ViT) -> int:
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    return COPIES * sum(tensor.nbytes for tensor in tensors_of(model).values()) + MOMENTS * trained


def _optimizer_state(optimizer: Optimizer, tensors: dict) -> dict:
    state = optimizer.state_dict()
    for name, tensor in tensors.items():
        place, _, key = name.partition(".")
        state["state"].setdefault(int(place), {})[key] = tensor
    return state


def _check_same_run(path: str | os.PathLike, then: dict, now: dict) -> None:
    if then.get("origin") != now["origin"]:
        was, is_now = (each.get("origin") or "fresh weights" for each in (then, now))
        _refuse(path, f"it started from {was}, this one starts from {is_now}")
    for part in ("config", "recipe"):
        before = then.get(part, {})
        for name in sorted(before.keys() | now[part].keys()):
            was, is_now = before.get(name), now[part].get(name)
            if was != is_now:
                _refuse(path, f"{name} was {was}, is {is_now}")
    for name in sorted({*then.get("frozen", [])} ^ {*now["frozen"]}):
        _refuse(path, f"{name} was {_state(name, then)}, is {_state(name, now)}")
    for name, content in now["data"].items():
        was, is_now = then.get("images", {}).get(name), now["images"][name]
        if was not in (None, is_now):
            _refuse(path, f"{name} had {was} images, has {is_now}")
        if then.get("data", {}).get(name) != content:
            _refuse(path, f"{name} has other images or labels")


def _state(name: str, header: dict) -> str:
    return "frozen" if name in header.get("frozen", []) else "trained"


def _refuse(path: str | os.PathLike, why: str) -> None:
    raise ValueError(f"checkpoint {shown(path)} belongs to another run: {why}")


def check_same_epoch(path: str | os.PathLike, epochs: list[int]) -> None:
    """Refuse processes that would go on from different places."""
    if len(set(epochs)) > 1:
        raise ValueError(
            f"checkpoint {shown(path)} is at epoch {epochs} for the {len(epochs)} processes; "
            "all must see one file"
        )
