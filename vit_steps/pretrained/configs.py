"""What stands beside weights, in the words of timm, of Hugging Face or our own -> facts about the model."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from vit_steps.files.reading import naming, read_json, shown
from vit_steps.layers import Act
from vit_steps.position_embedding import Library
from vit_steps.pretrained._noted import read_noted
from vit_steps.pretrained.architectures import (
    ARCHITECTURES,
    HUGGING_FACE,
    TIMM,
    check_arguments,
    check_known,
    heads_of,
)
from vit_steps.pretrained.open_clip import CONFIG as OPEN_CLIP
from vit_steps.pretrained.open_clip import in_other_words
from vit_steps.pretrained.preprocess import INTERPOLATIONS, MODES
from vit_steps.pretrained.rotary import Rotary
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
OWN_KIND = ("pool", "act", "position", "final_norm")
SIZES = ("dim", "depth", "mlp_dim", "patch_size", "channels")
ACTS: dict[str, Act] = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
ACTS |= {"quick_gelu": "quick_gelu"}
GATES: dict[str, Act] = {"silu": "swiglu", "gelu": "geglu"}
HUGGING_FACE_STEPS = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
SQUARE = {"default_to_square": True, "do_center_crop": False, "resample": 3}  # what a size of one number is
SHORTEST = {"default_to_square": False, "do_center_crop": True, "resample": 3, "crop_size": 224}
# What transformers' image processors do where their file is silent: those that resize, crop and normalise.
PROCESSORS = {
    "ViT": HALF | SQUARE | {"size": [224, 224], "resample": 2},
    "DeiT": HALF | SQUARE | {"size": [256, 256], "do_center_crop": True, "crop_size": 224},
    "Bit": CLIP | SHORTEST | {"size": {"shortest_edge": 224}},
    "CLIP": CLIP | SHORTEST | {"size": {"shortest_edge": 224}},
    "Siglip": HALF | SQUARE | {"size": [224, 224], "default_to_square": False},
    "Blip": CLIP | SQUARE | {"size": [384, 384]},
    "Beit": HALF | SQUARE | {"size": [224, 224], "crop_size": 224},
    "Flava": CLIP | SQUARE | {"size": [224, 224], "do_center_crop": True, "crop_size": 224},
    "DPT": HALF | SQUARE | {"size": [384, 384]},
    # Theirs resizes floating-point pixels, ours rounded ones: at most one grey level apart.
    "DINOv3ViT": IMAGENET | SQUARE | {"size": [224, 224], "resample": 2},
}
# Whose processor is taken where its file does not name one, by the config's model_type.
PROCESSOR_OF = {"vit": "ViT", "vit_mae": "ViT", "vit_msn": "ViT", "deit": "DeiT", "dinov2": "Bit"}
PROCESSOR_OF |= {"beit": "Beit", "data2vec-vision": "Beit", "dpt": "DPT", "ijepa": "ViT"}
PROCESSOR_OF |= {"dinov3_vit": "DINOv3ViT", "clip": "CLIP", "siglip": "Siglip"}
# Which way transformers resizes the positions of a model_type, in the words of resize_position.
RESIZED_LIKE: dict[Any, Library] = {"dpt": "DPT", "dinov2_with_registers": "timm"}
PILLOW_NAMES = {int(code): name for name, code in INTERPOLATIONS.items()}


class Facts(NamedTuple):
    """What a source says beside its weights; None or empty where it is silent."""

    image_size: tuple[int, int] | None = None
    num_heads: int | None = None
    eps: float | None = None
    kind: dict = {}  # noqa: RUF012 (ViT's arguments that the weights do not show)
    rotary: Rotary | None = None
    labels: list[str] | None = None  # empty where the head is no classifier
    preprocess: dict = {}  # noqa: RUF012 (read, never written)
    sizes: dict = {}  # noqa: RUF012
    named: bool = False  # whether it names the model, so that the function is known and not assumed
    resized_like: Library | None = None


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
    if not own and (config := _open_clip_beside(path)):
        with _as_configs_are(path.with_name(OPEN_CLIP)):
            return _open_clip_facts(in_other_words(config))
    config, processor = (_read_beside(path.with_name(name)) for name in (CONFIG, PROCESSOR))
    check_beside(path, own, {CONFIG: config, PROCESSOR: processor})
    if config and ("architecture" in config or "pretrained_cfg" in config):
        with _as_configs_are(path.with_name(CONFIG)):
            return _timm_facts(config)
    given = {}
    if config and "model_type" in config:
        with _as_configs_are(path.with_name(CONFIG)):
            config = _image_half(config)
            given = check_known("model_type", config["model_type"], HUGGING_FACE, config)
    if config and "hidden_size" not in config and not given:
        raise ValueError(f"{shown(path.with_name(CONFIG))} is neither timm's nor that of a Hugging Face ViT")
    with _as_configs_are(path.with_name(PROCESSOR)):
        preprocess = _hugging_face_preprocess(processor, config or {}) if processor else {}
    with _as_configs_are(path.with_name(CONFIG)):
        return _hugging_face_facts(config or {}, given)._replace(preprocess=preprocess)


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


def _open_clip_beside(path: Path) -> dict[str, Any] | None:
    """A folder may hold a model as open_clip saves it and as transformers does: a file says whose it is."""
    is_theirs = path.name.startswith("open_clip") or not os.path.lexists(path.with_name(CONFIG))
    return _read_beside(path.with_name(OPEN_CLIP)) if is_theirs else None


def _open_clip_facts(config: dict) -> Facts:
    facts = _timm_facts(config) if "architecture" in config else _hugging_face_facts(config, {})
    said = facts.kind if config.get("global_pool", True) else {}  # an empty word leaves it to the model
    kind = said | {name: how for name, how in facts.kind.items() if name != "pool"}
    preprocess = _timm_preprocess(config["pretrained_cfg"])
    return facts._replace(kind=kind, preprocess=preprocess, labels=[], resized_like="timm")


def _own_facts(config: dict, notes: dict) -> Facts:
    return Facts(
        image_size=pair_of("image_size", config.get("image_size")),
        num_heads=config.get("num_heads"),
        eps=config.get("eps"),
        kind={name: config[name] for name in OWN_KIND if isinstance(config.get(name), str)},
        labels=_names_in(notes, config.get("num_classes")),
        preprocess=_own_preprocess(config.get("channels"), notes),
        named=True,
        resized_like="timm",
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
    named = "architecture" in config
    given = check_known("architecture", config["architecture"], TIMM, config) if named else {}
    check_arguments({"global_pool": pool, **arguments})
    kind = {"pool": _timm_pool(pool, arguments, str(config.get("architecture")))}
    kind |= {"act": act} if (act := arguments.get("act_layer") or given.get("act")) else {}
    channels, *image_size = published.get("input_size") or (None,)
    return Facts(
        image_size=pair_of("image_size", arguments.get("img_size", image_size or None)),
        num_heads=arguments.get("num_heads") or given.get("num_heads") or heads_of(config),
        eps=given.get("eps"),
        kind=kind,
        rotary=given.get("rotary"),
        labels=_timm_labels(config.get("label_names"), config.get("label_descriptions") or {}),
        preprocess=_timm_preprocess(published),
        sizes={"dim": config.get("num_features"), "channels": channels},
        named=named,
        resized_like="timm",
    )


def _timm_pool(pool: str, arguments: dict, architecture: str) -> str:
    if pool == "avg" and arguments.get("pool_include_prefix"):
        return "mean_all"
    if "_distilled_" in architecture:
        return "cls+register"
    return {"token": "cls", "avg": "mean", "map": "attention"}[pool]


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


def _image_half(config: dict) -> dict:
    """Of a model of images and texts what is said of images, and who the whole is."""
    whole = {key: config[key] for key in ("model_type", "architectures") if key in config}
    return config.get("vision_config", {}) | whole if "vision_config" in config else config


def _hugging_face_facts(config: dict, given: dict) -> Facts:
    known = {ours: config.get(theirs) for theirs, ours in HUGGING_FACE_CONFIG.items()}
    said = given | {name: size for name, size in known.items() if size is not None}
    read = ARCHITECTURES.get(next(iter(config.get("architectures") or ()), ""), {})
    labels = config.get("id2label")
    return Facts(
        image_size=pair_of("image_size", config.get("image_size")),
        num_heads=said.get("num_heads"),
        eps=said.get("eps"),
        kind=_hugging_face_kind(config, given)
        | {name: how for name, how in read.items() if name != "labels"},
        rotary=given.get("rotary"),
        labels=read["labels"] if "labels" in read else _in_order("id2label", labels) if labels else None,
        sizes={name: known[name] for name in SIZES if name != "mlp_dim" or not config.get("use_swiglu_ffn")},
        named="model_type" in config,
        resized_like=RESIZED_LIKE.get(config.get("model_type"), "transformers") if config else None,
    )


def _hugging_face_kind(config: dict, given: dict) -> dict:
    """The activation, in ViT's words."""
    if config.get("use_swiglu_ffn"):  # DINOv2's, which does not ask for hidden_act
        return {"act": "swiglu"}
    acts = GATES if config.get("use_gated_mlp") else ACTS
    _check_says(config, hidden_act=tuple(acts))
    act = acts[config["hidden_act"]] if config.get("hidden_act") else given.get("act")
    return {"act": act} if act else {}


def _hugging_face_preprocess(processor: dict, config: dict) -> dict:
    kind = _processor_kind(processor, config.get("model_type"))
    # The null of a step is not silent: it is left out.
    nulls = {key: False for key, value in processor.items() if value is None and key.startswith("do_")}
    said = PROCESSORS[kind] | processor | nulls
    _check_says(said, do_pad=(False,), **{step: (value,) for step, value in HUGGING_FACE_STEPS.items()})
    if kind == "DPT":
        _check_says(said, keep_aspect_ratio=(False,), ensure_multiple_of=(1,))
    size = _sides("size", said["size"], said["default_to_square"])
    crop = _sides("crop_size", said.get("crop_size"), True) if said["do_center_crop"] else None
    return {
        **_hugging_face_statistics(said),
        "size": _prepared(size, crop),
        "crop_pct": _crop_pct(size, crop or size),
        "squash": "shortest_edge" not in size,
        "interpolation": PILLOW_NAMES.get(said["resample"], f"resample {said['resample']}"),
        "floor": True,
    }


def _processor_kind(processor: dict, model_type: str | None) -> str:
    """Which of transformers' classes prepares the images; what others do is not known here."""
    named = processor.get("image_processor_type") or processor.get("feature_extractor_type")
    if named is None and model_type not in PROCESSOR_OF:
        raise ValueError(
            f"{PROCESSOR} names no image_processor_type, and {CONFIG} no model_type that has one"
        )
    kind = re.sub("(FeatureExtractor|ImageProcessor)(Fast|Pil)?$", "", named or PROCESSOR_OF[model_type])
    if kind not in PROCESSORS:
        known = ", ".join(PROCESSORS)
        raise ValueError(
            f"{PROCESSOR} is for {named!r:.80}, and how that prepares images is not known here ({known} are)"
        )
    return kind


def _sides(name: str, said: object, square: bool) -> dict[str, int]:
    """A size in transformers' newest way to say it: by height and width, or by the shortest edge."""
    if isinstance(said, (list, tuple)) and len(said) == 2:
        said = {"height": said[0], "width": said[1]}
    if isinstance(said, int):
        said = {"height": said, "width": said} if square else {"shortest_edge": said}
    sides = said if isinstance(said, dict) else {}
    sides = {key: pixels for key, pixels in sides.items() if pixels is not None}
    whole = all(isinstance(pixels, int) and pixels > 0 for pixels in sides.values())
    if not whole or set(sides) not in ({"height", "width"}, {"shortest_edge"}):
        raise ValueError(f"{PROCESSOR} says {name} {said!r:.80}: neither height and width nor shortest_edge")
    if max(sides.values()) > LARGEST:
        raise ValueError(f"{PROCESSOR} says {name} {said!r:.80}: more than {LARGEST:,} pixels")
    return sides


def _prepared(size: dict[str, int], crop: dict[str, int] | None) -> tuple[int, int]:
    """Height and width that the model gets."""
    if "shortest_edge" in (crop or size):
        raise ValueError(f"{PROCESSOR} resizes the shorter side and crops nothing: no fixed size")
    return (crop or size)["height"], (crop or size)["width"]


def _crop_pct(size: dict[str, int], crop: dict[str, int]) -> Fraction:
    """The share of the resized image that the crop keeps, the same for both sides."""
    shares = {Fraction(crop[side], size.get(side, size.get("shortest_edge"))) for side in ("height", "width")}
    if len(shares) > 1 or max(shares) > 1:
        other = "another shape" if len(shares) > 1 else "more than there is"
        raise ValueError(f"{PROCESSOR} crops size {size} to {crop}, which is {other}")
    return shares.pop()


def _hugging_face_statistics(said: dict) -> dict:
    if not said.get("do_normalize", True):
        return {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return {name: _numbers(f"image_{name}", said[f"image_{name}"]) for name in ("mean", "std")}


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
