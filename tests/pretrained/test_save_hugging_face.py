# ruff: noqa: E501 (one line for each wrong input)
import json
import os
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from PIL import Image
from pretrained_cases import NAMES, PREPARATIONS, SIZE, SQUARE, image_of
from references import difference, perturb
from safetensors import safe_open
from safetensors.torch import load_file
from skimage import data

from vit_steps.pretrained import Preprocess, load_pretrained, save_hugging_face, to_timm
from vit_steps.vit import ViT

# And back.


@pytest.mark.parametrize("num_classes", [0, 5])
@pytest.mark.parametrize("size", [SIZE, SQUARE], ids=["not square", "square"])
def test_hugging_face_loads_what_we_write(tmp_path, size, num_classes):
    from transformers import ViTForImageClassification, ViTModel

    size = size._replace(num_classes=num_classes)
    model = perturb(ViT(**size._asdict(), eps=1e-3).double())
    save_hugging_face(model, tmp_path / "new" / "folder", labels=NAMES[:num_classes])
    kind, extra = (ViTForImageClassification, {}) if num_classes else (ViTModel, {"add_pooling_layer": False})
    theirs, report = kind.from_pretrained(
        tmp_path / "new" / "folder", dtype=torch.float64, output_loading_info=True, **extra
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    image = image_of(size)
    with torch.no_grad():
        result = theirs.eval()(image)
        logits = result.logits if num_classes else result.last_hidden_state[:, 0]
        assert difference(model(image), logits) < 1e-12
    assert [theirs.config.id2label[number] for number in range(num_classes)] == NAMES[:num_classes]


@pytest.mark.parametrize("name", PREPARATIONS)
def test_what_we_write_comes_back_whole(tmp_path, name):
    from transformers import AutoImageProcessor

    model = perturb(ViT(**SQUARE._asdict()))
    save_hugging_face(model, tmp_path, labels=NAMES, preprocess=PREPARATIONS[name])
    loaded = load_pretrained(tmp_path)
    assert loaded.model.config == model.config
    assert loaded.labels == NAMES
    assert all(torch.equal(w, loaded.model.state_dict()[n]) for n, w in model.state_dict().items())
    photo = Image.fromarray(data.chelsea())
    expected = PREPARATIONS[name](photo)
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(
        photo, return_tensors="pt"
    ).pixel_values
    assert torch.equal(loaded.preprocess(photo), expected)
    assert difference(theirs, expected) < 1e-5


WRITTEN = {
    "squash": ("ViTImageProcessor", {"height": 40, "width": 40}, 2, False),
    "crop": ("BitImageProcessor", {"shortest_edge": 50}, 3, True),
    "squash and crop": ("BitImageProcessor", {"height": 50, "width": 50}, 3, True),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_a_preparation_is_written_in_hugging_faces_words(tmp_path, name):
    save_hugging_face(ViT(**SQUARE._asdict()), tmp_path, preprocess=PREPARATIONS[name])
    kind, size, resample, crops = WRITTEN[name]
    assert json.loads((tmp_path / "preprocessor_config.json").read_text()) == {
        "image_processor_type": kind,
        "size": size,
        "resample": resample,
        "do_center_crop": crops,
        "crop_size": {"height": 40, "width": 40},
        "image_mean": [0.5] * 3,
        "image_std": [0.4] * 3,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
    }


@pytest.mark.parametrize(
    ("size", "labels", "image_size", "names", "architecture"),
    [
        (SQUARE, None, 40, [f"LABEL_{number}" for number in range(5)], "ViTForImageClassification"),
        (SIZE, list("abcde"), [32, 48], list("abcde"), "ViTForImageClassification"),
        (SQUARE._replace(num_classes=0), None, 40, [], "ViTModel"),
    ],
)
def test_a_config_is_written_in_hugging_faces_words(tmp_path, size, labels, image_size, names, architecture):
    save_hugging_face(ViT(**size._asdict(), eps=1e-3), tmp_path, labels=labels)
    text = (tmp_path / "config.json").read_text()
    assert text.startswith('{\n  "architectures": [')
    assert json.loads(text) == {
        "architectures": [architecture],
        "model_type": "vit",
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 192,
        "layer_norm_eps": 1e-3,
        "patch_size": 8,
        "num_channels": 3,
        "image_size": image_size,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "pt"  # older transformers ask for it


def test_what_we_write_is_whole_or_not_there(tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise OSError("no space left on device")

    model = ViT(**SQUARE._asdict())
    save_hugging_face(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        save_hugging_face(perturb(model), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_whoever_still_reads_the_old_file_sees_no_change(tmp_path):
    model = ViT(**SQUARE._asdict())
    save_hugging_face(model, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    os.link(tmp_path / "model.safetensors", tmp_path / "held")
    save_hugging_face(perturb(model), tmp_path)
    assert (tmp_path / "held").read_bytes() == before != (tmp_path / "model.safetensors").read_bytes()


ON_META = ViT(**SQUARE._replace(depth=1)._asdict()).to("meta")
NEITHER = "Hugging Face can say neither an unknown mean nor a crop that is not square"


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model must be a ViT, not Linear"),
        ({"model": ViT(**SQUARE._asdict(), pool="mean")}, ValueError, "model pools by 'mean', Hugging Face's ViT reads the CLS token"),
        ({"model": ON_META}, ValueError, "model is on the meta device: it holds no numbers"),
        ({"labels": NAMES[:3]}, ValueError, "labels has 3 names, model has 5 classes"),
        ({"labels": "tench"}, TypeError, "labels must be a list of names, got 'tench'"),
        ({"labels": [*NAMES[:4], 4]}, TypeError, f"labels must be a list of names, got {[*NAMES[:4], 4]}"),
        ({"labels": [list(range(50))]}, TypeError, f"labels must be a list of names, got {[list(range(50))]!r:.80}"),
        ({"preprocess": replace(PREPARATIONS["crop"], size=(40, 48))}, ValueError, NEITHER),
        ({"preprocess": Preprocess(size=(40, 40))}, ValueError, NEITHER),
        ({"preprocess": "squash"}, TypeError, "preprocess must be a Preprocess, not str"),
        ({"folder": 3}, TypeError, "folder must be a path, not int"),
        ({"folder": "a\0b"}, ValueError, "folder has a NUL in it, got 'a\\x00b'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_what_hugging_face_cannot_hold_is_refused_before_anything_is_written(tmp_path, wrong, error, message):
    good = {"model": ViT(**SQUARE._asdict()), "folder": tmp_path / "new"}
    with pytest.raises(error) as caught:
        save_hugging_face(**good | wrong)
    assert str(caught.value) == message
    assert not (tmp_path / "new").exists()


def test_a_picture_that_is_squashed_need_not_be_square(tmp_path):
    preprocess = replace(PREPARATIONS["squash"], size=(32, 48))
    save_hugging_face(ViT(**SIZE._asdict()), tmp_path, labels=NAMES, preprocess=preprocess)
    loaded = load_pretrained(tmp_path)
    assert (loaded.preprocess, loaded.labels) == (
        replace(preprocess, floor=True, crop_pct=Fraction(1)),
        NAMES,
    )


def test_the_exported_file_is_what_to_timm_reads(tmp_path):
    model = perturb(ViT(**SIZE._asdict()))
    save_hugging_face(model, tmp_path)
    weights = to_timm(load_file(tmp_path / "model.safetensors"))
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
