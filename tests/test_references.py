"""Our ViT against those of torch, timm, Hugging Face and torchvision, block by block and at the logits."""

import pytest
import torch
from references import ONLY_SQUARE, REFERENCES, Size, difference, measure, ours_from, perturb, timm_vit
from torch import nn

from vit_steps.encoder import encoder_block, self_attention
from vit_steps.vit import ViT

# The widths and heads of Ti, S and B on small images, and shapes that nobody would choose.
SMALL = {
    "Ti": Size((48, 48), 16, 192, 4, 3, 768),
    "S": Size((64, 64), 16, 384, 1, 6, 1536, 10),
    "B": Size((32, 32), 16, 768, 1, 12, 3072, 21),
    "wide heads": Size((63, 63), 9, 160, 2, 2, 320, 11),
    "one head": Size((20, 20), 4, 24, 2, 1, 48, 2),
    "not square": Size((21, 35), 7, 40, 3, 5, 52, 7),
    "flat, one channel": Size((6, 48), 6, 30, 2, 3, 30, 3, 1),
}


def _fits(library: str, size: Size) -> bool:
    return library not in ONLY_SQUARE or (len(set(size.image_size)) == 1 and size.channels == 3)


TIMM_POOLS = {"cls": "token", "mean": "avg"}
CASES = [(library, name) for library in REFERENCES for name, size in SMALL.items() if _fits(library, size)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("library", "name"), CASES)
def test_every_block_and_the_logits_agree(library, name, dtype):
    far = measure(library, SMALL[name], dtype, batch=3)
    assert far.blocks <= far.blocks_allowed
    assert far.logits <= far.logits_allowed


def test_the_yardstick_for_float32_is_rounding_and_nothing_more():
    far = measure("timm vit", SMALL["B"], torch.float32)
    assert 0 < far.logits_allowed < 1e-4
    assert 0 < far.blocks_allowed < 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "cls_token",
        "pos_embed",
        "patch_embed.proj.bias",
        "blocks.1.norm1.bias",
        "blocks.0.attn.qkv.bias",
        "blocks.2.attn.proj.bias",
        "blocks.1.norm2.weight",
        "blocks.2.mlp.fc1.bias",
        "blocks.0.mlp.fc2.bias",
        "norm.bias",
        "head.bias",
    ],
)
def test_a_forgotten_parameter_would_be_seen(name):
    size = SMALL["not square"]
    reference = timm_vit(size, torch.float64)
    ours = ours_from(reference, size)
    image = torch.rand(2, 3, *size.image_size, dtype=torch.float64)
    with torch.no_grad():
        assert difference(ours(image), reference.module(image)) < 1e-12
        nn.init.zeros_(ours.get_parameter(name))
        assert difference(ours(image), reference.module(image)) > 1e-3


def test_the_other_epsilon_would_be_seen():
    size = SMALL["Ti"]
    reference = timm_vit(size, torch.float64)
    image = torch.rand(2, 3, *size.image_size, dtype=torch.float64)
    with torch.no_grad():
        off = difference(ours_from(reference._replace(eps=1e-5), size)(image), reference.module(image))
    assert off > 1e-7


@pytest.mark.parametrize("size", [SMALL["Ti"], SMALL["not square"]], ids=["Ti", "not square"])
def test_attention_weights_are_hugging_faces(size):
    from references import hugging_face

    reference = hugging_face(size, torch.float64)
    image = torch.rand(2, 3, *size.image_size, dtype=torch.float64)
    with torch.no_grad():
        theirs = reference.module(image, output_attentions=True).attentions
        ours = ours_from(reference, size).trace(image).attention
    assert difference(ours, torch.stack(theirs, dim=1)) < 1e-6


def test_attention_and_tokens_are_those_of_multihead_attention():
    attention = perturb(nn.MultiheadAttention(30, 5, batch_first=True).double())
    qkv, proj = nn.Linear(30, 90).double(), nn.Linear(30, 30).double()
    qkv.load_state_dict({"weight": attention.in_proj_weight, "bias": attention.in_proj_bias})
    proj.load_state_dict(attention.out_proj.state_dict())
    tokens = torch.randn(3, 7, 30, dtype=torch.float64)
    theirs, weights = attention(tokens, tokens, tokens, average_attn_weights=False)
    ours, our_weights = self_attention(tokens, qkv, proj, 5)
    assert difference(ours, theirs) < 1e-12
    assert difference(our_weights, weights) < 1e-12


def _parts(layer: nn.TransformerEncoderLayer) -> tuple:
    """Our callables around the parameters of one of torch's layers."""
    attention = layer.self_attn

    def qkv(tokens):
        return nn.functional.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)

    def attn(tokens):
        return self_attention(tokens, qkv, attention.out_proj, attention.num_heads)

    def mlp(tokens):
        return layer.linear2(layer.activation(layer.linear1(tokens)))

    return layer.norm1, attn, layer.norm2, mlp


@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_the_sources_post_norm_encoder_is_the_same_parts_in_another_order(dtype, tol):
    """The source notebook's nn.TransformerEncoder: norms after the residual, ReLU, width 2048, six layers."""
    layer = nn.TransformerEncoderLayer(40, 8, dropout=0.0, batch_first=True)
    encoder = perturb(nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).to(dtype))
    tokens = torch.randn(3, 17, 40, dtype=dtype)
    with torch.no_grad():
        expected, ours = encoder(tokens), tokens
        for layer in encoder.layers:
            norm1, attn, norm2, mlp = _parts(layer)
            ours = norm1(ours + attn(ours)[0])
            ours = norm2(ours + mlp(ours))
    assert difference(ours, expected) < tol


def test_pre_norm_and_post_norm_are_different_functions():
    layer = nn.TransformerEncoderLayer(40, 8, 160, dropout=0.0, batch_first=True, activation="gelu")
    perturb(layer.double())
    tokens = torch.randn(2, 9, 40, dtype=torch.float64)
    with torch.no_grad():
        pre_norm, _ = encoder_block(tokens, *_parts(layer))
        assert difference(pre_norm, layer(tokens)) > 0.1
        layer.norm_first = True
        assert difference(pre_norm, layer(tokens)) < 1e-12


def test_without_batch_first_the_encoder_would_attend_over_the_batch():
    layer = nn.TransformerEncoderLayer(24, 4, 48, dropout=0.0, norm_first=True, activation="gelu")
    perturb(layer.double())
    tokens = torch.randn(3, 9, 24, dtype=torch.float64)
    with torch.no_grad():
        ours, _ = encoder_block(tokens, *_parts(layer))
        assert difference(ours, layer(tokens)) > 0.1
        assert difference(ours, layer(tokens.transpose(0, 1)).transpose(0, 1)) < 1e-12


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_our_weights_load_into_timm_and_give_the_same_logits(pool):
    import timm

    shared = {"patch_size": 8, "depth": 3, "num_heads": 4, "num_classes": 6}
    ours = perturb(ViT(image_size=(32, 48), dim=48, mlp_dim=96, pool=pool, **shared))
    theirs = timm.models.VisionTransformer(
        img_size=(32, 48), embed_dim=48, mlp_ratio=2, global_pool=TIMM_POOLS[pool], fc_norm=False, **shared
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    image = torch.rand(3, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        assert difference(ours.double()(image), theirs.double().eval()(image)) < 1e-12
