"""Weights as people have them: in other files, under other names, with less beside them than one needs."""

import json
import warnings

import numpy as np
import pytest
import timm
import torch
from coverage_table.publishers import BIG_VISION, flax
from coverage_table.timm_models import build
from pretrained_cases import SIZE, SQUARE, gap, image_of, refusal, save_timm
from references import (
    difference,
    google_arrays,
    hugging_face,
    hugging_face_config,
    hugging_face_dinov2,
    perturb,
    timm_vit,
    torchvision_vit,
)
from safetensors.torch import save_file

from vit_steps.pretrained import load_pretrained, to_timm
from vit_steps.vit import ViT

EXACT = 1e-12  # float64, another order of the same sums


def read(source, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_pretrained(source, **options)


@torch.no_grad()
def far(loaded, model, size) -> float:
    image = torch.rand(2, 3, *(size if isinstance(size, tuple) else (size, size)), dtype=torch.float64)
    return difference(loaded.model(image), model(image))


# What is assumed is said.


def test_heads_that_are_guessed_are_said_to_be_guessed(tmp_path):
    save_file(timm_vit(SQUARE, torch.float64).weights, tmp_path / "vit.safetensors")
    with pytest.warns(UserWarning, match="this is assumed: .*it has 2 heads, the usual number at dim 128"):
        loaded = load_pretrained(tmp_path)
    assert any("it has 2 heads" in sentence for sentence in loaded.assumed)
    assert any("exact GELU" in sentence for sentence in loaded.assumed)
    assert not any("heads" in sentence for sentence in read(tmp_path, num_heads=4).assumed)
    assert len(loaded) == 3


def test_where_everything_is_said_nothing_is_assumed(tmp_path):
    hugging_face(SIZE, torch.float32).module.save_pretrained(tmp_path / "hf")
    model = perturb(timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32, num_classes=3))
    np.savez(tmp_path / "vit.npz", **google_arrays(timm_vit(SQUARE, torch.float32).module))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (tmp_path / "hf", save_timm(tmp_path / "timm", model), tmp_path / "vit.npz"):
            assert load_pretrained(source).assumed == ()


def test_timms_heads_are_known_by_name_at_its_width_alone(tmp_path):
    def heads(name, dim, beside):
        size = SQUARE._replace(dim=dim, mlp_dim=8, depth=1, num_heads=1)
        save_file(ViT(**size._asdict()).state_dict(), tmp_path / "model.safetensors")
        config = {"architecture": name, "num_features": dim, "global_pool": "token", **beside}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return read(tmp_path)

    for name in ("vit_small_patch16_224", "vit_huge_patch14_224", "vit_base_patch16_plus_240", "test_vit"):
        published = timm.create_model(name, depth=1)
        loaded = heads(name, published.embed_dim, {})
        assert loaded.model.config["num_heads"] == published.blocks[0].attn.num_heads
        assert loaded.assumed == ()
    assert any("4 heads" in said for said in heads("vit_small_patch16_224", 256, {}).assumed)
    assert (
        heads("vit_small_patch16_224", 384, {"model_args": {"num_heads": 12}}).model.config["num_heads"] == 12
    )


def test_a_bare_dinov2_of_hugging_face_has_its_own_epsilon(tmp_path):
    size = SQUARE._replace(mlp_dim=256)
    reference = hugging_face_dinov2(size, torch.float64)
    reference.module.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    loaded = read(tmp_path)
    assert reference.eps == loaded.model.config["eps"] == 1e-6
    image = image_of(size)
    with torch.no_grad():
        assert difference(loaded.model(image), reference.stages(reference.module).logits(image)) < EXACT


# The name decides.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"act_layer": "silu"}, "act_layer 'silu'"),
        ({"norm_layer": "rmsnorm"}, "norm_layer 'rmsnorm'"),
        ({"attn_layer": "diff"}, "attn_layer 'diff'"),
    ],
    ids=str,
)
def test_arguments_of_timm_that_leave_no_key_are_refused(tmp_path, arguments, said):
    model = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=3, **arguments)
    save_timm(tmp_path, model, model_args=arguments)
    assert said in refusal(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"global_pool": "avg", "pool_include_prefix": True, "fc_norm": False},
        {"act_layer": "quick_gelu"},
        {"act_layer": "gelu_tanh"},
        {"pre_norm": True},
        {"fc_norm": True, "global_pool": "token"},
        {"global_pool": "map", "class_token": False},
        {"reg_tokens": 3},
        {"reg_tokens": 3, "no_embed_class": True, "global_pool": "avg"},
    ],
    ids=str,
)
def test_arguments_of_timm_that_leave_no_key_are_heard(tmp_path, arguments):
    model = build("vit_tiny_patch16_224", img_size=32, num_classes=3, **arguments).double()
    save_timm(tmp_path, model, model_args={"img_size": 32, **arguments})
    assert far(read(tmp_path), model, 32) < EXACT


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vit_small_patch16_rope_mixed_ape_224", "rotary positions that were learned"),
        ("eva02_enormous_patch14_clip_224", "norms after attention and MLP"),
        ("vit_pe_core_tiny_patch16_384", "pooling by attention with other heads"),
        ("deit3_base_patch99_224", "none that is known here"),
    ],
)
def test_the_keys_of_a_vit_under_another_name_are_refused(tmp_path, name, why):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": name}))
    said = refusal(tmp_path)
    assert repr(name) in said
    assert why in said


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("model_type", "blip_vision_model", "its last norm twice"),
        ("model_type", "my_vit", "none that is known here"),
        ("hidden_act", "relu", "hidden_act 'relu'"),
    ],
)
def test_the_keys_of_a_vit_with_another_model_type_are_refused(tmp_path, key, value, why):
    hugging_face(SIZE, torch.float32).module.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    assert why in refusal(tmp_path)


# Positions without a row for the CLS token.


@pytest.mark.parametrize("image_size", [None, 240, (224, 256), (160, 96)])
@pytest.mark.parametrize("with_config", [True, False])
def test_deit_iii_has_no_position_for_its_cls_token(tmp_path, image_size, with_config):
    if with_config and image_size is None:
        image_size = 240
    sides = image_size or 240
    model = build("deit3_small_patch16_224", img_size=240).double()
    assert model.pos_embed.shape[1] == 225
    twin = build("deit3_small_patch16_224", img_size=sides).double()
    state_dict = timm.models.vision_transformer.checkpoint_filter_fn(model.state_dict(), twin)
    twin.load_state_dict(state_dict)
    save_timm(tmp_path, model)
    if not with_config:
        (tmp_path / "config.json").unlink()
    # timm resizes in float32, whatever the table is in.
    allowed = EXACT if sides == 240 else 1e-5
    assert far(read(tmp_path, image_size=image_size), twin, sides) < allowed


def test_flexivit_without_a_config_is_read_and_what_was_assumed_is_said(tmp_path):
    model = build("flexivit_small").double()
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    for options in ({}, {"image_size": 240}):
        loaded = read(tmp_path, **options)
        assert far(loaded, model, 240) < EXACT
        assert any("15 x 15 patches and none for the CLS token" in said for said in loaded.assumed)


# Layers without a bias.


@pytest.mark.parametrize(
    "options", [{"qkv_bias": False}, {"proj_bias": False}, {"qkv_bias": False, "proj_bias": False}]
)
def test_a_layer_without_a_bias_in_any_block_adds_nothing(tmp_path, options):
    model = build("vit_tiny_patch16_224", img_size=32, **options).double()
    save_timm(tmp_path, model)
    assert far(read(tmp_path), model, 32) < EXACT


def test_patches_and_a_head_without_a_bias_add_nothing(tmp_path):
    model = build("vit_tiny_patch16_224", img_size=32).double()
    for layer in (model.patch_embed.proj, model.head):
        layer.bias = None
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    assert far(read(tmp_path), model, 32) < EXACT


@pytest.mark.parametrize("part", ["attn.qkv.bias", "mlp.fc1.bias", "norm1.bias"])
def test_a_bias_that_one_block_lacks_is_missed(part):
    weights = dict(timm_vit(SQUARE, torch.float32).weights)
    del weights[f"blocks.1.{part}"]
    with pytest.raises(KeyError, match=f"these keys are missing: 'blocks.1.{part}'"):
        to_timm(weights)


def test_norms_without_a_bias_may_be_another_norm():
    model = build("vit_tiny_patch16_224", img_size=32, norm_layer="rmsnorm")
    with pytest.raises(KeyError, match=r"norm1\.bias.*RMSNorm"):
        to_timm(model.state_dict())


def test_a_bias_for_query_and_value_alone_is_read(tmp_path):
    sizes = {"embed_dim": 128, "num_heads": 2, "img_size": 56, "mlp_ratio": 3}
    model = build("eva_giant_patch14_clip_224", **sizes).double()
    assert "blocks.0.attn.q_bias" in model.state_dict()
    save_timm(tmp_path, model)
    assert far(read(tmp_path), model, 56) < EXACT


# What stands around the weights.


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "backbone.", "_orig_mod.", "teacher.", "base_encoder.", "module.model._orig_mod."],
)
@pytest.mark.parametrize("build_", [timm_vit, hugging_face, torchvision_vit])
def test_what_training_puts_before_the_keys_is_taken_off(build_, prefix):
    weights = build_(SQUARE, torch.float32).weights
    expected, found = to_timm(weights), to_timm({prefix + key: weight for key, weight in weights.items()})
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_key_with_and_without_a_prefix_is_said_twice():
    weights = dict(timm_vit(SQUARE, torch.float32).weights)
    with pytest.raises(ValueError, match=r"says the same twice: 'norm\.bias', 'module\.norm\.bias'"):
        to_timm(weights | {"module.norm.bias": weights["norm.bias"]})


@pytest.mark.parametrize("extra", ["head.0.weight", "projector.weight", "head.mlp.0.weight"])
def test_a_head_that_somebody_built_is_never_dropped(extra):
    weights = dict(timm_vit(SQUARE._replace(num_classes=0), torch.float32).weights)
    with pytest.raises(KeyError, match=f"no place here: '{extra}'"):
        to_timm(weights | {extra: torch.ones(3, 128)})


@pytest.mark.parametrize("average", ["state_dict_ema", "model_ema"])
@pytest.mark.parametrize("other", ["state_dict", "model"])
def test_of_two_sets_the_one_is_taken_that_timm_takes(tmp_path, average, other):
    from timm.models import load_checkpoint

    first, second = (timm_vit(SQUARE, torch.float64) for _ in range(2))
    weights = {name: weight / 2 for name, weight in second.weights.items()}
    torch.save({other: first.weights, average: weights}, tmp_path / "last.pth.tar")
    theirs = timm_vit(SQUARE, torch.float64).module
    load_checkpoint(theirs, str(tmp_path / "last.pth.tar"))
    loaded = read(tmp_path)
    assert gap(loaded, theirs, SQUARE) < EXACT
    assert f"{average!r} is taken and not {other!r}" in "; ".join(loaded.assumed)


def test_a_folder_of_timm_as_transformers_saves_it(tmp_path):
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    config = TimmWrapperConfig(
        architecture="vit_tiny_patch16_224", num_labels=4, model_args={"depth": 2, "img_size": 32}
    )
    model = perturb(TimmWrapperForImageClassification(config).double())
    model.save_pretrained(tmp_path)
    loaded = read(tmp_path)
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert difference(loaded.model(image), model(image).logits) < EXACT
    assert loaded.labels == [f"LABEL_{number}" for number in range(4)]


# Several files.


@pytest.fixture
def sharded(tmp_path):
    model = hugging_face(SIZE, torch.float64, "sdpa").module
    model.save_pretrained(tmp_path, max_shard_size="500KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    return tmp_path, model


def test_weights_in_several_files_are_found_by_their_index(sharded):
    folder, model = sharded
    for source in (folder, folder / "model.safetensors.index.json"):
        assert gap(read(source), model) < EXACT


def _edit(folder, change):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index.pop("weight_map"), "'weight_map' does not say"),
        (lambda index: index["weight_map"].update(more="../a.safetensors"), "no file of weights beside it"),
        (lambda index: index["weight_map"].update(more="a.index.json"), "no file of weights beside it"),
        (lambda index: index["weight_map"].update(more=7), "no file of weights beside it"),
        (lambda index: index["weight_map"].popitem(), "do not agree where"),
    ],
)  # fmt: skip
def test_an_index_that_is_wrong_is_refused(sharded, change, said):
    _edit(sharded[0], change)
    assert said in refusal(sharded[0] / "model.safetensors.index.json")


def test_a_file_that_the_index_misses_is_named(sharded):
    next(iter(sorted(sharded[0].glob("model-*.safetensors")))).unlink()
    with pytest.raises(FileNotFoundError, match="model-00001"):
        load_pretrained(sharded[0])


def test_two_bytes_without_a_name_are_bfloat16_in_a_dictionary_too():
    model = timm_vit(SQUARE, torch.float32).module
    plain = flax(model, *BIG_VISION)
    short = {key: torch.from_numpy(array).bfloat16() for key, array in plain.items()}
    nameless = {key: tensor.view(torch.int16).numpy().view("V2") for key, tensor in short.items()}
    expected, found = to_timm(short), to_timm(nameless)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert {weight.dtype for weight in found.values()} == {torch.bfloat16}


def test_a_masked_model_of_hugging_face_is_read_without_its_decoder(tmp_path):
    from transformers import ViTForMaskedImageModeling

    config = hugging_face_config(SQUARE)
    config.encoder_stride = 8
    config._attn_implementation = "sdpa"
    model = perturb(ViTForMaskedImageModeling(config).double())
    model.save_pretrained(tmp_path)
    image = image_of(SQUARE)
    with torch.no_grad():
        theirs = model.vit(image).last_hidden_state[:, 0]
        assert difference(read(tmp_path).model(image), theirs) < EXACT
