# ruff: noqa: E501 (one line for each wrong input)
import re
from functools import cache

import numpy as np
import pytest
import torch
from other_kinds import BUILDERS as OTHER_KINDS
from references import (
    REFERENCES,
    Size,
    deit,
    dinov2,
    google,
    google_arrays,
    hugging_face,
    hugging_face_config,
    hugging_face_dinov2,
    perturb,
    timm_vit,
    torchvision_vit,
)
from safetensors.torch import load_file

from vit_steps.pretrained import to_hugging_face, to_timm
from vit_steps.pretrained.dialects import DIALECTS
from vit_steps.pretrained.shapes import on_meta, read_sizes
from vit_steps.pretrained.spelling import recognise
from vit_steps.vit import ViT

SIZE = Size((12, 12), 4, 24, 2, 3, 48, 5)
ZERO = torch.zeros(1)
NO_VIT = (
    "no ViT in a dialect known here (timm, Hugging Face, torchvision, Google's npz, timm with layer scale, "
    "DINOv2, MAE, Hugging Face's DINOv2, big_vision, DINOv3, Hugging Face's DINOv3, Hugging Face's CLIP, "
    "Hugging Face's SigLIP, OpenAI's CLIP, timm inside open_clip)"
)


def _with(build, **tensors):
    """A reference whose file holds more than its model reads."""
    return lambda size, dtype: build(size, dtype)._replace(weights=build(size, dtype).weights | tensors)


def _big_vision(size, dtype):
    from coverage_table.publishers import BIG_VISION, flax

    reference = timm_vit(size, dtype)
    return reference._replace(weights=flax(reference.module, *BIG_VISION))


BUILDERS = {
    "timm": timm_vit,
    "Hugging Face": hugging_face,
    "torchvision": torchvision_vit,
    "Google's npz": google,
    "timm with layer scale": dinov2,
    "DINOv2": _with(dinov2, mask_token=torch.ones(1, 24)),
    "MAE": _with(timm_vit, mask_token=torch.ones(1, 1, 8), **{"decoder_embed.bias": torch.ones(8)}),
    "Hugging Face's DINOv2": hugging_face_dinov2,
    "big_vision": _big_vision,
    **OTHER_KINDS,
}
# What no answer reads, or what all blocks may be without; a norm's bias is missed.
UNMISSED = re.compile(r"mask_token|masked_embed|decoder_|pooler|periods|logit_scale")
OPTIONAL = re.compile(r"storage_tokens|register_tokens|visual\.(head\.)?proj|visual_projection")
ONE_OF_ITS_KIND = re.compile(r"(patch_embed|projection|conv_proj|embedding|head|classifier).*bias$")


def _is_missed(key: str) -> bool:
    return not any(each.search(key) for each in (UNMISSED, OPTIONAL, ONE_OF_ITS_KIND))


@cache
def _built(dialect: str) -> dict:
    return BUILDERS[dialect](SIZE, torch.float32).weights


def _weights(dialect: str) -> dict:
    return dict(_built(dialect))


def test_every_dialect_is_tested_here():
    assert {dialect.name for dialect in DIALECTS} == set(BUILDERS)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_names_are_those_of_our_model_and_the_values_are_kept(name):
    weights = to_timm(REFERENCES[name](SIZE, torch.float64).weights)
    num_classes = len(weights.get("head.bias", ()))
    model = ViT(**SIZE._replace(num_classes=num_classes)._asdict())
    assert model.load_state_dict(weights, strict=True)
    assert all(weight.dtype == torch.float64 for weight in weights.values())


@pytest.mark.parametrize("dialect", BUILDERS)
def test_the_weights_that_come_in_stay_as_they_are(dialect):
    weights = _weights(dialect)
    before = {key: torch.as_tensor(weight).clone() for key, weight in weights.items()}
    to_timm(weights)
    assert list(weights) == list(before)
    assert all(torch.equal(torch.as_tensor(weights[key]), before[key]) for key in before)


@pytest.mark.parametrize("dialect", BUILDERS)
def test_any_key_that_is_missing_is_named_and_so_is_the_dialect(dialect):
    for key in filter(_is_missed, _weights(dialect)):
        weights = _weights(dialect)
        del weights[key]
        with pytest.raises(KeyError) as error:
            to_timm(weights)
        said = error.value.args[0]
        name = key.removeprefix("model.")  # it is taken off before anything is read
        assert said.startswith(f"state_dict looks like {dialect}, but these keys are missing: '{name}'")


@pytest.mark.parametrize("dialect", BUILDERS)
@pytest.mark.parametrize(
    "extra", ["head.scale", "blocks.0.attn.extra.weight", "vit.layers.0.new.bias", "momentum"]
)
def test_a_key_that_is_left_over_is_named_and_so_is_the_dialect(dialect, extra):
    weights = _weights(dialect)
    weights[extra] = torch.zeros(3)
    with pytest.raises(KeyError, match=f"looks like {dialect}, but.*'{extra}'"):
        to_timm(weights)


@pytest.mark.parametrize("dialect", BUILDERS)
def test_any_key_of_the_wrong_shape_is_an_error_with_both_shapes(dialect):
    for key in _weights(dialect):
        if UNMISSED.search(key) or key in (
            "visual.proj",
            "visual.head.proj.weight",
        ):  # to how many numbers is its own affair
            continue
        weights = _weights(dialect)
        weights[key] = torch.cat([torch.as_tensor(weights[key])] * 2, dim=-1)
        with pytest.raises(ValueError, match=r"shape.*\(\d.*\(\d|axes|not squares"):
            to_timm(weights)


@pytest.mark.parametrize("dialect", BUILDERS)
@pytest.mark.parametrize("axes", [0, 1, 5])
def test_tensors_with_other_axes_never_end_in_an_error_of_torch(dialect, axes):
    for key in _weights(dialect):
        if UNMISSED.search(key):
            continue
        weights = _weights(dialect)
        weights[key] = torch.zeros([2] * axes)
        with pytest.raises(ValueError, match="shape"):
            to_timm(weights)


def test_a_block_that_is_missing_in_the_middle_is_named():
    weights = timm_vit(SIZE._replace(depth=3), torch.float32).weights
    weights = {key: weight for key, weight in weights.items() if not key.startswith("blocks.1.")}
    with pytest.raises(KeyError, match=r"blocks\.1\.norm1\.weight.* and 9 more"):
        to_timm(weights)


def test_half_a_head_is_no_head():
    weights = _weights("Hugging Face")
    del weights["classifier.weight"]
    with pytest.raises(KeyError, match=r"classifier\.weight"):
        to_timm(weights)


@pytest.mark.parametrize("dialect", ["timm", "Hugging Face", "torchvision", "Google's npz"])
def test_a_model_without_a_head_is_complete(dialect):
    weights = {key: weight for key, weight in _weights(dialect).items() if "head" not in key}
    weights = {key: weight for key, weight in weights.items() if "classifier" not in key}
    assert not [name for name in to_timm(weights) if name.startswith("head")]


def test_hugging_face_on_disk_and_in_memory_are_the_same(tmp_path):
    model = hugging_face(SIZE, torch.float32).module
    model.save_pretrained(tmp_path)
    on_disk = load_file(tmp_path / "model.safetensors")
    assert set(on_disk) != set(model.state_dict())
    ours, theirs = to_timm(on_disk), to_timm(model.state_dict())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_hugging_faces_pooler_and_mask_token_are_left_out():
    from transformers import ViTModel

    model = perturb(ViTModel(hugging_face_config(SIZE), use_mask_token=True))
    weights = model.state_dict()
    assert {"pooler.dense.weight", "embeddings.mask_token"} < set(weights)
    assert not any("pool" in name or "mask" in name for name in to_timm(weights))


def test_torchvisions_published_names_for_the_mlp():
    weights = _weights("torchvision")
    published = {
        key.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): w for key, w in weights.items()
    }
    assert set(published) != set(weights)
    ours, theirs = to_timm(published), to_timm(weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_timms_own_reader_of_googles_files_gives_the_same_model(tmp_path, prefix):
    import timm

    options = {"img_size": 12, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    arrays = google_arrays(perturb(timm.models.VisionTransformer(mlp_ratio=2, **options)))
    np.savez(tmp_path / "vit.npz", **{prefix + key: array for key, array in arrays.items()})
    theirs = timm.models.VisionTransformer(mlp_ratio=2, **options)
    theirs.load_pretrained(str(tmp_path / "vit.npz"))
    with np.load(tmp_path / "vit.npz") as file:
        ours = to_timm({key: file[key] for key in file.files})
    assert ours.keys() == theirs.state_dict().keys()
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.state_dict().items())


def _timm(name: str, **options: object) -> dict:
    import timm

    return timm.create_model(name, **options).state_dict()


TINY = {"embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 5, "img_size": 28}
OTHER_FUNCTIONS = {
    "relative positions": lambda: _timm("beit_base_patch16_224", embed_dim=24, depth=1, num_heads=3),
    "norms of query and key": lambda: _timm("vit_base_patch16_224", qk_norm=True, **TINY | {"img_size": 32}),
    "norm inside the attention": lambda: _timm("eva02_base_patch14_224", **TINY),
    "rotary positions": lambda: _timm("vit_small_patch16_rope_mixed_224", **TINY | {"img_size": 32}),
    "no table of positions": lambda: _timm("vit_small_patch16_dinov3", **TINY | {"img_size": 32}),
    "missing: 'cls_token'": lambda: {k: w for k, w in _weights("timm").items() if k != "cls_token"},
}


@pytest.mark.parametrize("why", OTHER_FUNCTIONS)
def test_a_transformer_that_is_another_function_is_refused_and_told_why(why):
    with pytest.raises(KeyError, match=why):
        to_timm(OTHER_FUNCTIONS[why]())


def test_hugging_faces_vit_has_no_names_for_what_it_has_not():
    for kind in (dict(num_registers=2), dict(pre_norm=True), dict(class_token=False, pool="attention")):
        weights = ViT(**SIZE._asdict() | kind).state_dict()
        with pytest.raises(ValueError, match=r"which Hugging Face's ViT has not"):
            to_hugging_face(weights)


CNNS_AND_OTHERS = ["resnet10t", "convnext_atto", "mobilenetv3_small_050", "swin_tiny_patch4_window7_224"]


@pytest.mark.parametrize("name", CNNS_AND_OTHERS)
def test_weights_of_something_else_are_no_vit(name):
    with torch.device("meta"):
        weights = _timm(name)
    with pytest.raises(KeyError, match="no ViT in a dialect known here"):
        to_timm(weights)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({}, KeyError, f"state_dict has no keys: {NO_VIT}"),
        ({"": ZERO}, KeyError, f"state_dict has '': {NO_VIT}"),
        ({"conv1": ZERO}, KeyError, f"state_dict has 'conv1': {NO_VIT}"),
        ({"a": ZERO, "b": ZERO, "c": ZERO}, KeyError, f"state_dict has 'a', 'b', 'c': {NO_VIT}"),
        ({"a": ZERO, "b": ZERO, "c": ZERO, "d": ZERO}, KeyError, f"state_dict has 'a', 'b', 'c' and 1 more: {NO_VIT}"),
        ([("cls_token", ZERO)], TypeError, "state_dict must map names to tensors, not list"),
        ({3: ZERO}, TypeError, "state_dict must map names to tensors, got the name 3"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_what_is_no_state_dict_is_refused(weights, error, message):
    with pytest.raises(error) as caught:
        to_timm(weights)
    assert caught.value.args[0] == message


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([0.0], "state_dict['norm.bias'] must be a tensor, not list"),
        (torch.zeros(24, dtype=torch.int8), "state_dict['norm.bias'] must hold floating-point numbers, got torch.int8"),
        (np.zeros(24, dtype=int), "state_dict['norm.bias'] must hold floating-point numbers, got int64"),
        (np.array(["a"] * 24), "state_dict['norm.bias'] must hold floating-point numbers, got <U1"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_what_is_no_weight_is_refused(weight, message):
    with pytest.raises(TypeError) as caught:
        to_timm({**_weights("timm"), "norm.bias": weight})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("dialect", "key", "shape", "message"),
    [
        ("timm", "cls_token", (24,), "cls_token has shape (24,), a ViT's has 3 axes, none of them empty"),
        ("timm", "pos_embed", (1, 0, 24), "pos_embed has shape (1, 0, 24), a ViT's has 3 axes, none of them empty"),
        ("timm", "head.weight", (5, 24, 1), "head.weight has shape (5, 24, 1), a ViT's has 2 axes, none of them empty"),
        ("timm", "blocks.0.mlp.fc1.weight", (24,), "blocks.0.mlp.fc1.weight has shape (24,), a ViT's has 2 axes, none of them empty"),
        ("timm", "patch_embed.proj.weight", (24, 3, 4, 6), "patch_embed.proj.weight cuts patches of 4 x 6, not squares"),
        ("timm", "blocks.1.norm1.bias", (25,), "blocks.1.norm1.bias has shape (25,), the other weights need (24,)"),
        ("timm", "blocks.1.attn.qkv.weight", (72, 25), "blocks.1.attn.qkv.weight has shape (72, 25), the other weights need (72, 24)"),
        ("Hugging Face", "vit.layers.1.attention.q_proj.bias", (25,), "blocks.1.attn.q.bias and its key and value have different shapes: [(24,), (25,)]"),
        ("DINOv2", "blocks.1.ls1.gamma", (25,), "blocks.1.ls1.gamma has shape (25,), blocks.1.attn.proj.weight (24, 24)"),
        ("DINOv2", "blocks.0.ls2.gamma", (24, 1), "blocks.0.ls2.gamma has shape (24, 1), blocks.0.mlp.fc2.weight (24, 48)"),
        ("Google's npz", "embedding/kernel", (4, 4, 72), "patch_embed.proj.weight has shape (4, 4, 72), Google's has 4 axes"),
        ("Google's npz", "head/kernel", (24, 5, 1), "head.weight has shape (24, 5, 1), Google's has 2 axes"),
    ],
)  # fmt: skip
def test_both_shapes_are_told(dialect, key, shape, message):
    weights = _weights(dialect)
    assert key in weights, list(weights)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        to_timm(weights | {key: torch.zeros(shape)})
    assert str(caught.value) == message


def test_a_part_that_is_there_in_two_spellings_or_belongs_to_no_vit_is_named():
    weights = _weights("Hugging Face")
    twice = weights | {key.replace("vit.", ""): weight for key, weight in weights.items() if "cls" in key}
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        to_timm(twice)
    assert str(caught.value) == (
        "state_dict looks like Hugging Face, but says the same twice: "
        "'vit.embeddings.cls_token', 'embeddings.cls_token'"
    )
    with pytest.raises(KeyError) as caught:
        to_timm(_weights("timm") | {"norm": ZERO})
    assert caught.value.args[0] == "state_dict looks like timm, but has 'norm', which no ViT has"


def test_keys_without_a_place_are_named_with_every_reason_that_is_known():
    strange = {"blocks.0.attn.q_norm.weight": ZERO, "rope.freqs": ZERO, "momentum": ZERO}
    with pytest.raises(KeyError) as caught:
        to_timm(_weights("timm") | strange)
    assert caught.value.args[0] == (
        "state_dict looks like timm, but these keys have no place here: 'blocks.0.attn.q_norm.weight', "
        "'rope.freqs', 'momentum' (norms of query and key; rotary positions)"
    )
    with pytest.raises(KeyError) as caught:
        to_timm(_weights("timm") | {"momentum": ZERO})
    assert caught.value.args[0] == (
        "state_dict looks like timm, but these keys have no place here: 'momentum'"
    )


SHAPES = {name: torch.zeros(shape) for name, shape in {
    "cls_token": (1, 1, 8), "pos_embed": (1, 5, 8), "patch_embed.proj.weight": (8, 3, 2, 2),
    "blocks.0.mlp.fc1.weight": (12, 8), "blocks.0.mlp.fc2.weight": (8, 12), "blocks.11.norm1.bias": (8,), "head.weight": (7, 8),
}.items()}  # fmt: skip


def test_sizes_are_read_off_the_shapes():
    sizes = {"patch_size": 2, "channels": 3, "dim": 8, "depth": 12, "mlp_dim": 12}
    assert read_sizes(SHAPES) == sizes | {"num_classes": 7}
    headless = {name: weight for name, weight in SHAPES.items() if name != "head.weight"}
    assert read_sizes(headless) == sizes | {"num_classes": 0}


@pytest.mark.parametrize(
    ("function", "argument", "error", "message"),
    [
        (recognise, "cls_token", TypeError, "keys must be a collection of names, not str"),
        (recognise, 3, TypeError, "keys must be a collection of names, not int"),
        (recognise, ["cls_token", 3], TypeError, "keys must hold names, got 3"),
        (read_sizes, [], TypeError, "weights must map names to tensors, not list"),
        *[
            (read_sizes, {key: w for key, w in SHAPES.items() if key != name}, KeyError, f"weights has no {name!r}")
            for name in list(SHAPES)[2:5]
        ],
        (read_sizes, SHAPES | {"cls_token": [0.0]}, TypeError, "weights['cls_token'] must be a tensor, not list"),
        (on_meta, [3], TypeError, "config must map the names of ViT's arguments to numbers, not list"),
        (on_meta, {"dim": 3}, TypeError, "config does not describe a ViT: missing a required argument: 'image_size'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(function, argument, error, message):
    with pytest.raises(error) as caught:
        function(argument)
    assert caught.value.args[0] == message


@pytest.mark.parametrize("num_classes", [0, 5])
def test_hugging_face_takes_our_names_back(num_classes):
    from transformers import ViTForImageClassification, ViTModel

    model = perturb(ViT(**SIZE._replace(num_classes=num_classes)._asdict()))
    exported = to_hugging_face(model.state_dict())
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in to_timm(exported).items())
    config = hugging_face_config(SIZE)
    theirs = ViTForImageClassification(config) if num_classes else ViTModel(config, add_pooling_layer=False)
    in_memory = theirs.state_dict()
    assert to_timm(in_memory).keys() == to_timm(exported).keys()
    assert all(name.startswith(("vit.", "classifier")) == bool(num_classes) for name in exported)


def test_dinov2_has_no_key_of_its_own_left_after_its_layer_scale_is_folded_in():
    for build in (dinov2, hugging_face_dinov2):
        assert not [
            name for name in to_timm(build(SIZE, torch.float32).weights) if "gamma" in name or "mask" in name
        ]


def test_an_image_of_one_patch_is_enough():
    weights = ViT(**SIZE._replace(image_size=(4, 4), dim=9)._asdict()).state_dict()
    assert to_timm(weights).keys() == weights.keys()


def test_layer_scale_is_multiplied_into_the_matrix_before_it():
    before, after = _weights("DINOv2"), to_timm(_weights("DINOv2"))
    for scale, matrix in (
        ("blocks.0.ls1.gamma", "blocks.0.attn.proj"),
        ("blocks.1.ls2.gamma", "blocks.1.mlp.fc2"),
    ):
        gamma = before[scale]
        assert torch.equal(after[f"{matrix}.bias"], before[f"{matrix}.bias"] * gamma)
        assert torch.equal(after[f"{matrix}.weight"], torch.diag(gamma) @ before[f"{matrix}.weight"])


def test_a_dialect_must_know_half_of_the_keys():
    assert recognise(["cls_token", "pos_embed", "a", "b"]).name == "timm"
    with pytest.raises(KeyError, match="state_dict has 'cls_token', 'a', 'b': no ViT"):
        recognise(["cls_token", "a", "b"])


def test_deit_and_vit_are_one_dialect():
    assert to_timm(deit(SIZE, torch.float32).weights).keys() == to_timm(_weights("timm")).keys()
