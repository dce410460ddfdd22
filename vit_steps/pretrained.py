"""Run published weights: a file, a folder or a name on the Hugging Face Hub -> ViT, and back.

The weights may be spelled as timm, Hugging Face, torchvision, Google, DINO or DINOv2 spell them, see
:mod:`vit_steps.dialects`. Nothing that is read can run code, and nothing is loaded in part.
"""

import json
import math
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vit_steps.dialects import Dialect, on_meta, read_sizes, recognise, to_hugging_face, to_timm
from vit_steps.position_embedding import resize_position
from vit_steps.preprocess import INTERPOLATIONS, MODES, Preprocess
from vit_steps.vit import ViT

__all__ = ["Preprocess", "Pretrained", "load_pretrained", "save_hugging_face", "to_hugging_face", "to_timm"]

# How wide a head is in nearly every published ViT. The others: timm's smallest, and by dim ViT-H, -g and -G.
HEAD_DIM = 64
HEADS_OF_OTHER_WIDTH = {"test_vit": 2, 1280: 16, 1408: 16, 1664: 16}

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
HUB_FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")
HUB_PATIENCE = 2  # seconds


class Pretrained(NamedTuple):
    """A model with all that is needed to use it.

    Attributes:
        model: in eval mode, on the CPU, float32 (float64 where the file is).
        preprocess: image -> (1, channels, height, width), as the model's makers did it.
        labels: a name for every class, its number where the source has no names; empty without a head.
    """

    model: ViT
    preprocess: Preprocess
    labels: list[str]


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


def load_pretrained(
    source: str | os.PathLike,
    *,
    num_heads: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Pretrained:
    """Load a Vision Transformer that somebody trained: weights, preparation of images, and class names.

    What the weights do not show is read from the ``config.json`` beside them (timm's or Hugging Face's).
    Without one, heads are taken to be 64 wide, the image to be square, and epsilon to be the library's own.

    Args:
        source: a ``.safetensors``, ``.npz``, ``.pth``, ``.pt`` or ``.bin`` file, a folder with one, or
            "owner/name" on the Hugging Face Hub, which is downloaded once and then read from its cache.
        num_heads: for weights that do not tell.
        image_size: in pixels, when another one is wanted than the weights were made for; the position table
            is then resized, as timm does it.

    Raises:
        FileNotFoundError: no such file or folder, or no such model on the Hub.
        ConnectionError: "google/vit-base-patch16-224 is not in the cache, and the Hugging Face Hub cannot be
            reached".
        KeyError: keys that are left over or missing, as in :func:`to_timm`.
        ValueError: a file that is cut short or wants to run code, shapes or a config that do not fit, or
            "dim 100 is not a multiple of 64: give num_heads".
    """
    path = _find(source)
    state_dict, facts = _read(path), _read_facts(path)
    try:
        weights, dialect = to_timm(state_dict), recognise(state_dict)
    except (KeyError, TypeError, ValueError) as error:
        error.add_note(f"These are the weights in {path}.")
        raise
    heads = _num_heads(state_dict, facts, weights["cls_token"].shape[2], num_heads)
    config, grid = _describe(weights, facts, heads, facts.eps or dialect.eps, image_size)
    model = _build(weights, config, grid)
    return Pretrained(model, _preprocess(facts, dialect, model), _labels(facts, config["num_classes"]))


def save_hugging_face(
    model: ViT,
    folder: str | os.PathLike,
    *,
    labels: list[str] | None = None,
    preprocess: Preprocess | None = None,
) -> None:
    """Write a model as transformers' ``from_pretrained`` and :func:`load_pretrained` read it.

    ``ViTForImageClassification`` for a model with a head, ``ViTModel`` for one without. Each file appears at
    once and whole.

    Args:
        model: one that reads its answer from the CLS token, as Hugging Face's does.
        folder: made if it is not there; files of the same names are replaced.
        labels: a name for every class.
        preprocess: how images are prepared; its crop is at most a pixel off where it leaves an odd margin.

    Raises:
        ValueError: "model pools by 'mean', Hugging Face's ViT reads the CLS token", labels that do not fit,
            or a preparation that Hugging Face cannot express.
        TypeError: ``model`` is not a ViT, or another argument of the wrong kind.
    """
    _check_folder(folder)
    config = _to_hugging_face_config(model, labels)
    files = {"config.json": config}
    if preprocess is not None:
        files["preprocessor_config.json"] = _to_hugging_face_processor(preprocess)
    weights = to_hugging_face(model.state_dict())
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "model.safetensors", lambda path: save_file(weights, path, metadata={"format": "pt"}))
    for name, content in files.items():
        _write(folder / name, lambda path, content=content: path.write_text(json.dumps(content, indent=2)))


# Finding the weights.


def _find(source: object) -> Path:
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path or a Hub name, not {type(source).__name__}")
    path = Path(source)
    if path.is_dir():
        return _weights_in(path)
    if path.is_file():
        if path.suffix not in READERS:
            raise ValueError(f"{path} is none of the files that are read here ({', '.join(READERS)})")
        return path
    is_name = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", str(source)) and path.suffix not in READERS
    if isinstance(source, str) and is_name:
        return _download(source)
    raise FileNotFoundError(
        f"there is no file or folder {source}, and it is no Hub name such as 'owner/name'"
    )


def _weights_in(folder: Path) -> Path:
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    found = [path for path in sorted(folder.iterdir()) if path.suffix in READERS]
    if len(found) > 1:
        raise ValueError(
            f"{folder} holds several files with weights, name one: {', '.join(p.name for p in found)}"
        )
    if not found:
        raise FileNotFoundError(f"{folder} holds no file with weights ({', '.join(READERS)})")
    return found[0]


def _download(name: str) -> Path:
    """Fetch what a model of the Hub consists of, or find it in the cache; the weights come last."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    online = _answers(name)
    for file in HUB_FILES:
        try:
            path = Path(hf_hub_download(name, file, local_files_only=not online))
        except EntryNotFoundError:
            continue
        except Exception as error:  # a connection that breaks shows in many ways
            raise ConnectionError(f"{name} could not be fetched: {error}") from error
        if path.suffix in READERS:
            return path
    if online:
        raise FileNotFoundError(f"{name} has no file with weights on the Hub ({', '.join(HUB_FILES[2:])})")
    raise ConnectionError(f"{name} is not in the cache, and the Hugging Face Hub cannot be reached")


def _answers(name: str) -> bool:
    """Whether the Hub can be reached: one question, once, where a download would wait for minutes."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=HUB_PATIENCE)
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(f"there is no folder {name}, and no such public model on the Hub") from error
    except EntryNotFoundError:
        return True
    except Exception:  # offline mode, no route, no name server, no answer: the client's errors are many
        return False
    return True


# Reading the weights.


def _read(path: Path) -> dict[str, Tensor | np.ndarray]:
    try:
        return READERS[path.suffix](path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a file that is cut short or forged can fail anywhere in its reader
        raise ValueError(_damaged(path, error)) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (a file is no mapping)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no whole zip archive")
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in ("model", "state_dict"):  # DeiT and older timm files hold more than the weights
        content = content.get(wrapper, content) if isinstance(content, dict) else content
    return content


READERS = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pth": _read_pickle,
    ".pt": _read_pickle,
    ".bin": _read_pickle,
}


def _damaged(path: Path, error: Exception) -> str:
    text = str(error)
    forbidden = re.search(r"Unsupported (?:global|class|operand)[^.\n]*\S*|GLOBAL \S+", text)
    if forbidden or "weights_only" in text or "pickle" in text.lower():
        what = forbidden[0] if forbidden else text.split("\n")[0]
        return f"{path} holds more than numbers, and nothing in it was run: {what}"
    return f"{path} is damaged or cut short: {text.strip().split(chr(10))[0]}"


# What stands beside the weights.


def _read_facts(path: Path) -> Facts:
    try:
        return _facts_beside(path)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"the config beside {path} is not built as configs are: {error!r}") from error


def _facts_beside(path: Path) -> Facts:
    own = _read_own_header(path)
    if own:
        return _own_facts(own.get("config", {}), own.get("notes", {}))
    config = _read_json(path.parent / "config.json")
    processor = _read_json(path.parent / "preprocessor_config.json")
    if "architecture" in config or "pretrained_cfg" in config:
        return _timm_facts(config)
    if config and "hidden_size" not in config:
        raise ValueError(f"{path.parent / 'config.json'} is neither timm's nor that of a Hugging Face ViT")
    return _hugging_face_facts(config, processor)


def _read_own_header(path: Path) -> dict:
    """What vit_steps.training.save_checkpoint wrote into the file, if it did."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get("vit_steps", "{}"))
    return header if header.get("kind") == "model" else {}


def _own_facts(config: dict, notes: dict) -> Facts:
    return Facts(
        image_size=_pair("image_size", config.get("image_size")),
        num_heads=config.get("num_heads"),
        eps=config.get("eps"),
        pool=config.get("pool", "cls"),
        labels=_names_in(notes, config.get("num_classes")),
        preprocess=_own_preprocess(config.get("channels")) if "command" in notes else {},
    )


def _own_preprocess(channels: object) -> dict:
    # The command of vit_steps.training learns from values in [0, 1] as they are; others may normalise.
    if channels not in list(MODES):
        return {}
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
        image_size=_pair("image_size", arguments.get("img_size", image_size or None)),
        num_heads=arguments.get("num_heads"),
        pool={"token": "cls", "avg": "mean"}[pool],
        labels=_timm_labels(config.get("label_names"), config.get("label_descriptions") or {}),
        preprocess=_timm_preprocess(published),
        sizes={"dim": config.get("num_features"), "channels": channels},
        architecture=str(config.get("architecture")),
    )


def _timm_labels(names: list | dict | None, descriptions: dict) -> list[str] | None:
    if isinstance(names, dict):
        names = _in_order("label_names", names)
    return [descriptions.get(name, name) for name in names] if names else None


def _timm_preprocess(published: dict) -> dict:
    _check_says(published, crop_mode=("center", "squash"))
    return {
        "mean": _numbers(published.get("mean")),
        "std": _numbers(published.get("std")),
        "crop_pct": published.get("crop_pct") or 0.875,
        "squash": published.get("crop_mode") == "squash",
        "interpolation": str(published.get("interpolation") or "bicubic"),
    }


def _hugging_face_facts(config: dict, processor: dict) -> Facts:
    _check_says(config, hidden_act=("gelu",))
    known = {ours: config.get(theirs) for theirs, ours in HUGGING_FACE_CONFIG.items()}
    labels = config.get("id2label")
    return Facts(
        image_size=_pair("image_size", config.get("image_size")),
        num_heads=known.pop("num_heads"),
        eps=known.pop("eps"),
        labels=_in_order("id2label", labels) if labels else None,
        preprocess=_hugging_face_preprocess(processor) if processor else {},
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
    return {"mean": _numbers(processor.get("image_mean")), "std": _numbers(processor.get("image_std"))}


def _crop_pct(size: dict, crop: int | dict | None) -> Fraction:
    """The share of the resized image that the crop keeps, the same for both sides."""
    shortest = size.get("shortest_edge")
    if crop is None and shortest:
        raise ValueError("preprocessor_config.json resizes the shorter side and crops nothing: no fixed size")
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop or size
    sides = [(crop.get(side), shortest or size.get(side)) for side in ("height", "width")]
    if not all(isinstance(pixels, int) and pixels > 0 for pair in sides for pixels in pair):
        raise ValueError(f"preprocessor_config.json says size {size}, crop_size {crop}: not in whole pixels")
    shares = {Fraction(cropped, resized) for cropped, resized in sides}
    if len(shares) > 1:
        raise ValueError(f"preprocessor_config.json crops size {size} to {crop}, which is another shape")
    return shares.pop()


def _read_json(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, not {type(content).__name__}")
    return content


def _check_says(config: dict, **expected: tuple) -> None:
    """Refuse what a config asks for and this ViT does not have; a key that is not there asks for nothing."""
    for key, values in expected.items():
        if config.get(key) is not None and config[key] not in values:
            raise ValueError(
                f"the config says {key} {config[key]!r}, only {' or '.join(map(repr, values))} will do"
            )


def _pair(name: str, size: object) -> tuple[int, int] | None:
    pair = (size, size) if isinstance(size, int) else size
    if pair is None:
        return None
    if not isinstance(pair, (tuple, list)) or [type(side) for side in pair] != [int, int]:
        raise ValueError(f"{name} must be one number or (height, width), got {size!r}")
    return tuple(pair)


def _numbers(values: object) -> tuple[float, ...] | None:
    return tuple(map(float, values)) if isinstance(values, (tuple, list)) else None


def _in_order(name: str, labels: dict) -> list[str]:
    try:
        return [str(labels[str(number)]) for number in range(len(labels))]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{name} must name the classes 0 to {len(labels) - 1}, {error} is missing"
        ) from error


# Putting the model together.


def _describe(
    weights: dict[str, Tensor], facts: Facts, num_heads: int, eps: float, image_size: int | tuple | None
) -> tuple[dict, tuple[int, int]]:
    """The constructor's arguments, and the grid that the position table was learned for."""
    sizes = read_sizes(weights)
    for name, size in facts.sizes.items():
        if size is not None and size not in (sizes[name], 2 * [sizes[name]]):
            raise ValueError(f"the config says {name} {size}, the weights have {sizes[name]}")
    wanted = _pair("image_size", image_size)
    rows, cols = grid = _old_grid(weights["pos_embed"].shape[1] - 1, sizes["patch_size"], facts, wanted)
    made_for = (rows * sizes["patch_size"], cols * sizes["patch_size"])
    config = {**sizes, "image_size": wanted or made_for}
    return config | {"num_heads": num_heads, "eps": eps, "pool": facts.pool}, grid


def _old_grid(patches: int, patch_size: int, facts: Facts, wanted: tuple | None) -> tuple[int, int]:
    grids = [(size[0] // patch_size, size[1] // patch_size) for size in (facts.image_size, wanted) if size]
    if facts.image_size and math.prod(grids[0]) != patches:
        raise ValueError(
            f"the config says image_size {facts.image_size}, the position table has {patches} patches"
        )
    if not facts.image_size and math.isqrt(patches) ** 2 == patches:
        return math.isqrt(patches), math.isqrt(patches)
    if not grids or math.prod(grids[0]) != patches:
        raise ValueError(f"the position table has {patches} patches, which is no square: give image_size")
    return grids[0]


def _num_heads(state_dict: dict, facts: Facts, dim: int, num_heads: int | None) -> int:
    kernels = [array for key, array in state_dict.items() if key.endswith("/query/kernel")]
    known = kernels[0].shape[1] if kernels else facts.num_heads
    if known is not None and num_heads not in (None, known):
        raise ValueError(f"num_heads is {num_heads}, these weights say {known}")
    given = known if num_heads is None else num_heads
    if given is not None:
        return given
    if facts.architecture in HEADS_OF_OTHER_WIDTH or dim in HEADS_OF_OTHER_WIDTH:
        return HEADS_OF_OTHER_WIDTH.get(facts.architecture) or HEADS_OF_OTHER_WIDTH[dim]
    if dim % HEAD_DIM:
        raise ValueError(
            f"dim {dim} is not a multiple of {HEAD_DIM}, the usual width of a head: give num_heads"
        )
    return dim // HEAD_DIM


def _build(weights: dict[str, Tensor], config: dict, old_grid: tuple[int, int]) -> ViT:
    dtype = reduce(torch.promote_types, (weight.dtype for weight in weights.values()), torch.float32)
    weights = {name: weight.to(dtype).contiguous() for name, weight in weights.items()}
    model = on_meta(config)
    if model.grid != old_grid:
        weights["pos_embed"] = resize_position(weights["pos_embed"][0], old_grid, model.grid)[None]
    model.load_state_dict(weights, strict=True, assign=True)
    return model.eval()


def _preprocess(facts: Facts, dialect: Dialect, model: ViT) -> Preprocess:
    known = facts.preprocess or dialect.preprocess
    preprocess = Preprocess(size=model.image_size, **known)
    fits = preprocess.mean is not None and len(preprocess.mean) == model.channels
    return preprocess if fits else replace(preprocess, mean=None, std=None)


def _labels(facts: Facts, num_classes: int) -> list[str]:
    if facts.labels is None or not num_classes:
        return [str(number) for number in range(num_classes)]
    if len(facts.labels) != num_classes:
        raise ValueError(f"the config names {len(facts.labels)} classes, the head has {num_classes}")
    return list(facts.labels)


# And back.


def _to_hugging_face_config(model: object, labels: list[str] | None) -> dict:
    _check_exportable(model, labels)
    names = labels or [f"LABEL_{number}" for number in range(model.config["num_classes"])]
    height, width = model.image_size
    return {
        "architectures": ["ViTForImageClassification" if names else "ViTModel"],
        "model_type": "vit",
        **{theirs: model.config[ours] for theirs, ours in HUGGING_FACE_CONFIG.items()},
        "image_size": height if height == width else [height, width],
        "hidden_act": "gelu",
        "qkv_bias": True,
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }


def _check_exportable(model: object, labels: list[str] | None) -> None:
    if not isinstance(model, ViT):
        raise TypeError(f"model must be a ViT, not {type(model).__name__}")
    if model.pool != "cls":
        raise ValueError(f"model pools by {model.pool!r}, Hugging Face's ViT reads the CLS token")
    if model.pos_embed.is_meta:
        raise ValueError("model is on the meta device: it holds no numbers")
    if labels is not None and not _are_names(labels):
        raise TypeError(f"labels must be a list of names, got {labels!r:.80}")
    if labels is not None and len(labels) != model.config["num_classes"]:
        raise ValueError(f"labels has {len(labels)} names, model has {model.config['num_classes']} classes")


def _are_names(labels: object) -> bool:
    return isinstance(labels, (list, tuple)) and all(isinstance(name, str) for name in labels)


def _check_folder(folder: object) -> None:
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, not {type(folder).__name__}")
    if "\0" in os.fsdecode(folder):
        raise ValueError(f"folder has a NUL in it, got {folder!r}")


def _to_hugging_face_processor(preprocess: Preprocess) -> dict:
    if not isinstance(preprocess, Preprocess):
        raise TypeError(f"preprocess must be a Preprocess, not {type(preprocess).__name__}")
    height, width = preprocess.size
    if preprocess.mean is None or (height != width and not preprocess.squash):
        raise ValueError("Hugging Face can say neither an unknown mean nor a crop that is not square")
    rows, cols = (math.floor(side / preprocess.crop_pct) for side in preprocess.size)
    size = {"height": rows, "width": cols} if preprocess.squash else {"shortest_edge": rows}
    crops = not preprocess.squash or preprocess.crop_pct != 1
    return {
        "image_processor_type": "BitImageProcessor" if crops else "ViTImageProcessor",
        "size": size,
        "resample": int(INTERPOLATIONS[preprocess.interpolation]),
        "do_center_crop": crops,
        "crop_size": {"height": height, "width": width},
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
        **HUGGING_FACE_STEPS,
    }


def _write(path: Path, write: Callable[[Path], object]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
