"""What a PyTorch user hangs onto a ViT: peft, captum, pruning, parametrisation, int8, hooks and tracing.

Each is held against the formula of what it does, worked out on the plain weights, in float64 where it can.
"""

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

from vit_steps import ViT

SIZES = dict(image_size=(8, 12), patch_size=4, dim=8, depth=3, num_heads=2, mlp_dim=20, num_classes=5)


def perturbed(**changes):
    model = ViT(**{**SIZES, **changes}).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def image_of(batch=2):
    return torch.rand(batch, 3, 8, 12, dtype=torch.float64)


def same(one, other, tolerance=1e-12):
    torch.testing.assert_close(one, other, atol=tolerance, rtol=0)


def agree(model, plain, image):
    """forward and trace of a changed model give what a plain model of the changed weights gives."""
    expected = plain(image)
    same(model(image), expected)
    same(model.trace(image).logits, expected)


# peft


@pytest.fixture
def adapted():
    import peft

    model, plain = perturbed(), perturbed()
    plain.load_state_dict(model.state_dict())
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["qkv", "proj"], modules_to_save=["head"])
    return peft.get_peft_model(model, config), plain


def test_lora_begins_where_the_model_was_and_trains_its_own_alone(adapted):
    lora, plain = adapted
    agree(lora.base_model.model, plain, image_of())
    learning = [name for name, parameter in lora.named_parameters() if parameter.requires_grad]
    assert sum("lora_A" in name for name in learning) == 1 + 2 * SIZES["depth"]  # one Conv2d among them
    assert all("lora_" in name or "head" in name for name in learning)


def test_lora_is_the_sum_of_two_small_matrices_in_forward_and_in_trace(adapted):
    lora, plain = adapted
    for name, parameter in lora.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    found = lora.base_model.model.state_dict()
    for name, weight in plain.state_dict().items():
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_A.default.weight" in found:
            small = [found[f"{layer}.lora_{part}.default.weight"].flatten(1) for part in "BA"]
            weight += 6 / 2 * (small[0] @ small[1]).reshape(weight.shape)
    agree(lora.base_model.model, plain, image_of())


def test_every_part_of_lora_has_a_gradient(adapted):
    lora, _ = adapted
    for name, parameter in lora.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    lora(image_of()).square().sum().backward()
    for parameter in lora.parameters():
        assert (parameter.grad is not None and parameter.grad.abs().max() > 0) == parameter.requires_grad


# captum


def test_integrated_gradients_add_up_to_what_the_logit_gained():
    from captum.attr import IntegratedGradients

    model, image = perturbed(), image_of()
    shares = IntegratedGradients(model).attribute(image, target=3, n_steps=200)
    gained = (model(image) - model(torch.zeros_like(image)))[:, 3]
    same(shares.sum(dim=(1, 2, 3)), gained.detach(), tolerance=1e-6)  # Gauss-Legendre with 200 steps: 1e-10
    assert shares.abs().max() > 1e-3


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_layers_activation_is_that_of_trace_and_of_the_last_block_the_cls_row(pool):
    from captum.attr import LayerActivation

    model, image = perturbed(pool=pool), image_of()
    first, last = (LayerActivation(model, model.blocks[place]).attribute(image) for place in (0, -1))
    assert first.shape == (2, 7, 8)
    expected = model.trace(image).encoded
    same(last, expected[:, :1] if pool == "cls" else expected)


# torch's own


@pytest.mark.parametrize("name", ["patch_embed.proj", "blocks.1.attn.qkv", "blocks.2.mlp.fc2", "head"])
def test_what_is_pruned_is_zero_to_forward_and_to_trace(name):
    model, plain, image = perturbed(), perturbed(), image_of()
    plain.load_state_dict(model.state_dict())
    prune.l1_unstructured(model.get_submodule(name), "weight", amount=0.5)
    weight = plain.get_submodule(name).weight.data
    smallest = weight.abs().flatten().argsort()[: weight.numel() // 2]
    weight.view(-1)[smallest] = 0
    weight *= 2
    model.get_submodule(name).weight_orig.data *= 2  # as a training step does; the layer's hook has to run
    agree(model, plain, image)


class Tripled(nn.Module):
    def forward(self, weight):
        return 3 * weight


@pytest.mark.parametrize("name", ["patch_embed.proj", "blocks.0.attn.proj", "blocks.2.mlp.fc1", "head"])
def test_a_parametrisation_is_used_by_forward_and_trace(name):
    model, plain = perturbed(), perturbed()
    plain.load_state_dict(model.state_dict())
    parametrize.register_parametrization(model.get_submodule(name), "weight", Tripled())
    plain.get_submodule(name).weight.data *= 3
    agree(model, plain, image_of())


@pytest.mark.filterwarnings("ignore")  # torch announces a successor of its quantisation
def test_int8_is_used_and_stays_near():
    model = perturbed().float()
    image = image_of().float()
    small = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    assert small.config == model.config
    expected = model(image)
    spread = expected.std()
    for found in (small(image), small.trace(image).logits):
        error = (found - expected).abs().max() / spread
        assert 0 < error < 0.2  # 8 bits in 13 layers; they round one row and all rows by other scales


@pytest.mark.filterwarnings("ignore")  # jit.trace is old, and says what it takes for constant
def test_a_traced_graph_has_each_product_of_the_formula_and_runs_at_other_batches():
    """What fvcore and others count operations by."""
    model = perturbed()
    graph = torch.jit.trace(model, image_of())
    kinds = Counter(node.kind() for node in graph.inlined_graph.nodes())
    depth = SIZES["depth"]
    assert kinds["aten::_convolution"] == 1
    assert kinds["aten::linear"] == 4 * depth + 1
    assert kinds["aten::scaled_dot_product_attention"] == depth
    image = image_of(5)
    same(graph(image), model(image))


def test_torch_counts_the_operations_of_the_formula():
    model = perturbed(pool="mean")
    with FlopCounterMode(display=False) as counter:
        model.trace(image_of(2))  # of forward's fused kernel torch counts nothing on a CPU
    dim, mlp_dim, tokens = SIZES["dim"], SIZES["mlp_dim"], 7
    block = tokens * dim * (4 * dim + 2 * mlp_dim) + 2 * tokens**2 * dim
    expected = (tokens - 1) * 48 * dim + SIZES["depth"] * block + dim * SIZES["num_classes"]
    assert counter.get_total_flops() == 2 * 2 * expected  # a product and a sum, for two images


def test_a_hook_may_change_what_a_layer_gives():
    model, plain = perturbed(), perturbed()
    plain.load_state_dict(model.state_dict())
    model.blocks[1].mlp.fc2.register_forward_hook(lambda layer, given, found: 2 * found)
    plain.blocks[1].mlp.fc2.weight.data *= 2
    plain.blocks[1].mlp.fc2.bias.data *= 2
    agree(model, plain, image_of())
