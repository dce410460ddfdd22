"""The model against timm's (both ways, strictly), forward against trace, and trace against the step functions."""

# ruff: noqa: E501 (one line for each wrong input)
import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_steps import (
    Trace,
    ViT,
    add_position,
    attention_weights,
    classify,
    image2emb_naive,
    kernel2weight,
    merge_heads,
    pool_cls,
    pool_mean,
    prepend_cls,
    split_heads,
)

# Never square, so that a swapped pair of axes cannot hide; and once the source's own sizes.
CONFIGS = [
    dict(image_size=8, patch_size=4, dim=8, depth=6, num_heads=8, mlp_dim=32, num_classes=10),
    dict(image_size=(12, 20), patch_size=4, channels=1, dim=12, depth=2, num_heads=3, mlp_dim=20, num_classes=5),
    dict(image_size=(6, 4), patch_size=2, channels=2, dim=16, depth=3, num_heads=4, mlp_dim=64, num_classes=3, pool="mean"),
    dict(image_size=(9, 3), patch_size=3, dim=8, depth=1, num_heads=1, mlp_dim=4, num_classes=0, eps=1e-2),
]  # fmt: skip
every_config = pytest.mark.parametrize("config", CONFIGS)
POOLS = {"cls": pool_cls, "mean": pool_mean}


def perturb(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)


def random_model(config, dtype=torch.float64):
    model = ViT(**config)
    perturb(model)
    return model.to(dtype).eval()


def random_image(model, batch=3):
    return torch.randn(batch, model.channels, *model.image_size, dtype=model.cls_token.dtype)


def timm_twin(config):
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        in_chans=config.get("channels", 3),
        embed_dim=config["dim"],
        depth=config["depth"],
        num_heads=config["num_heads"],
        mlp_ratio=config["mlp_dim"] / config["dim"],
        num_classes=config["num_classes"],
        global_pool="avg" if config.get("pool") == "mean" else "token",
        fc_norm=False,
        norm_layer=partial(nn.LayerNorm, eps=config.get("eps", 1e-6)),
    )
    perturb(model)
    return model.double().eval()


@every_config
def test_timms_weights_load_strictly_and_give_timms_logits(config):
    reference, model = timm_twin(config), ViT(**config).double()
    model.load_state_dict(reference.state_dict(), strict=True)
    image = random_image(model)
    torch.testing.assert_close(model(image), reference(image), atol=1e-12, rtol=0)
    torch.testing.assert_close(model.trace(image).logits, reference(image), atol=1e-12, rtol=0)


@every_config
def test_timm_loads_our_weights_strictly(config):
    model, reference = random_model(config), timm_twin(config)
    reference.load_state_dict(model.state_dict(), strict=True)
    image = random_image(model)
    torch.testing.assert_close(reference(image), model(image), atol=1e-12, rtol=0)


@every_config
def test_trace_encodes_as_timm_does(config):
    reference, model = timm_twin(config), ViT(**config).double()
    model.load_state_dict(reference.state_dict(), strict=True)
    image = random_image(model)
    encoded = model.norm(model.trace(image).encoded)
    torch.testing.assert_close(encoded, reference.forward_features(image), atol=1e-12, rtol=0)


@every_config
def test_forward_and_trace_give_the_same_logits_to_1e_12(config):
    model = random_model(config)
    image = random_image(model)
    torch.testing.assert_close(model(image), model.trace(image).logits, atol=1e-12, rtol=0)


@every_config
def test_forward_and_trace_agree_to_float32(config):
    model = random_model(config, torch.float32)
    image = random_image(model)
    exact = copy.deepcopy(model).double()(image.double())
    # What rounding alone may do: each kind is about as far from the exact logits as the other.
    allowed = 100 * torch.finfo(torch.float32).eps * max(1, exact.abs().max().item())
    torch.testing.assert_close(model(image).double(), exact, atol=allowed, rtol=0)
    torch.testing.assert_close(model.trace(image).logits.double(), exact, atol=allowed, rtol=0)


@every_config
def test_forward_and_trace_have_the_same_gradients(config):
    model = random_model(config)
    image, parameters = random_image(model).requires_grad_(), list(model.parameters())
    towards = torch.randn_like(model(image))
    ours, reference = (
        torch.autograd.grad((logits * towards).sum(), [image, *parameters], allow_unused=True)
        for logits in (model(image), model.trace(image).logits)
    )
    for a, b in zip(ours, reference, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-10)


@every_config
def test_trace_is_the_five_steps_one_by_one(config):
    model = random_model(config)
    image = random_image(model)
    trace = model.trace(image)

    def same(ours, reference):
        torch.testing.assert_close(ours, reference, atol=1e-12, rtol=0)

    projection = model.patch_embed.proj
    patches = image2emb_naive(image, model.patch_size, kernel2weight(projection.weight)) + projection.bias
    same(trace.patches, patches)
    with_cls = prepend_cls(patches, model.cls_token)
    same(trace.with_cls, with_cls)
    tokens = add_position(with_cls, model.pos_embed[0])
    same(trace.with_position, tokens)
    for layer, block in enumerate(model.blocks):
        query, key, value = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)
        query, key, value = (split_heads(part, config["num_heads"]) for part in (query, key, value))
        weights = attention_weights(query, key)
        same(trace.attention[:, layer], weights)
        tokens = tokens + block.attn.proj(merge_heads(weights @ value))
        tokens = tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(tokens))))
    same(trace.encoded, tokens)
    same(trace.logits, classify(tokens, model.norm, model.head, pool=POOLS[model.pool]))


@every_config
def test_only_a_cls_token_that_is_pooled_is_computed_alone(config):
    model, rows = random_model(config), []
    for block in model.blocks:
        block.register_forward_hook(lambda *args: rows.append(args[-1].shape[1]))
    model(random_image(model))
    tokens = 1 + model.grid[0] * model.grid[1]
    assert rows == [tokens] * (config["depth"] - 1) + [1 if model.pool == "cls" else tokens]


@every_config
def test_shapes_are_what_the_names_promise(config):
    model = random_model(config)
    rows, cols = model.grid
    patches, dim, classes = rows * cols, config["dim"], config["num_classes"] or config["dim"]
    assert model.image_size == (rows * config["patch_size"], cols * config["patch_size"])
    trace = model.trace(random_image(model, batch=2))
    assert isinstance(trace, Trace)
    assert {name: tuple(field.shape) for name, field in trace._asdict().items() if name != "pooling"} == {
        "patches": (2, patches, dim),
        "with_cls": (2, patches + 1, dim),
        "with_position": (2, patches + 1, dim),
        "attention": (2, config["depth"], config["num_heads"], patches + 1, patches + 1),
        "encoded": (2, patches + 1, dim),
        "logits": (2, classes),
    }
    assert trace.pooling is None
    torch.testing.assert_close(trace.attention.sum(dim=-1), torch.ones_like(trace.attention[..., 0]))


def test_image_size_is_height_then_width():
    model = ViT(image_size=(12, 20), patch_size=4, dim=8, depth=1, num_heads=2, mlp_dim=8, num_classes=2)
    assert model.grid == (3, 5)
    assert model(torch.randn(1, 3, 12, 20)).shape == (1, 2)
    with pytest.raises(ValueError, match="image is 3 x 20 x 12, the model was made for 3 x 12 x 20"):
        model(torch.randn(1, 3, 20, 12))


@every_config
def test_images_of_a_batch_do_not_see_each_other(config):
    model = random_model(config)
    image = random_image(model)
    alone = torch.cat([model(one[None]) for one in image])
    torch.testing.assert_close(model(image), alone, atol=1e-12, rtol=0)


@every_config
def test_the_config_makes_the_same_model_again(config):
    model = random_model(config)
    twin = ViT(**model.config).double()
    twin.load_state_dict(model.state_dict(), strict=True)
    image = random_image(model)
    assert torch.equal(twin(image), model(image))


def test_without_a_head_the_logits_are_the_pooled_token():
    model = random_model(CONFIGS[3])
    trace = model.trace(random_image(model))
    assert torch.equal(trace.logits, model.norm(trace.encoded)[:, 0])


def test_parameters_start_as_the_paper_starts_them():
    model = ViT(image_size=32, patch_size=4, dim=64, depth=2, num_heads=4, mlp_dim=256, num_classes=10)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert torch.equal(parameter, torch.full_like(parameter, name.endswith("weight"))), name
        elif name.endswith("bias") and "patch_embed" not in name:
            assert parameter.abs().max() == 0, name
        elif name in ("cls_token", "pos_embed", "head.weight"):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.3), name
        elif name.startswith("blocks"):
            bound = math.sqrt(6 / sum(parameter.shape))
            assert 0.95 * bound < parameter.abs().max() <= bound, name


def test_an_untrained_model_knows_nothing():
    model = ViT(image_size=32, patch_size=4, dim=64, depth=2, num_heads=4, mlp_dim=256, num_classes=10)
    loss = F.cross_entropy(model(torch.randn(50, 3, 32, 32)), torch.randint(10, (50,)))
    assert loss.item() == pytest.approx(math.log(10), abs=0.1)


def test_reset_parameters_draws_from_the_global_seed():
    model = ViT(**CONFIGS[1])
    states = []
    for seed in (1, 1, 2):
        perturb(model)
        torch.manual_seed(seed)
        model.reset_parameters()
        states.append(copy.deepcopy(model.state_dict()))
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"])
    assert not torch.equal(first["patch_embed.proj.weight"], other["patch_embed.proj.weight"])


@every_config
def test_training_and_eval_mode_give_the_same(config):
    model = random_model(config)
    image = random_image(model)
    assert torch.equal(model.train()(image), model.eval()(image))


@every_config
def test_nothing_is_changed_in_place(config):
    model = random_model(config)
    image = random_image(model)
    before, state = image.clone(), copy.deepcopy(model.state_dict())
    model(image)
    model.trace(image)
    assert torch.equal(image, before)
    assert all(torch.equal(state[name], parameter) for name, parameter in model.state_dict().items())


def test_the_fields_of_a_trace_are_no_views_of_each_other():
    model = random_model(CONFIGS[1])
    image = random_image(model)
    trace, untouched = model.trace(image), model.trace(image)
    with torch.no_grad():
        trace.encoded.add_(1)
        trace.with_position.add_(1)
        trace.with_cls.add_(1)
    assert torch.equal(trace.patches, untouched.patches)
    torch.testing.assert_close(trace.encoded, untouched.encoded + 1, atol=0, rtol=0)


@every_config
def test_an_empty_batch_gives_empty_logits(config):
    model = random_model(config)
    assert model(random_image(model, batch=0)).shape == (0, config["num_classes"] or config["dim"])
    assert model.trace(random_image(model, batch=0)).logits.shape == (
        0,
        config["num_classes"] or config["dim"],
    )


def test_views_the_meta_device_and_other_precisions():
    model = random_model(CONFIGS[1], torch.float32)
    channels_last = random_image(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(channels_last), model(channels_last.contiguous()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(
            model(channels_last).float(), model.trace(channels_last).logits.float(), atol=0.2, rtol=0
        )
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert half(channels_last.to(torch.bfloat16)).dtype == torch.bfloat16
    meta = copy.deepcopy(model).to("meta")
    assert meta(channels_last.to("meta")).shape == (3, 5)


GOOD = dict(image_size=32, patch_size=4, dim=8, depth=1, num_heads=4, mlp_dim=16, num_classes=10)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (dict(image_size=30), ValueError, "image_size height 30 is not a multiple of patch_size 4"),
        (dict(image_size=(32, 30)), ValueError, "image_size width 30 is not a multiple of patch_size 4"),
        (dict(image_size=0), ValueError, "image_size must be at least 1, got 0"),
        (dict(image_size=(32, -32)), ValueError, "image_size width must be at least 1, got -32"),
        (dict(image_size=(3, 32, 32)), TypeError, "image_size must be (height, width), got (3, 32, 32)"),
        (dict(image_size=32.0), TypeError, "image_size must be an integer, got 32.0"),
        (dict(image_size="32"), TypeError, "image_size must be an integer, got '32'"),
        (dict(image_size=True), TypeError, "image_size must be an integer, got True"),
        (dict(patch_size=64), ValueError, "image_size height 32 is not a multiple of patch_size 64"),
        (dict(patch_size=0), ValueError, "patch_size must be at least 1, got 0"),
        (dict(patch_size=4.5), TypeError, "patch_size must be an integer, got 4.5"),
        (dict(channels=0), ValueError, "channels must be at least 1, got 0"),
        (dict(dim=10), ValueError, "dim 10 is not a multiple of num_heads 4"),
        (dict(dim=-8), ValueError, "dim must be at least 1, got -8"),
        (dict(depth=0), ValueError, "depth must be at least 1, got 0"),
        (dict(num_heads=0), ValueError, "num_heads must be at least 1, got 0"),
        (dict(num_heads=16), ValueError, "dim 8 is not a multiple of num_heads 16"),
        (dict(mlp_dim=None), TypeError, "mlp_dim must be an integer, got None"),
        (dict(num_classes=-1), ValueError, "num_classes must be at least 0, got -1"),
        (dict(num_classes=False), TypeError, "num_classes must be an integer, got False"),
        (dict(pool="max"), ValueError, "pool must be one of cls, mean, mean_all, attention, cls+register, cls+mean, got 'max'"),
        (dict(pool=["cls"]), ValueError, "pool must be one of cls, mean, mean_all, attention, cls+register, cls+mean, got ['cls']"),
        (dict(eps=0), ValueError, "eps must be positive and finite, got 0"),
        (dict(eps=-1e-6), ValueError, "eps must be positive and finite, got -1e-06"),
        (dict(eps=1), ValueError, "eps must be below 1, got 1"),
        (dict(eps=math.nan), ValueError, "eps must be positive and finite, got nan"),
        (dict(eps="1e-6"), TypeError, "eps must be a number, got '1e-6'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_constructor_names_what_is_wrong(wrong, error, message):
    with pytest.raises(error) as caught:
        ViT(**{**GOOD, **wrong})
    assert str(caught.value) == message


IMAGE = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize("method", [ViT.forward, ViT.trace])
@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (IMAGE[..., :30], ValueError, "image is 3 x 32 x 30, the model was made for 3 x 32 x 32"),
        (IMAGE[:, :1], ValueError, "image is 1 x 32 x 32, the model was made for 3 x 32 x 32"),
        (IMAGE[..., :16, :16], ValueError, "image is 3 x 16 x 16, the model was made for 3 x 32 x 32"),
        (
            IMAGE[0],
            ValueError,
            "image must have the axes (batch channels height width), got shape (3, 32, 32)",
        ),
        (np.zeros((2, 3, 32, 32)), TypeError, "image must be a torch.Tensor, not ndarray"),
        (None, TypeError, "image must be a torch.Tensor, not NoneType"),
        (IMAGE.byte(), TypeError, "image must be floating point, got torch.uint8"),
        (
            IMAGE.double(),
            TypeError,
            "image is torch.float64, the model is torch.float32: they must be the same",
        ),
        (IMAGE.to("meta"), ValueError, "image is on meta, the model is on cpu: they must be on the same"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_an_image_that_does_not_fit_is_named(method, image, error, message):
    model = ViT(**GOOD)
    with pytest.raises(error) as caught:
        method(model, image)
    assert str(caught.value) == message


# What is put in the place of a layer, or hung onto it


class Doubled(nn.Module):
    """Twice what another layer gives: a stand-in for LoRA, quantisation and the like, without its attributes."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, *given):
        return 2 * self.layer(*given)


LAYERS = ["patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.1.mlp.fc1", "blocks.1.mlp"]
LAYERS += ["blocks.0.norm1", "blocks.1.norm2", "norm", "head"]


@pytest.mark.parametrize("name", LAYERS)
def test_what_stands_in_the_place_of_a_layer_is_used_by_forward_and_trace_alike(name):
    model = ViT(**{**GOOD, "depth": 2}).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    before = model(image)
    model.set_submodule(name, Doubled(model.get_submodule(name)))
    torch.testing.assert_close(model(image), model.trace(image).logits, atol=1e-12, rtol=0)
    assert (model(image) - before).abs().max() > 1e-3


@pytest.mark.parametrize("name", [*LAYERS, "patch_embed", "blocks.0", "blocks.1", "blocks.0.attn"])
def test_a_hook_is_called_by_forward_and_trace_alike(name):
    model, image, called = ViT(**{**GOOD, "depth": 2}).eval(), torch.rand(2, 3, 32, 32), []
    model.get_submodule(name).register_forward_hook(lambda *args: called.append(type(args[2])))
    model(image)
    model.trace(image)
    assert len(called) == 2
    assert called[0] == called[1]


@pytest.mark.parametrize(("layers", "kept"), [(None, [0, 1, 2]), ([2], [2]), ([-1, 0], [2, 0]), ([], [])])
def test_a_trace_keeps_the_attention_that_is_asked_for(layers, kept):
    model, image = ViT(**{**GOOD, "depth": 3}).eval(), torch.rand(2, 3, 32, 32)
    whole, some = model.trace(image), model.trace(image, layers=layers)
    assert some.attention.shape == (2, len(kept), 4, 65, 65)
    torch.testing.assert_close(some.attention, whole.attention[:, kept])
    torch.testing.assert_close(some.logits, whole.logits)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([3], "layers holds 3, the model has 3 blocks: 0 to 2"),
        ([0, -4], "layers holds -4, the model has 3 blocks: 0 to 2"),
        ([0, -3], r"layers names a block twice: \[0, -3\]"),
        ([True], "each of layers must be an integer, got True"),
        (1, "layers must be a sequence of integers, not int"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_layers_that_are_not_there_are_named(layers, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ViT(**{**GOOD, "depth": 3}).trace(torch.rand(1, 3, 32, 32), layers=layers)


def test_a_trace_can_be_differentiated():
    model, image = ViT(**{**GOOD, "depth": 2}).double(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    trace = model.trace(image.requires_grad_())
    (gradient,) = torch.autograd.grad(trace.attention[0, 1, 0, 0, 1:].max(), image)
    assert gradient.abs().max() > 0


def test_a_trace_holds_hardly_more_than_the_attention_that_is_asked_for():
    """All that torch has allocated at once, by its own profiler, against the maps in float32."""
    model = ViT(image_size=80, patch_size=4, dim=96, depth=12, num_heads=6, mlp_dim=96, num_classes=0).eval()
    image, held, most = torch.rand(1, 3, 80, 80), 0, 0
    with torch.inference_mode(), torch.profiler.profile(profile_memory=True) as profile:
        attention = model.trace(image).attention
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    assert attention.nbytes == 12 * 6 * 401**2 * 4
    assert attention.nbytes < most < 1.1 * attention.nbytes
