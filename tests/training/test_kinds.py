"""Any kind of ViT is trained, kept in a file, and gone on from, as the plain one is."""

import pytest
import torch

from vit_steps import ViT
from vit_steps.training import fit, fresh_model, load_checkpoint, save_checkpoint

SIZES = dict(image_size=(8, 12), patch_size=4, dim=8, depth=2, num_heads=2, mlp_dim=12, num_classes=3)
KINDS = {
    "registers": dict(num_registers=2),
    "no CLS token": dict(class_token=False, pool="mean", final_norm="pooled"),
    "a probe": dict(class_token=False, pool="attention", act="gelu_tanh"),
    "two read": dict(num_registers=1, pool="cls+register"),
    "a norm before": dict(pre_norm=True, act="quick_gelu", eps=1e-5),
    "rotary": dict(position="rotary", num_registers=2, act="swiglu", pool="cls+mean"),
    "rotary, no prefix": dict(position="rotary", class_token=False, pool="mean_all", final_norm="nothing"),
}
IMAGES, LABELS = torch.rand(6, 3, 8, 12, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


@pytest.mark.parametrize("kind", KINDS)
def test_any_kind_learns_and_is_read_back_as_it_was(kind, tmp_path):
    model = fresh_model(**SIZES, **KINDS[kind])
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    run = dict(batch_size=3, checkpoint=tmp_path / "run.safetensors")
    fit(model, (IMAGES, LABELS), (IMAGES, LABELS), epochs=2, **run)
    assert not [name for name, each in model.named_parameters() if torch.equal(each, before[name])]
    save_checkpoint(model, tmp_path / "model.safetensors")
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert again.config == model.config
    assert torch.equal(again(IMAGES), model.eval()(IMAGES))


@pytest.mark.parametrize("kind", ["registers", "rotary", "rotary, no prefix"])
def test_another_dtype_is_named_without_a_table_to_ask(kind):
    model = ViT(**SIZES, **KINDS[kind])
    with pytest.raises(TypeError, match=r"train images are torch.float64, the model is torch.float32"):
        fit(model, (IMAGES.double(), LABELS), None, epochs=1)


def test_where_places_are_turned_there_is_no_table_to_enlarge():
    assert fresh_model(**SIZES, **KINDS["rotary"]).pos_embed is None
    table = fresh_model(**SIZES, **KINDS["registers"]).pos_embed
    assert 0.4 < table.std() < 0.6
