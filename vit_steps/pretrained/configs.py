"""What stands beside weights, in the words of timm, of Hugging Face or our own -> facts about the model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from vit_steps.files.reading import naming, read_json, shown
from vit_steps.pretrained._noted import read_noted
from vit_steps.pretrained.preprocess import INTERPOLATIONS, MODES
from vit_steps.pretrained.seals import check_beside, read_own_header

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
LARGEST = 10_000  # pixels on a side; ViTs see some hundred
LARGEST_COLOUR, SMALLEST_DEVIATION = 1e3, 1e-6  # where colours lie in [0, 1], or in [0, 255]
HUGGING_FACE_CONFIG = {
    "hidden_size": "dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "intermediate_size": "mlp_dim",
    "layer_norm_eps": "eps",
    "patch_size": "patch_size",
    "num_channels": "channels",
}
HUGGING_FACE_STEPS = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
PILLOW_NAMES = {int(code): name for name, code in INTERPOLATIONS.items()}


class Facts(NamedTuple):
    """What a source says beside its weights; None or empty where it is silent."""

    image_size: tuple[int, int] | None = None
    num_heads: int | None = None
    eps: float | None = None
    pool: str = "cls"
    labels: list[str] | None = None
    preprocess: dict = {}  # noqa: RUF012 (read, never written)
    sizes: dict = {}  # noqa: RUF012
    architecture: str | None = None


def read_facts(path: Path, metadata: dict[str, str]) -> Facts:
    """Read what is known of the model besides its weights.

    Args:
        path: of the weights; configs lie beside it.
        metadata: that stands in the weights' own file.

    Raises:
        ValueError: "config.json is no JSON: ...", "config.json is not built as configs are: ...", or it says
            what this ViT does not have, or is another than the weights were saved with.
        FileNotFoundError, IsADirectoryError, PermissionError: as open_file, where a config is no file.
    """
    own = read_own_header(path, metadata)
    if own.get("kind") == "model":
        with _as_configs_are(path):
            return _own_facts(own.get("config", {}), own.get("notes", {}))
    config, processor = (_read_beside(path.with_name(name)) for name in (CONFIG, PROCESSOR))
    check_beside(path, own, {CONFIG: config, PROCESSOR: processor})
    if config and ("architecture" in config or "pretrained_cfg" in config):
        with _as_configs_are(path.with_name(CONFIG)):
            return _timm_facts(config)
    if config and "hidden_size" not in config:
        raise ValueError(f"{shown(path.with_name(CONFIG))} is neither timm's nor that of a Hugging Face ViT")
    with _as_configs_are(path.with_name(PROCESSOR)):
        preprocess = _hugging_face_preprocess(processor) if processor else {}
    with _as_configs_are(path.with_name(CONFIG)):
        return _hugging_face_facts(config or {})._replace(preprocess=preprocess)


@contextmanager
def _as_configs_are(path: Path) -> Iterator[None]:
    try:
        with naming(path):
            yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        why = error.__cause__ or error
        raise ValueError(f"{shown(path)} is not built as configs are: {why!r:.200}") from error


def _read_beside(path: Path) -> dict[str, Any] | None:
    return read_json(path) if os.path.lexists(path) else None


def _own_facts(config: dict, notes: dict) -> Facts:
    return Facts(
        image_size=pair_of("image_size", config.get("image_size")),
        num_heads=config.get("num_heads"),
        eps=config.get("eps"),
        pool=config.get("pool", "cls"),
        labels=_names_in(notes, config.get("num_classes")),
        preprocess=_own_preprocess(config.get("channels"), notes),
    )


def _own_preprocess(channels: object, notes: dict) -> dict:
    # The command of vit_steps.training says how it prepared the images of --from, and learns else from values
    # in [0, 1] as they are; others may normalise.
    if "command" not in notes or channels not in list(MODES) or read_noted(notes):
        return read_noted(notes)
    return {"mean": (0.0,) * channels, "std": (1.0,) * channels, "interpolation": "bilinear"}


def _names_in(notes: dict, num_classes: object) -> list[str] | None:
    # Notes are free: what is not a name for each class is not about names.
    names = notes.get("classes")
    fits = (
        isinstance(names, list) and len(names) == num_classes and all(isinstance(each, str) for each in names)
    )
    return names if fits else None


def _timm_facts(config: dict) -> Facts:
    arguments, published = config.get("model_args") or {}, config.get("pretrained_cfg") or config
    pool = config.get("global_pool") or "token"
    _check_says({**arguments, "global_pool": pool}, act_layer=("gelu",), global_pool=("token", "avg"))
    channels, *image_size = published.get("input_size") or (None,)
    return Facts(
        image_size=pair_of("image_size", arguments.get("img_size", image_size or None)),
        num_heads=arguments.get("num_heads"),
        pool={"token": "cls", "avg": "mean"}[pool],
        labels=_timm_labels(config.get("label_names"), config.get("label_descriptions") or {}),
        preprocess=_timm_preprocess(published),
        sizes={"dim": config.get("num_features"), "channels": channels},
        architecture=str(config.get("architecture")),
    )


def _timm_labels(names: list | dict | None, descriptions: dict) -> list[str] | None:
    if not names:
        return None
    if not isinstance(names, (list, dict)):
        raise ValueError(f"label_names must be a list or a mapping, got {names!r:.80}")
    names = _in_order("label_names", names if isinstance(names, dict) else dict(enumerate(names)))
    return [str(descriptions.get(name, name)) for name in names]


def _timm_preprocess(published: dict) -> dict:
    _check_says(published, crop_mode=("center", "squash"))
    return {
        "mean": _numbers("mean", published.get("mean")),
        "std": _numbers("std", published.get("std")),
        "crop_pct": published.get("crop_pct") or 0.875,
        "squash": published.get("crop_mode") == "squash",
        "interpolation": str(published.get("interpolation") or "bicubic"),
    }


def _hugging_face_facts(config: dict) -> Facts:
    _check_says(config, hidden_act=("gelu",))
    known = {ours: config.get(theirs) for theirs, ours in HUGGING_FACE_CONFIG.items()}
    labels = config.get("id2label")
    return Facts(
        image_size=pair_of("image_size", config.get("image_size")),
        num_heads=known.pop("num_heads"),
        eps=known.pop("eps"),
        labels=_in_order("id2label", labels) if labels else None,
        sizes=known,
    )


def _hugging_face_preprocess(processor: dict) -> dict:
    kind = processor.get("image_processor_type", processor.get("feature_extractor_type", "ViT"))
    _check_says(processor, **{step: (value,) for step, value in HUGGING_FACE_STEPS.items()})
    size, crop = processor.get("size", 224), None
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind.startswith("Bit") else {"height": size, "width": size}
    if processor.get("do_center_crop", not kind.startswith("ViT")):
        crop = processor.get("crop_size", 224)
    filter_ = processor.get("resample", 2 if kind.startswith("ViT") else 3)
    return {
        **_hugging_face_statistics(processor),
        "crop_pct": _crop_pct(size, crop),
        "squash": "shortest_edge" not in size,
        "interpolation": PILLOW_NAMES.get(filter_, f"resample {filter_}"),
        "floor": True,
    }


def _hugging_face_statistics(processor: dict) -> dict:
    if not processor.get("do_normalize", True):
        return {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return {
        "mean": _numbers("image_mean", processor.get("image_mean")),
        "std": _numbers("image_std", processor.get("image_std")),
    }


def _crop_pct(size: dict, crop: int | dict | None) -> Fraction:
    """The share of the resized image that the crop keeps, the same for both sides."""
    shortest = size.get("shortest_edge")
    if crop is None and shortest:
        raise ValueError("preprocessor_config.json resizes the shorter side and crops nothing: no fixed size")
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop or size
    sides = [(crop.get(side), shortest or size.get(side)) for side in ("height", "width")]
    if not all(isinstance(pixels, int) and pixels > 0 for pair in sides for pixels in pair):
        raise ValueError(
            f"preprocessor_config.json says size {size!r:.80}, crop_size {crop!r:.80}: not in whole pixels"
        )
    if any(pixels > LARGEST for pair in sides for pixels in pair):
        raise ValueError(f"preprocessor_config.json says size {size!r:.80}: more than {LARGEST:,} pixels")
    shares = {Fraction(cropped, resized) for cropped, resized in sides}
    if len(shares) > 1:
        raise ValueError(f"preprocessor_config.json crops size {size} to {crop}, which is another shape")
    return shares.pop()


def _check_says(config: dict, **expected: tuple) -> None:
    """Refuse what a config asks for and this ViT does not have; a key that is not there asks for nothing."""
    for key, values in expected.items():
        if config.get(key) is not None and config[key] not in values:
            raise ValueError(
                f"the config says {key} {config[key]!r:.80}, only {' or '.join(map(repr, values))} will do"
            )


def pair_of(name: str, size: object) -> tuple[int, int] | None:
    """Make (height, width) of one number or two, or None of None.

    Raises:
        ValueError: "image_size must be one number or (height, width), got 'big'", or it is too large.
    """
    pair = (size, size) if isinstance(size, int) else size
    if pair is None:
        return None
    if not isinstance(pair, (tuple, list)) or [type(side) for side in pair] != [int, int]:
        raise ValueError(f"{name} must be one number or (height, width), got {size!r:.80}")
    if max(pair) > LARGEST:
        raise ValueError(f"{name} {pair[0]} x {pair[1]} is more than {LARGEST:,} pixels a side")
    return tuple(pair)


def _numbers(name: str, values: object) -> tuple[float, ...] | None:
    numbers = tuple(map(float, values)) if isinstance(values, (tuple, list)) else None
    least = SMALLEST_DEVIATION if name.endswith("std") else -LARGEST_COLOUR
    if numbers and not all(least <= number <= LARGEST_COLOUR for number in numbers):
        raise ValueError(f"{name} {numbers!r:.80} does not lie between {least} and {LARGEST_COLOUR}")
    return numbers


def _in_order(name: str, labels: dict) -> list[str]:
    labels = {str(number): label for number, label in labels.items()}
    for number in range(len(labels)):
        if str(number) not in labels:
            raise ValueError(f"{name} must name the classes 0 to {len(labels) - 1}, '{number}' is missing")
        if not isinstance(labels[str(number)], (str, int)):
            raise ValueError(f"{name} must hold names, got {labels[str(number)]!r:.80}")
    return [str(labels[str(number)]) for number in range(len(labels))]
