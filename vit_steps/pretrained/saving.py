"""A ViT -> a folder that transformers' ``from_pretrained`` and ``load_pretrained`` read."""

import json
import math
import os
from inspect import signature
from pathlib import Path

from safetensors.torch import save

from vit_steps.files.writing import apart, write_whole
from vit_steps.pretrained._plain import check_plain
from vit_steps.pretrained.configs import CONFIG, HUGGING_FACE_CONFIG, HUGGING_FACE_STEPS, PROCESSOR
from vit_steps.pretrained.preprocess import INTERPOLATIONS, Preprocess
from vit_steps.pretrained.seals import seal
from vit_steps.pretrained.spelling import to_hugging_face
from vit_steps.vit import ViT

KIND = ("num_registers", "class_token", "position", "act", "pre_norm", "final_norm")


def save_hugging_face(
    model: ViT,
    folder: str | os.PathLike,
    *,
    labels: list[str] | None = None,
    preprocess: Preprocess | None = None,
) -> None:
    """Write a model as transformers' ``from_pretrained`` and :func:`load_pretrained` read it.

    ``ViTForImageClassification`` for a model with a head, ``ViTModel`` for one without. Each file appears at
    once and whole. The weights hold a digest of themselves and of the configs beside them: of a save that was
    cut off between its files, :func:`load_pretrained` takes nothing.

    Args:
        model: one that reads its answer from the CLS token, as Hugging Face's does. Its head may be another
            than it was made with; what else was put in the place of a layer is refused, as
            ``vit_steps.training.save_checkpoint`` does.
        folder: made if it is not there; files of the same names are replaced, and a
            ``preprocessor_config.json`` of an earlier model is removed.
        labels: a name for every class.
        preprocess: how images are prepared; its crop is at most a pixel off where it leaves an odd margin.

    Raises:
        ValueError: "model pools by 'mean', Hugging Face's ViT reads the CLS token", "model has num_registers
            4, Hugging Face's ViT has not", labels that do not fit, a preparation that Hugging Face cannot
            express, or "head is Sequential(), in a ViT's file it is Linear(in_features=8, out_features=3,
            bias=True). ...".
        TypeError: ``model`` is not a ViT, or another argument of the wrong kind.
    """
    _check_folder(folder)
    configs = {CONFIG: _jsoned(_to_hugging_face_config(model, labels)), PROCESSOR: None}
    if preprocess is not None:
        configs[PROCESSOR] = _jsoned(_to_hugging_face_processor(preprocess, model.image_size))
    weights = apart({name: each.cpu() for name, each in to_hugging_face(model.state_dict()).items()})
    metadata = {"format": "pt", **seal(weights, configs)}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # First the weights: they alone tell that a config does not belong to them, should this be cut off here.
    # (save_file would put a file of its own in the draft's place, which a kill leaves behind.)
    whole = save(weights, metadata=metadata)
    write_whole(folder / "model.safetensors", lambda draft: draft.write_bytes(whole))
    for name, config in configs.items():
        _write_config(folder / name, config)


def _jsoned(config: dict) -> dict:
    """Make of a config what reading it back will give."""
    return json.loads(json.dumps(config))


def _write_config(path: Path, config: dict | None) -> None:
    if config is None:
        path.unlink(missing_ok=True)
    else:
        text = json.dumps(config, indent=2)
        write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def _to_hugging_face_config(model: ViT, labels: list[str] | None) -> dict:
    _check_exportable(model, labels)
    names = labels or [f"LABEL_{number}" for number in range(model.num_classes)]
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
    if changed := _unlike_a_plain_vit(model):
        raise ValueError(f"model has {changed}, Hugging Face's ViT has not")
    if model.pos_embed.is_meta:
        raise ValueError("model is on the meta device: it holds no numbers")
    check_plain(model)
    if labels is not None and not _are_names(labels):
        raise TypeError(f"labels must be a list of names, got {labels!r:.80}")
    if labels is not None and len(labels) != model.num_classes:
        raise ValueError(f"labels has {len(labels)} names, model has {model.num_classes} classes")


def _unlike_a_plain_vit(model: ViT) -> str:
    """What of the model's kind Hugging Face's ViT cannot be."""
    plain = {name: each.default for name, each in signature(ViT).parameters.items() if name in KIND}
    return ", ".join(f"{name} {model.config[name]!r}" for name in KIND if model.config[name] != plain[name])


def _are_names(labels: object) -> bool:
    return isinstance(labels, (list, tuple)) and all(isinstance(name, str) for name in labels)


def _check_folder(folder: object) -> None:
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, not {type(folder).__name__}")
    if "\0" in os.fsdecode(folder):
        raise ValueError(f"folder has a NUL in it, got {folder!r}")


def _to_hugging_face_processor(preprocess: Preprocess, image_size: tuple[int, int]) -> dict:
    if not isinstance(preprocess, Preprocess):
        raise TypeError(f"preprocess must be a Preprocess, not {type(preprocess).__name__}")
    height, width = preprocess.size
    if preprocess.mean is None or (height != width and not preprocess.squash):
        raise ValueError("Hugging Face can say neither an unknown mean nor a crop that is not square")
    if preprocess.size != image_size:
        made_for = f"{image_size[0]} x {image_size[1]}"
        raise ValueError(f"preprocess makes images of {height} x {width}, model was made for {made_for}")
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
