"""What was put in by hand is saved as it is, so that its readers get the same model, or refused by name."""

import copy
import math

import peft
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from training_helpers import QUIET, same_weights, unkind_images, unkind_model

from vit_steps import ViT
from vit_steps.pretrained import load_pretrained, save_hugging_face
from vit_steps.training import accuracy, fit, load_checkpoint, loop, save_checkpoint


def kept(model, folder):
    """The model as each of the two files gives it back."""
    save_checkpoint(model, folder / "model.safetensors")
    save_hugging_face(model, folder / "theirs")
    found = [load_checkpoint(folder / "model.safetensors"), load_pretrained(folder / "theirs").model]
    return [*found, load_pretrained(folder / "model.safetensors").model]


def with_own_head(model):
    model.head = nn.Linear(12, 7)


def shorter(model):
    model.blocks = model.blocks[:1]


def headless(model):
    model.head = nn.Identity()


def tied(model):
    model.blocks[1] = model.blocks[0]


def merged(model):
    lora = adapted(model)
    for parameter in lora.parameters():
        nn.init.normal_(parameter, std=0.3)
    return lora.merge_and_unload()


def pruned_for_good(model):
    prune.l1_unstructured(model.patch_embed.proj, "weight", amount=0.5)
    prune.remove(model.patch_embed.proj, "weight")


def hooked(model):
    model.blocks[0].register_forward_hook(lambda *_: None)


@pytest.mark.parametrize("change", [with_own_head, shorter, headless, tied, merged, pruned_for_good, hooked])
def test_what_a_file_can_hold_comes_back_as_it_is(change, tmp_path):
    model = unkind_model()
    model = change(model) or model
    images = unkind_images(3)[0]
    for again in kept(model, tmp_path):
        torch.testing.assert_close(again(images), model(images), atol=1e-6, rtol=0)  # float32, the same sums
        assert again.config == model.config


def test_transformers_reads_a_head_put_in_by_hand(tmp_path):
    from transformers import ViTForImageClassification

    model = unkind_model(channels=3)
    with_own_head(model)
    save_hugging_face(model, tmp_path, labels=list("abcdefg"))
    theirs, report = ViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images = torch.rand(2, 3, 6, 10)
    torch.testing.assert_close(theirs.eval()(images).logits, model(images), atol=1e-5, rtol=0)
    assert theirs.config.id2label[6] == "g"


# What no file of a ViT can hold


def adapted(model):
    config = peft.LoraConfig(r=2, target_modules=["qkv", "proj"], modules_to_save=["head"])
    return peft.get_peft_model(model, config)


def put(name, layer):
    return lambda model: model.set_submodule(name, layer)


class Louder(ViT):
    def forward(self, image):
        return 2 * super().forward(image)


UNLIKE = {
    "LoRA": (lambda model: adapted(model).base_model.model, r"patch_embed.proj is peft\.\S*Conv2d\("),
    "int8": (
        lambda model: torch.ao.quantization.quantize_dynamic(model, {nn.Linear}),
        r"blocks.0.attn.qkv is torch.ao.nn.quantized.dynamic.modules.linear.Linear\(",
    ),
    "pruned": (
        lambda model: prune.l1_unstructured(model.head, "weight", amount=0.5) and None,
        "head holds .*weight_mask",
    ),
    "parametrised": (
        lambda model: parametrizations.spectral_norm(model.head) and None,
        r"head is torch.nn.utils.parametrize.ParametrizedLinear\(",
    ),
    "two layers": (
        put("head", nn.Sequential(nn.Dropout(), nn.Linear(12, 5))),
        r"head is Sequential\(\), in a ViT's file it is Linear\(in_features=12, out_features=5, bias=True\)",
    ),
    "no bias": (put("head", nn.Linear(12, 5, bias=False)), "head is Linear.*bias=False"),
    "another width": (put("head", nn.Linear(13, 5)), "head is Linear.in_features=13"),
    "ReLU": (put("blocks.1.mlp.act", nn.ReLU()), r"blocks.1.mlp.act is ReLU\(\), in a ViT's file it is GELU"),
    "tanh": (put("blocks.1.mlp.act", nn.GELU("tanh")), r"act is GELU\(approximate='tanh'\)"),
    "epsilon": (put("norm", nn.LayerNorm(12, eps=0.1)), r"norm is LayerNorm\(\(12,\), eps=0.1"),
    "heads": (
        lambda model: setattr(model.blocks[0].attn, "num_heads", 4),
        r"attn is Attention\(num_heads=4\)",
    ),
    "one more": (lambda model: model.add_module("second", nn.Linear(2, 2)), "second is Linear.*has nothing"),
    "one number more": (
        lambda model: model.register_parameter("scale", nn.Parameter(torch.ones(3))),
        r"scale is of shape \(3,\), a ViT's file has nothing there",
    ),
    "one less": (lambda model: setattr(model, "head", None), "head is missing"),
    "other positions": (
        lambda model: setattr(model, "pos_embed", nn.Parameter(torch.zeros(1, 9, 12))),
        r"pos_embed is of shape \(1, 9, 12\), in a ViT's file it is of shape \(1, 16, 12\)",
    ),
    "lazy": (put("head", nn.LazyLinear(3)), "head is LazyLinear"),
    "a forward of its own": (lambda model: Louder(**model.config), "whose forward is its own"),
}


@pytest.mark.filterwarnings("ignore")  # torch announces a successor of its quantisation
@pytest.mark.parametrize("name", UNLIKE)
@pytest.mark.parametrize("save", [save_checkpoint, save_hugging_face])
def test_what_no_file_can_hold_is_refused_by_name_and_nothing_is_written(name, save, tmp_path):
    change, message = UNLIKE[name]
    model = unkind_model()
    model = change(model) or model
    with pytest.raises(ValueError, match=message):
        save(model, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


# Trained


def test_a_head_put_in_by_hand_is_trained_and_its_classes_are_its_own(tmp_path):
    model, (images, labels) = unkind_model(), unkind_images(8)
    model.head = nn.Linear(12, 7)
    fit(model, (images, labels + 4), None, epochs=1, **QUIET)
    save_checkpoint(model, tmp_path / "model.safetensors")
    assert same_weights(load_checkpoint(tmp_path / "model.safetensors"), model)
    with pytest.raises(ValueError, match="train has label 7, the head has 7 classes: 0 to 6"):
        fit(model, (images, torch.full((8,), 7)), None, epochs=1, **QUIET)


def test_a_headless_model_is_trained_with_a_head_from_with_head():
    headless = unkind_model(num_classes=0)
    with pytest.raises(ValueError, match=r"has no head to train, .*: model.with_head\(classes\) adds one"):
        fit(headless, unkind_images(8), None, epochs=1, **QUIET)
    images, labels = unkind_images(8)
    model = headless.with_head(3)
    options = {"epochs": 60, "augment": 0.0, "average": 0.5, "lr": 0.02, "label_smoothing": 0.0}
    history = fit(model, (images, labels), None, **options, **QUIET)
    assert history.loss[0] == pytest.approx(math.log(3), abs=1e-6)
    assert history.loss[-1] < 0.2


def test_what_is_frozen_stays_to_the_bit_and_the_optimizer_holds_nothing_of_it(monkeypatch):
    held = []
    real = loop._Run.to_the_end
    monkeypatch.setattr(loop._Run, "to_the_end", lambda run, *a: real(run, *a) or held.append(run.optimizer))
    model = unkind_model().with_head(3)
    model.requires_grad_(False).head.requires_grad_(True)
    before = copy.deepcopy(model.state_dict())
    fit(model, unkind_images(8), unkind_images(8), epochs=3, weight_decay=0.5, **QUIET)
    changed = [name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])]
    assert changed == ["head.weight", "head.bias"]
    assert [each.shape for each in held[0].param_groups[0]["params"]] == [(3, 12), (3,)]
    assert len(held[0].state_dict()["state"]) == 2


def test_a_model_that_is_frozen_whole_is_refused():
    model = unkind_model().requires_grad_(False)
    with pytest.raises(ValueError, match="model has no parameter to train: all are frozen"):
        fit(model, unkind_images(8), None, epochs=1, **QUIET)


def test_lora_is_trained_by_the_same_loop_and_kept_once_it_is_merged(tmp_path):
    model = unkind_model()
    lora = adapted(model)
    base = model.blocks[0].attn.qkv.base_layer.weight.detach().clone()
    path = tmp_path / "run.safetensors"
    fit(model, unkind_images(8), None, epochs=2, checkpoint=path, **QUIET)
    assert torch.equal(model.blocks[0].attn.qkv.base_layer.weight, base)
    assert model.blocks[0].attn.qkv.lora_B["default"].weight.abs().max() > 0
    images = unkind_images(2)[0]
    expected = model(images)
    for again in kept(lora.merge_and_unload(), tmp_path):
        torch.testing.assert_close(again(images), expected, atol=1e-5, rtol=0)


def test_dropout_and_running_statistics_of_a_head_are_as_in_eval_when_the_model_is_judged():
    model, valid = unkind_model(), unkind_images(40)
    model.head = nn.Sequential(nn.BatchNorm1d(12), nn.Dropout(0.9), nn.Linear(12, 3))
    history = fit(model, unkind_images(40), valid, epochs=3, batch_size=20, average=0.0, **QUIET)
    assert max(history.valid_accuracy) == accuracy(model, valid)
    assert model.head[0].num_batches_tracked > 0
    assert model.head[0].running_mean.abs().max() > 1e-3


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_no_file_can_hold_says_so_before_it_trains(tmp_path):
    model = torch.ao.quantization.quantize_dynamic(unkind_model(), {nn.Linear}).with_head(3)
    with pytest.raises(ValueError, match=r"blocks.0.attn.qkv._packed_params.\w+ is a \w+ and no tensor"):
        fit(model, unkind_images(8), None, epochs=1, checkpoint=tmp_path / "run.safetensors", **QUIET)
    assert list(tmp_path.iterdir()) == []
    fit(model, unkind_images(8), None, epochs=1, **QUIET)
    assert model.head.weight.abs().max() > 0
