"""The pad of a model: what goes to the browser with it, and when the kernel is asked instead.

What the browser makes of it is tested in tests/browser.
"""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

import vit_steps
from vit_steps import ViT
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.widgets import digit_pad, pad


def small_vit(**otherwise):
    torch.manual_seed(0)
    sizes = dict(image_size=(4, 6), patch_size=2, channels=1, dim=8, depth=2, num_heads=2, mlp_dim=6)
    return ViT(**sizes | {"num_classes": 3} | otherwise)


@pytest.mark.parametrize(("pool", "num_registers"), [("cls", 0), ("mean", 0), ("mean", 2)])
def test_a_model_comes_along_and_its_first_answer_is_python_s(pool, num_registers):
    model, image = small_vit(pool=pool, num_registers=num_registers), torch.rand(1, 1, 4, 6)
    pad = digit_pad(model, image, labels="abc")
    tensors, header = load(pad.weights), pad.weights[8:].partition(b"}}")[0].decode()
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        name: tensor.tolist() for name, tensor in model.state_dict().items()
    }
    assert rf"\"pool\": \"{pool}\"" in header
    trace = model.trace(image)
    rollout = attention_rollout(trace.attention)[0]
    before = 1 + num_registers
    looked = rollout[0, 1:] if pool == "cls" else rollout[before:, before:].mean(dim=0)
    torch.testing.assert_close(torch.tensor(pad.reply["scores"]), trace.logits.softmax(dim=1)[0])
    torch.testing.assert_close(torch.tensor(pad.reply["attention"]), looked.reshape(2, 3))


def test_the_kernel_leaves_the_browser_s_answer_alone():
    pad = digit_pad(small_vit(), labels="abc")
    assert pad.size == [4, 6]
    pad.reply = told = {"scores": [1.0, 0.0, 0.0], "attention": [[0.0] * 3] * 2, "sentence": "told"}
    pad.ink = [0.5] * 24
    assert pad.reply == told


def test_a_pad_keeps_the_weights_that_the_model_had():
    model = small_vit()
    pad = digit_pad(model, labels="abc")
    torch.nn.init.zeros_(model.cls_token)
    assert load(pad.weights)["cls_token"].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_travel_in_doubles_or_in_singles(dtype):
    sent = load(digit_pad(small_vit().to(dtype), labels="abc").weights)["pos_embed"]
    assert sent.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize(
    "kind", [{"pool": "attention"}, {"position": "rotary"}, {"pool": "cls+mean"}, {"final_norm": "pooled"}]
)
def test_a_model_of_another_kind_is_asked_in_the_kernel(kind):
    model = small_vit(**kind)
    pad = digit_pad(model, labels="abc")
    assert pad.weights == b""
    pad.ink = [0.5] * 24
    wanted = model(torch.full((1, 1, 4, 6), 0.5)).softmax(dim=1)[0]
    torch.testing.assert_close(torch.tensor(pad.reply["scores"]), wanted)
    looked = torch.tensor(pad.reply["attention"])
    assert looked.shape == (2, 3)
    assert 0 < looked.sum() <= 1 + 1e-6


def test_python_and_javascript_know_the_same_kinds():
    source = (Path(vit_steps.__file__).parent / "vit.js").read_text(encoding="utf-8")
    (pools,) = re.findall(r"const POOLS = (\[.*?\]);", source)
    (only,) = re.findall(r"const ONLY = \{ pool: POOLS, (.*?) \};", source)
    known = {name: set(json.loads(value)) for name, value in re.findall(r"(\w+): (\[.*?\])", only)}
    assert known | {"pool": set(json.loads(pools))} == pad.KNOWN_TO_VIT_JS


def test_a_model_of_other_layers_is_asked_in_the_kernel():
    model = small_vit()
    model.blocks[1].mlp.act = torch.nn.GELU("tanh")  # no weight tells it
    pad = digit_pad(model, labels="abc")
    assert pad.weights == b""
    pad.ink = [0.5] * 24
    wanted = model(torch.full((1, 1, 4, 6), 0.5)).softmax(dim=1)[0]
    torch.testing.assert_close(torch.tensor(pad.reply["scores"]), wanted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: digit_pad(small_vit(channels=3), labels="abc"), "answer reads 3 channels, a pad has 1"),
        (
            lambda: digit_pad(small_vit(), torch.rand(1, 1, 8, 8), labels="abc"),
            "answer was made for 4 x 6 pixels, image has 8 x 8",
        ),
        (lambda: digit_pad(small_vit()), "answer gave 3 probabilities, there are 10 labels"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_by_name(call, message, doors_only):
    with pytest.raises(ValueError, match=message):
        call()
