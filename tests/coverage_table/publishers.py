"""Weights as their makers published them, written from models of timm and torchvision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .timm_models import build, obstacles_of, tolerance_of
from .verdict import Saved, perturb

SIZE = 96
SMALL = {"img_size": SIZE, "num_classes": 5}
Weights = dict[str, Tensor]


def rename(weights: Weights, *pairs: tuple[str, str]) -> Weights:
    renamed = {}
    for key, weight in weights.items():
        for ours, theirs in pairs:
            key = key.replace(ours, theirs)
        renamed[key] = weight
    return renamed


def before(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: weight for key, weight in weights.items()}


def other(weights: Weights) -> Weights:
    """Weights that have to be left alone: a student's, or those before an average."""
    return {key: weight + 1 for key, weight in weights.items()}


def projector(name: str, dim: int = 384) -> Weights:
    """A head that training used and no class is read from."""
    return {
        f"{name}.mlp.0.weight": torch.ones(32, dim),
        f"{name}.last_layer.weight_g": torch.ones(9, 1),
    }


def moco_projector(name: str, dim: int = 384) -> Weights:
    return {
        f"{name}.0.weight": torch.ones(32, dim),
        f"{name}.1.running_mean": torch.ones(32),
        f"{name}.1.num_batches_tracked": torch.tensor(3),
    }


def saved(model: nn.Module, path: Path, obstacles: frozenset[str] | None = None, **options: object) -> Saved:
    found = obstacles_of(model) if obstacles is None else obstacles
    return Saved(path, lambda image: model(image), (3, SIZE, SIZE), found, options=options)


def pth(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def plain(name: str = "vit_small_patch16_224", **options: object) -> tuple[nn.Module, Weights]:
    model = build(name, **{**SMALL, **options}).double()
    return model, model.state_dict()


def deit(folder: Path) -> Saved:
    model, weights = plain("deit_small_patch16_224")
    return saved(model, pth({"model": weights}, folder / "deit_small_patch16_224-cd65a155.pth"))


def deit_distilled(folder: Path) -> Saved:
    model, weights = plain("deit_small_distilled_patch16_224")
    return saved(model, pth({"model": weights}, folder / "deit_small_distilled.pth"))


def deit3(folder: Path) -> Saved:
    model, weights = plain("deit3_small_patch16_224")
    weights = rename(weights, ("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2"))
    return saved(model, pth({"model": weights}, folder / "deit_3_small_224_1k.pth"))


def dino(folder: Path) -> Saved:
    model, weights = plain(num_classes=0)
    return saved(model, pth(weights, folder / "dino_deitsmall16_pretrain.pth"))


def dino_full(folder: Path) -> Saved:
    model, weights = plain(num_classes=0)
    teacher = before("backbone.", weights) | projector("head")
    content = {"student": before("module.", other(teacher)), "teacher": teacher, "epoch": 100}
    return saved(model, pth(content, folder / "dino_deitsmall16_pretrain_full_checkpoint.pth"))


def ibot(folder: Path) -> Saved:
    model, weights = plain(num_classes=0)
    student = before("module.backbone.", weights | {"masked_embed": torch.ones(1, 384)})
    teacher = (
        before("backbone.", weights) | projector("head") | {"head.last_layer2.weight_g": torch.ones(9, 1)}
    )
    content = {"student": other(student), "teacher": teacher, "ibot_loss": {"center": torch.ones(1, 9)}}
    return saved(model, pth(content, folder / "checkpoint.pth"))


def ibot_teacher(folder: Path) -> Saved:
    model, weights = plain(num_classes=0)
    return saved(model, pth({"state_dict": weights}, folder / "checkpoint_teacher.pth"))


def moco_v3(folder: Path) -> Saved:
    model, weights = plain(num_classes=0, num_heads=12)
    encoder = before("base_encoder.", weights) | moco_projector("base_encoder.head")
    momentum = before("momentum_encoder.", other(weights)) | moco_projector("momentum_encoder.head")
    content = before("module.", encoder | momentum | moco_projector("predictor"))
    return saved(model, pth({"epoch": 300, "state_dict": content}, folder / "vit-s-300ep.pth.tar"))


def mae(folder: Path) -> Saved:
    model, weights = plain(num_classes=0)
    return saved(model, pth({"model": weights}, folder / "mae_pretrain_vit_base.pth"))


def mae_with_decoder(folder: Path) -> Saved:
    model, weights = plain(num_classes=0)
    decoder = {
        "mask_token": torch.ones(1, 1, 32),
        "decoder_pos_embed": torch.ones(1, 37, 32),
        "decoder_embed.weight": torch.ones(32, 384),
        "decoder_blocks.0.norm1.weight": torch.ones(32),
        "decoder_norm.bias": torch.ones(32),
        "decoder_pred.weight": torch.ones(768, 32),
    }
    return saved(model, pth({"model": weights | decoder}, folder / "mae_visualize_vit_base.pth"))


def mae_fine_tuned(folder: Path) -> Saved:
    model, weights = plain(global_pool="avg")
    return saved(model, pth({"model": weights}, folder / "mae_finetuned_vit_base.pth"))


def dinov2(folder: Path) -> Saved:
    model, weights = plain("vit_small_patch14_dinov2", num_classes=0, img_size=98)
    path = pth(weights | {"mask_token": torch.ones(1, 384)}, folder / "dinov2_vits14_pretrain.pth")
    return saved(model, path)._replace(shape=(3, 98, 98))


def dinov2_registers(folder: Path) -> Saved:
    model, weights = plain("vit_small_patch14_reg4_dinov2", num_classes=0, img_size=98)
    weights = rename(weights, ("reg_token", "register_tokens")) | {"mask_token": torch.ones(1, 384)}
    # timm has added the place of the CLS token to the token itself.
    place = torch.linspace(-1, 1, 384, dtype=torch.float64).view(1, 1, -1)
    weights |= {"cls_token": weights["cls_token"] - place}
    weights |= {"pos_embed": torch.cat([place, weights["pos_embed"]], dim=1)}
    return saved(model, pth(weights, folder / "dinov2_vits14_reg4_pretrain.pth"))._replace(shape=(3, 98, 98))


def dinov2_giant(folder: Path) -> Saved:
    model, weights = plain("vit_giant_patch14_dinov2", num_classes=0, img_size=98)
    weights = rename(weights, ("mlp.fc1", "mlp.w12"), ("mlp.fc2", "mlp.w3")) | {
        "mask_token": torch.ones(1, 1536)
    }
    return saved(model, pth(weights, folder / "dinov2_vitg14_pretrain.pth"))._replace(shape=(3, 98, 98))


def dinov3(folder: Path) -> Saved:
    model, weights = plain("vit_small_patch16_dinov3", num_classes=0, global_pool="token")
    weights = rename(
        weights, ("reg_token", "storage_tokens"), ("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma")
    )
    weights |= {"mask_token": torch.ones(1, 384), "rope_embed.periods": torch.ones(16)}
    path = pth(weights, folder / "dinov3_vits16_pretrain_lvd1689m.pth")
    return saved(model, path, image_size=SIZE)._replace(tolerance=tolerance_of(model))


def torchvision(folder: Path) -> Saved:
    return _torchvision(folder / "vit_b_16-c867db91.pth", "mlp.linear_")


def torchvision_now(folder: Path) -> Saved:
    return _torchvision(folder / "vit_b_16.pth", "mlp.")


def torchvision_heads(folder: Path) -> Saved:
    return _torchvision(folder / "fine_tuned.pt", "mlp.", "heads")


def _torchvision(path: Path, mlp: str, head: str = "heads.head") -> Saved:
    from torchvision.models import VisionTransformer

    sizes = dict(image_size=SIZE, patch_size=16, num_layers=2, num_heads=6, hidden_dim=384, mlp_dim=768)
    model = perturb(VisionTransformer(**sizes, num_classes=5).double())
    # The numbers of the two layers count from 1 in the published files, from 0 and 3 in memory.
    pairs = () if mlp == "mlp." else (("mlp.0", f"{mlp}1"), ("mlp.3", f"{mlp}2"))
    weights = rename(model.state_dict(), *pairs, ("heads.head", head))
    return saved(model, pth(weights, path), frozenset())


CLIP_NAMES = (
    *(("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"), ("cls_token", "class_embedding")),
    *(("norm_pre", "ln_pre"), ("blocks.", "transformer.resblocks."), ("attn.qkv.", "attn.in_proj_")),
    *(("attn.proj", "attn.out_proj"), ("norm1", "ln_1"), ("norm2", "ln_2"), ("norm.", "ln_post.")),
    *(("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("head.weight", "proj")),
)
TEXT = {
    "token_embedding.weight": torch.ones(9, 8),
    "ln_final.weight": torch.ones(8),
    "logit_scale": torch.ones(()),
}


def _clip(name: str, path: Path, **extra: Tensor) -> Saved:
    model, weights = plain(name)
    model.head.bias.data.zero_()
    projection = weights["head.weight"].T.contiguous()
    weights = {key: weight for key, weight in weights.items() if not key.startswith("head.")}
    visual = before("visual.", rename(weights, *CLIP_NAMES)) | {"visual.proj": projection}
    for token in ("class_embedding", "positional_embedding"):
        visual[f"visual.{token}"] = visual[f"visual.{token}"].squeeze()
    text = TEXT | {"transformer.resblocks.0.ln_1.weight": torch.ones(8)}
    return saved(model, pth(visual | text | extra, path))


def openai_clip(folder: Path) -> Saved:
    return _clip(
        "vit_base_patch16_clip_quickgelu_224", folder / "ViT-B-16.pt", input_resolution=torch.tensor(224)
    )


def open_clip(folder: Path) -> Saved:
    model = _clip("vit_base_patch16_clip_224", folder / "open_clip_pytorch_model.bin")
    return model._replace(unseen="the exact GELU, where OpenAI's CLIP has its own")


def open_clip_around_timm(folder: Path) -> Saved:
    model, weights = plain()
    model.head.bias.data.zero_()
    trunk = {key: weight for key, weight in weights.items() if not key.startswith("head.")}
    content = before("visual.trunk.", trunk) | {"visual.head.proj.weight": weights["head.weight"]} | TEXT
    return saved(model, pth(content, folder / "open_clip_pytorch_model.bin"))


def flax(model: nn.Module, part: str = "posembed_input", numbers: tuple[int, int, int] = (1, 3, 2)) -> dict:
    """The arrays of Flax: matrices with the input first, heads on an axis of their own."""
    attention, mlp, norm2 = numbers
    heads, dim = model.blocks[0].attn.num_heads, model.embed_dim
    position = "pos_embedding" if part == "" else f"Transformer/{part}/pos_embedding"
    arrays = {
        "cls": model.cls_token,
        position: model.pos_embed,
        "embedding/kernel": model.patch_embed.proj.weight.permute(2, 3, 1, 0),
        "embedding/bias": model.patch_embed.proj.bias,
        **_flax_norm("Transformer/encoder_norm", model.norm),
        **_flax_dense("head", model.head),
    }
    for number, block in enumerate(model.blocks):
        here = f"Transformer/encoderblock_{number}"
        arrays |= _flax_norm(f"{here}/LayerNorm_0", block.norm1) | _flax_norm(
            f"{here}/LayerNorm_{norm2}", block.norm2
        )
        arrays |= _flax_dense(f"{here}/MlpBlock_{mlp}/Dense_0", block.mlp.fc1)
        arrays |= _flax_dense(f"{here}/MlpBlock_{mlp}/Dense_1", block.mlp.fc2)
        there = f"{here}/MultiHeadDotProductAttention_{attention}"
        kernels = block.attn.qkv.weight.view(3, heads, dim // heads, dim).permute(0, 3, 1, 2)
        biases = block.attn.qkv.bias.view(3, heads, dim // heads)
        for which, name in enumerate(("query", "key", "value")):
            arrays |= {f"{there}/{name}/kernel": kernels[which], f"{there}/{name}/bias": biases[which]}
        out = block.attn.proj.weight.T.reshape(heads, dim // heads, dim)
        arrays |= {f"{there}/out/kernel": out, f"{there}/out/bias": block.attn.proj.bias}
    return {name: array.detach().numpy() for name, array in arrays.items()}


def _flax_norm(name: str, norm: nn.LayerNorm) -> dict:
    return {f"{name}/scale": norm.weight, f"{name}/bias": norm.bias}


def _flax_dense(name: str, linear: nn.Linear) -> dict:
    return {f"{name}/kernel": linear.weight.T, f"{name}/bias": linear.bias}


def npz(arrays: dict, path: Path, prefix: str = "") -> Path:
    np.savez(path, **{prefix + name: array for name, array in arrays.items()})
    return path


def google(folder: Path) -> Saved:
    model, _ = plain()
    return saved(model, npz(flax(model), folder / "ViT-S_16.npz"))


def google_target(folder: Path) -> Saved:
    model, _ = plain()
    return saved(model, npz(flax(model), folder / "ViT-S_16.npz", "opt/target/"))


BIG_VISION = ("", (0, 0, 1))


def big_vision(folder: Path) -> Saved:
    """A ViT of big_vision, as FlexiViT is: positions are added before the class token is put there."""
    model, _ = plain("flexivit_small")
    return saved(model, npz(flax(model, *BIG_VISION), folder / "flexivit_s.npz", "params/"))


def big_vision_bfloat16(folder: Path) -> Saved:
    """bfloat16, which numpy saves as two bytes without a name."""
    model, _ = plain("flexivit_small")
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().double()
    arrays = {name: torch.from_numpy(array).bfloat16() for name, array in flax(model, *BIG_VISION).items()}
    arrays = {name: array.view(torch.int16).numpy().view("V2") for name, array in arrays.items()}
    return saved(model, npz(arrays, folder / "flexivit_s.npz", "params/"))


def big_vision_siglip(folder: Path) -> Saved:
    model, _ = plain("vit_base_patch16_siglip_224")
    twin, _ = plain("vit_base_patch16_224")
    arrays = flax(twin, *BIG_VISION)
    del arrays["cls"]
    arrays["MAPHead_0/probe"] = np.ones((1, 1, 768))
    path = npz(arrays, folder / "webli_en_b16_224.npz", "params/img/")
    return saved(model, path, frozenset({"pooling by attention"}))


def timm_training(folder: Path) -> Saved:
    """A checkpoint of timm's training, which holds the average of the weights beside them."""
    model, weights = plain()
    content = {
        "epoch": 3,
        "arch": "vit",
        "state_dict": other(weights),
        "state_dict_ema": before("module.", weights),
    }
    return saved(model, pth(content, folder / "model_best.pth.tar"))


def deit_training(folder: Path) -> Saved:
    model, weights = plain()
    return saved(model, pth({"model": other(weights), "model_ema": weights}, folder / "checkpoint.pth"))


def lightning(folder: Path) -> Saved:
    model, weights = plain()
    content = {"epoch": 3, "global_step": 99, "state_dict": before("model._orig_mod.", weights), "loops": {}}
    return saved(model, pth(content, folder / "last.ckpt"))


PUBLISHERS: dict[str, Callable[[Path], Saved]] = {
    "DeiT": deit,
    "DeiT, distilled": deit_distilled,
    "DeiT III": deit3,
    "DINO": dino,
    "DINO, student and teacher": dino_full,
    "iBOT, student and teacher": ibot,
    "iBOT, teacher": ibot_teacher,
    "MoCo v3, ViT-S": moco_v3,
    "MAE": mae,
    "MAE with its decoder": mae_with_decoder,
    "MAE, fine-tuned": mae_fine_tuned,
    "DINOv2": dinov2,
    "DINOv2 with registers": dinov2_registers,
    "DINOv2 giant": dinov2_giant,
    "DINOv3": dinov3,
    "torchvision, as published": torchvision,
    "torchvision": torchvision_now,
    "torchvision, heads replaced": torchvision_heads,
    "OpenAI's CLIP": openai_clip,
    "open_clip": open_clip,
    "open_clip around timm": open_clip_around_timm,
    "Google's npz": google,
    "Google's npz, opt/target": google_target,
    "big_vision": big_vision,
    "big_vision in bfloat16": big_vision_bfloat16,
    "big_vision's SigLIP": big_vision_siglip,
    "timm's training, with an average": timm_training,
    "DeiT's training, with an average": deit_training,
    "Lightning, compiled": lightning,
}
