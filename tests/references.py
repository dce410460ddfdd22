"""ViTs that other people wrote, held against ours: ``python -m tests.references`` prints the table.

Each function builds one of them with random numbers in every parameter and returns a :class:`Reference`: its
weights, and how to run it block by block. Nothing here reaches the network.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vit_steps.pretrained import to_timm
from vit_steps.vit import ViT


class Size(NamedTuple):
    """What a ViT's constructor wants to know."""

    image_size: tuple[int, int]
    patch_size: int
    dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    num_classes: int = 1000
    channels: int = 3


class Stages(NamedTuple):
    """A model in pieces: image -> tokens, tokens -> tokens for each block, image -> logits."""

    embed: Callable[[Tensor], Tensor]
    blocks: list[Callable[[Tensor], Tensor]]
    logits: Callable[[Tensor], Tensor]


class Reference(NamedTuple):
    """Somebody else's model, its weights in its own dialect, its epsilon, and how to take it apart."""

    module: nn.Module
    weights: dict
    eps: float
    stages: Callable[[nn.Module], Stages]


SIZES = {
    "Ti/16": Size((224, 224), 16, 192, 12, 3, 768),
    "S/16": Size((224, 224), 16, 384, 12, 6, 1536),
    "B/16": Size((224, 224), 16, 768, 12, 12, 3072),
    "odd": Size((21, 35), 7, 40, 5, 5, 52, 7),
    "odd, square": Size((63, 63), 9, 160, 3, 2, 320, 11),
}


def perturb(module: nn.Module, seed: int = 1) -> nn.Module:
    """Draw every parameter afresh: no bias is zero, no LayerNorm is fresh, no two rows are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            is_matrix = parameter.ndim > 1 and len(parameter) > 1
            fresh_norm = parameter.ndim == 1 and bool((parameter == 1).all())
            scale = parameter[0].numel() ** -0.5 if is_matrix else 0.3
            parameter.copy_(scale * noise + (1.0 if fresh_norm else 0.0))
    return module.eval()


def timm_vit(
    size: Size, dtype: torch.dtype, name: str = "vit_base_patch16_224", **options: object
) -> Reference:
    """timm's registered ``vit_*`` and ``deit_*`` models, at any size."""
    import timm

    model = timm.create_model(
        name,
        img_size=size.image_size,
        patch_size=size.patch_size,
        in_chans=size.channels,
        num_classes=size.num_classes,
        embed_dim=size.dim,
        depth=size.depth,
        num_heads=size.num_heads,
        mlp_ratio=size.mlp_dim / size.dim,
        **options,
    )
    return reference_of_timm(perturb(model.to(dtype)))


def reference_of_timm(model: nn.Module) -> Reference:
    return Reference(model, model.state_dict(), model.norm.eps, timm_stages)


def timm_stages(model: nn.Module) -> Stages:
    return Stages(lambda image: model._pos_embed(model.patch_embed(image)), list(model.blocks), model)


def deit(size: Size, dtype: torch.dtype) -> Reference:
    return timm_vit(size, dtype, "deit_tiny_patch16_224")


def dinov2(size: Size, dtype: torch.dtype) -> Reference:
    """timm's DINOv2: a ViT with layer scale."""
    return timm_vit(size, dtype, "vit_small_patch14_dinov2")


def hugging_face_config(size: Size) -> "ViTConfig":  # noqa: F821
    from transformers import ViTConfig

    return ViTConfig(
        image_size=list(size.image_size),
        patch_size=size.patch_size,
        num_channels=size.channels,
        hidden_size=size.dim,
        num_hidden_layers=size.depth,
        num_attention_heads=size.num_heads,
        intermediate_size=size.mlp_dim,
        num_labels=size.num_classes,
    )


def hugging_face(size: Size, dtype: torch.dtype, attention: str = "eager") -> Reference:
    """Hugging Face's ViTForImageClassification; its eager attention computes the softmax in float32."""
    from transformers import ViTForImageClassification

    config = hugging_face_config(size)
    config._attn_implementation = attention
    return reference_of_hugging_face(perturb(ViTForImageClassification(config).to(dtype)))


def reference_of_hugging_face(model: nn.Module) -> Reference:
    return Reference(model, model.state_dict(), model.config.layer_norm_eps, hugging_face_stages)


def hugging_face_stages(model: nn.Module) -> Stages:
    return Stages(model.vit.embeddings, list(model.vit.layers), lambda image: model(image).logits)


def hugging_face_sdpa(size: Size, dtype: torch.dtype) -> Reference:
    return hugging_face(size, dtype, "sdpa")


def hugging_face_model(size: Size, dtype: torch.dtype) -> Reference:
    """Hugging Face's ViTModel, which has a pooler and no head: its class token after the last norm."""
    from transformers import ViTModel

    config = hugging_face_config(size)
    config._attn_implementation = "sdpa"
    model = perturb(ViTModel(config).to(dtype))

    def stages(model: nn.Module) -> Stages:
        return Stages(
            model.embeddings, list(model.layers), lambda image: model(image).last_hidden_state[:, 0]
        )

    return Reference(model, model.state_dict(), config.layer_norm_eps, stages)


def hugging_face_dinov2(size: Size, dtype: torch.dtype) -> Reference:
    """Hugging Face's Dinov2Model, which has no head: its class token after the last norm."""
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        image_size=size.image_size[0],
        patch_size=size.patch_size,
        num_channels=size.channels,
        hidden_size=size.dim,
        num_hidden_layers=size.depth,
        num_attention_heads=size.num_heads,
        mlp_ratio=size.mlp_dim // size.dim,
    )
    config._attn_implementation = "sdpa"
    model = perturb(Dinov2Model(config).to(dtype))

    def stages(model: nn.Module) -> Stages:
        return Stages(
            model.embeddings, list(model.encoder.layer), lambda image: model(image).last_hidden_state[:, 0]
        )

    return Reference(model, model.state_dict(), config.layer_norm_eps, stages)


def torchvision_vit(size: Size, dtype: torch.dtype) -> Reference:
    """torchvision's VisionTransformer, which takes square images with three channels."""
    from torchvision.models import VisionTransformer

    model = VisionTransformer(
        image_size=size.image_size[0],
        patch_size=size.patch_size,
        num_layers=size.depth,
        num_heads=size.num_heads,
        hidden_dim=size.dim,
        mlp_dim=size.mlp_dim,
        num_classes=size.num_classes,
    )
    perturb(model.to(dtype))

    return Reference(model, model.state_dict(), model.encoder.ln.eps, torchvision_stages)


def torchvision_stages(model: nn.Module) -> Stages:
    def embed(image: Tensor) -> Tensor:
        tokens = [model.class_token.expand(len(image), -1, -1), model._process_input(image)]
        return torch.cat(tokens, dim=1) + model.encoder.pos_embedding

    return Stages(embed, list(model.encoder.layers), model)


def google(size: Size, dtype: torch.dtype) -> Reference:
    """A timm model whose weights are laid out as Google's ``.npz`` files have them."""
    reference = timm_vit(size, dtype)
    return reference._replace(weights=google_arrays(reference.module))


def google_arrays(model: nn.Module) -> dict:
    """Lay a timm model out as Flax does: matrices with the input first, heads on an axis of their own."""
    dim, heads = model.embed_dim, model.blocks[0].attn.num_heads
    arrays = {
        "cls": model.cls_token,
        "embedding/kernel": torch.einsum("dcij->ijcd", model.patch_embed.proj.weight),
        "embedding/bias": model.patch_embed.proj.bias,
        "Transformer/posembed_input/pos_embedding": model.pos_embed,
        "Transformer/encoder_norm/scale": model.norm.weight,
        "Transformer/encoder_norm/bias": model.norm.bias,
        "head/kernel": torch.einsum("oi->io", model.head.weight),
        "head/bias": model.head.bias,
    }
    for number, block in enumerate(model.blocks):
        here = f"Transformer/encoderblock_{number}"
        for name, norm in (("LayerNorm_0", block.norm1), ("LayerNorm_2", block.norm2)):
            arrays |= {f"{here}/{name}/scale": norm.weight, f"{here}/{name}/bias": norm.bias}
        attention = f"{here}/MultiHeadDotProductAttention_1"
        kernels = block.attn.qkv.weight.view(3, heads, dim // heads, dim)
        for which, name in enumerate(("query", "key", "value")):
            arrays[f"{attention}/{name}/kernel"] = torch.einsum("hei->ihe", kernels[which])
            arrays[f"{attention}/{name}/bias"] = block.attn.qkv.bias.view(3, heads, -1)[which]
        out = block.attn.proj.weight.view(dim, heads, dim // heads)
        arrays |= {f"{attention}/out/kernel": torch.einsum("ohe->heo", out)}
        arrays |= {f"{attention}/out/bias": block.attn.proj.bias}
        for name, linear in (("Dense_0", block.mlp.fc1), ("Dense_1", block.mlp.fc2)):
            arrays[f"{here}/MlpBlock_3/{name}/kernel"] = torch.einsum("oi->io", linear.weight)
            arrays[f"{here}/MlpBlock_3/{name}/bias"] = linear.bias
    return {name: array.detach().numpy().copy() for name, array in arrays.items()}


def torch_encoder(size: Size, dtype: torch.dtype) -> Reference:
    """torch's own nn.TransformerEncoder between the first and the last step of a ViT: pre-norm, GELU."""
    layer = nn.TransformerEncoderLayer(
        size.dim,
        size.num_heads,
        size.mlp_dim,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    norm = nn.LayerNorm(size.dim, eps=1e-6)
    module = nn.ModuleDict(
        {
            "encoder": nn.TransformerEncoder(layer, size.depth, norm=norm, enable_nested_tensor=False),
            "conv": nn.Conv2d(size.channels, size.dim, size.patch_size, size.patch_size),
            "head": nn.Linear(size.dim, size.num_classes),
        }
    )
    rows, cols = (side // size.patch_size for side in size.image_size)
    module.cls_token = nn.Parameter(torch.empty(1, 1, size.dim))
    module.pos_embed = nn.Parameter(torch.empty(1, 1 + rows * cols, size.dim))
    perturb(module.to(dtype))

    return Reference(module, weights_of_torch_encoder(module), 1e-6, torch_encoder_stages)


def torch_encoder_stages(module: nn.Module) -> Stages:
    def embed(image: Tensor) -> Tensor:
        patches = module["conv"](image).flatten(2).mT
        tokens = torch.cat([module.cls_token.expand(len(image), -1, -1), patches], dim=1)
        return tokens + module.pos_embed

    def logits(image: Tensor) -> Tensor:
        return module["head"](module["encoder"](embed(image))[:, 0])

    return Stages(embed, list(module["encoder"].layers), logits)


def weights_of_torch_encoder(module: nn.Module) -> dict[str, Tensor]:
    names = {
        "encoder.norm": "norm",
        "encoder.layers": "blocks",
        "conv": "patch_embed.proj",
        "self_attn.in_proj_": "attn.qkv.",
        "self_attn.out_proj": "attn.proj",
        "linear1": "mlp.fc1",
        "linear2": "mlp.fc2",
    }
    weights = {}
    for key, weight in module.state_dict().items():
        for theirs, ours in names.items():
            key = key.replace(theirs, ours)
        weights[key] = weight
    return weights


REFERENCES = {
    "nn.TransformerEncoder": torch_encoder,
    "timm vit": timm_vit,
    "timm deit": deit,
    "timm DINOv2": dinov2,
    "Hugging Face, eager": hugging_face,
    "Hugging Face, sdpa": hugging_face_sdpa,
    "Hugging Face, ViTModel": hugging_face_model,
    "Hugging Face, DINOv2": hugging_face_dinov2,
    "torchvision": torchvision_vit,
    "Google's npz": google,
}
ONLY_SQUARE = ("torchvision", "Hugging Face, DINOv2")


class Distance(NamedTuple):
    """How far ours lies from a reference, and how far it may."""

    blocks: float
    logits: float
    blocks_allowed: float
    logits_allowed: float

    @property
    def ok(self) -> bool:
        return self.blocks <= self.blocks_allowed and self.logits <= self.logits_allowed


def ours_from(reference: Reference, size: Size) -> ViT:
    """Our model with the reference's weights."""
    weights = to_timm(reference.weights)
    num_classes = len(weights.get("head.bias", ()))
    model = ViT(**size._replace(num_classes=num_classes)._asdict(), eps=reference.eps)
    model.to(weights["cls_token"].dtype).load_state_dict(weights, strict=True)
    return model.eval()


def our_stages(model: ViT) -> Stages:
    return Stages(lambda image: model.trace(image).with_position, list(model.blocks), model)


@torch.no_grad()
def measure(name: str, size: Size, dtype: torch.dtype, batch: int = 2) -> Distance:
    """Hold ours against a reference, each block on the same tokens, and the logits.

    In float64 that is 1e-12; 1e-6 where Hugging Face computes its softmax in float32. In float32 it is four
    times what the reference itself is off by, measured against itself with the same weights in float64.
    """
    reference = REFERENCES[name](size, dtype)
    image = (torch.rand(batch, size.channels, *size.image_size, dtype=torch.float64) * 2 - 1).to(dtype)
    theirs = reference.stages(reference.module)
    found = distances(theirs, our_stages(ours_from(reference, size)), image, dtype)
    if dtype == torch.float64:
        allowed = 2 * [1e-6 if name == "Hugging Face, eager" else 1e-12]
    else:
        exact = reference.stages(copy.deepcopy(reference.module).double())
        allowed = [4 * off for off in distances(theirs, exact, image, torch.float64)]
    return Distance(*found, *allowed)


def distances(theirs: Stages, other: Stages, image: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    tokens = theirs.embed(image)
    blocks = [difference(tokens, other.embed(image.to(dtype)))]
    for their_block, other_block in zip(theirs.blocks, other.blocks, strict=True):
        after = their_block(tokens)
        blocks.append(difference(after, other_block(tokens.to(dtype))))
        tokens = after
    return max(blocks), difference(theirs.logits(image), other.logits(image.to(dtype)))


def difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return (ours.double() - theirs.double()).abs().max().item()


def table(sizes: list[str], dtypes: tuple = (torch.float64, torch.float32)) -> Iterator[tuple]:
    """One row for each size, library and dtype: (size, library, dtype, distance)."""
    for size in sizes:
        for name in REFERENCES:
            if name in ONLY_SQUARE and len(set(SIZES[size].image_size)) > 1:
                continue
            for dtype in dtypes:
                yield size, name, str(dtype).removeprefix("torch."), measure(name, SIZES[size], dtype)


def main() -> int:
    parser = argparse.ArgumentParser(description="How far our ViT lies from those of other libraries.")
    parser.add_argument("sizes", nargs="*", default=list(SIZES), help=f"of {', '.join(SIZES)}; default: all")
    sizes = parser.parse_args().sizes
    if unknown := set(sizes) - set(SIZES):
        parser.error(f"no size {', '.join(sorted(unknown))}, there are {', '.join(SIZES)}")
    print("| model | library | dtype | blocks, max abs diff | logits, max abs diff | allowed | |")
    print("|---|---|---|---|---|---|---|")
    failed = False
    for size, name, dtype, far in table(sizes):
        failed |= not far.ok
        numbers = f"{far.blocks:.1e} | {far.logits:.1e} | {far.blocks_allowed:.0e}, {far.logits_allowed:.0e}"
        print(f"| {size} | {name} | {dtype} | {numbers} | {'equal' if far.ok else 'DIFFERENT'} |", flush=True)
    return int(failed | print_families())


def print_families() -> bool:
    """The families besides the plain ViT; whether one of them is another function."""
    from families import FAMILIES, FLOAT32, measure

    print("\n| family | dtype | attention, max abs diff | answer, max abs diff | allowed | |")
    print("|---|---|---|---|---|---|")
    failed = False
    for name, family in FAMILIES.items():
        with tempfile.TemporaryDirectory() as folder:
            attention, answer = measure(name, Path(folder))
        ok = attention < FLOAT32 and answer < family.tolerance
        failed |= not ok
        allowed = f"{FLOAT32:.0e}, {family.tolerance:.0e}"
        verdict = "equal" if ok else "DIFFERENT"
        print(f"| {name} | float64 | {attention:.1e} | {answer:.1e} | {allowed} | {verdict} |", flush=True)
    return failed


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parent))  # as pytest does it
    import torchvision_stub  # noqa: F401

    raise SystemExit(main())
