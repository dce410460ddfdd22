"""The five steps, the model and the attention maps."""

import torch

import vit_steps
from hostile.trial import Row
from vit_steps import ViT, encoder
from vit_steps.looking import attention_maps

MODEL = dict(
    image_size=(4, 6), patch_size=2, channels=3, dim=8, depth=2, num_heads=2, mlp_dim=8, num_classes=3
)
KIND = dict(num_registers=1, class_token=True, pre_norm=True)


def same(tokens):
    return tokens


def three_times(tokens):
    return torch.cat([tokens, tokens, tokens], dim=-1)


def twice(tokens):
    return torch.cat([tokens, tokens], dim=-1)


def attend(tokens):
    return tokens, None


def attend_with_one(tokens):
    return tokens[:, :1], None


def corner(images):
    return images[:, 0, :1, :3].flatten(1)


def image():
    return torch.rand(2, 3, 4, 6) + 0.5


def tokens():
    return torch.rand(2, 7, 8) + 0.5


def attention():
    return torch.randn(2, 3, 4, 7, 7).softmax(dim=-1)


def build_vit(**sizes):
    return ViT(**sizes)


def forward(image):
    return ViT(**MODEL)(image)


def trace(image):
    return ViT(**MODEL).trace(image)


TORSO = dict(norm1=same, attn=attend, norm2=same, mlp=same)
ORDER = torch.tensor([[5, 0, 3, 1, 2, 4], [2, 4, 1, 0, 5, 3]])
# Each function with arguments that are right, made afresh for every call.
CALLS = {
    "image2patches": lambda: dict(image=image(), patch_size=2),
    "patches2image": lambda: dict(patches=torch.rand(2, 6, 12), patch_size=2, image_size=(4, 6)),
    "weight2kernel": lambda: dict(weight=torch.rand(12, 5), channels=3, patch_size=2),
    "kernel2weight": lambda: dict(kernel=torch.rand(5, 3, 2, 2)),
    "image2emb_naive": lambda: dict(image=image(), patch_size=2, weight=torch.rand(12, 5)),
    "image2emb_conv": lambda: dict(image=image(), kernel=torch.rand(5, 3, 2, 2), stride=2),
    "resize_kernel": lambda: dict(kernel=torch.rand(5, 3, 2, 2), patch_size=3),
    "map2emb": lambda: dict(feature_map=torch.rand(2, 5, 2, 3)),
    "prepend_cls": lambda: dict(tokens=tokens(), cls_token=torch.rand(1, 1, 8)),
    "prepend_registers": lambda: dict(tokens=tokens(), registers=torch.rand(1, 3, 8)),
    "split_cls": lambda: dict(tokens=tokens()),
    "add_position": lambda: dict(tokens=tokens(), table=torch.rand(9, 8)),
    "sincos_position": lambda: dict(grid=(2, 3), dim=8, temperature=100.0),
    "resize_position": lambda: dict(
        table=torch.rand(7, 8), old_grid=(2, 3), new_grid=(3, 4), num_prefix=1, like="Google"
    ),
    "position_similarity": lambda: dict(table=torch.rand(7, 8)),
    "patch_places": lambda: dict(grid=(2, 3)),
    "rotary_angles": lambda: dict(places=torch.rand(6, 2), head_dim=8, temperature=30.0),
    "rotate": lambda: dict(heads=torch.rand(2, 4, 7, 8), angles=torch.rand(6, 4)),
    "split_heads": lambda: dict(tokens=tokens(), num_heads=2),
    "merge_heads": lambda: dict(heads=torch.rand(2, 4, 5, 2)),
    "attention_weights": lambda: dict(query=torch.rand(2, 4, 5, 2), key=torch.rand(2, 4, 7, 2)),
    "self_attention": lambda: dict(tokens=tokens(), qkv=three_times, proj=same, num_heads=2),
    "fused_attention": lambda: dict(tokens=tokens(), qkv=three_times, proj=same, num_heads=2, num_queries=1),
    "cross_attention": lambda: dict(
        queries=torch.rand(2, 3, 8), tokens=tokens(), q=same, kv=twice, proj=same, num_heads=2
    ),
    "encoder_block": lambda: dict(tokens=tokens(), **TORSO),
    "cls_block": lambda: dict(tokens=tokens(), norm1=same, attn=attend_with_one, norm2=same, mlp=same),
    "pool_cls": lambda: dict(tokens=tokens()),
    "pool_mean": lambda: dict(tokens=tokens(), num_prefix=2),
    "pool_first": lambda: dict(tokens=tokens(), num_tokens=2),
    "pool_cls_and_mean": lambda: dict(tokens=tokens(), num_prefix=2),
    "classify": lambda: dict(tokens=tokens(), norm=same, head=same),
    "top_k": lambda: dict(logits=torch.rand(4), labels=list("abcd"), k=2),
    "cls_attention": lambda: dict(attention=attention(), grid=(2, 3), layer=1, head=2, num_prefix=1),
    "attention_rollout": lambda: dict(attention=attention()),
    "mean_attention_distance": lambda: dict(attention=attention(), grid=(2, 3), patch_size=2, num_prefix=1),
    "attention_entropy": lambda: dict(attention=attention()),
    "kernel_components": lambda: dict(kernel=torch.rand(5, 3, 2, 2), num_components=3),
    "deletion_curve": lambda: dict(
        model=corner, images=image(), labels=torch.tensor([0, 2]), order=ORDER.clone()
    ),
    "build_vit": lambda: dict(MODEL | KIND),
    "forward": lambda: dict(image=image()),
    "trace": lambda: dict(image=image()),
}
LOCAL = dict(build_vit=build_vit, forward=forward, trace=trace)


def function_called(name):
    return (
        LOCAL.get(name)
        or getattr(encoder, name, None)
        or getattr(vit_steps, name, None)
        or getattr(attention_maps, name)
    )


def full_name(name):
    if name in LOCAL:
        return {"build_vit": "vit.ViT", "forward": "vit.ViT.forward", "trace": "vit.ViT.trace"}[name]
    return f"{function_called(name).__module__.removeprefix('vit_steps.')}.{name}"


# What is fine after all, and why.
READS_ONE = "reads the CLS token alone"
FINE = {
    "pool_cls": {"tokens": {"one NaN": READS_ONE}},
    "classify": {"tokens": {"one NaN": READS_ONE}},
    "cls_block": {"tokens": {"one NaN": READS_ONE}},
    "add_position": {"table": {"one NaN": "of a row that is not used"}},
    "cls_attention": {
        "attention": {"one NaN": "of a token that is not CLS"},
        "layer": {"0": "the first", "-1": "the last"},
        "head": {"0": "the first", "-1": "the last", "None": "the mean"},
    },
    "sincos_position": {"grid": {"(5, 7)": "another size"}},
    "resize_position": {"new_grid": {"(5, 7)": "another size"}},
    "patch_places": {"grid": {"(5, 7)": "another size"}},
    "fused_attention": {"num_queries": {"None": "all ask"}},
    "pool_first": {"tokens": {"one NaN": "in a token that is not read"}},
    "pool_mean": {"num_prefix": {"0": "every token counts"}},
    "build_vit": {"num_classes": {"0": "no head"}, "num_registers": {"0": "none"}},
    "top_k": {
        "logits": {"an axis too many": "(1, classes) is the logits of one image"},
        "labels": {"numbers": "given back as they are"},
    },
}
NAMES = {
    "prepend_cls": {"tokens": "cls_token has shape"},
    "self_attention": {"tokens": "head_dim"},
    "image2emb_naive": {"image": "channels"},
    "kernel_components": {"kernel": "patch_dim is"},
    "deletion_curve": {"images": "image"},
}
ROWS = {
    full_name(name): Row(
        function_called(name),
        make,
        fine=FINE.get(name, {}),
        names=NAMES.get(name, {}),
    )
    for name, make in CALLS.items()
}
