"""Whole ViTs as they come out of readers' hands: one that is right, and those that are not."""

import torch
import torch.nn.functional as F
from torch import nn

from vit_steps import ViT, prepend_cls
from vit_steps.layers import Block


class Dot(nn.Module):
    """Parts by name."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Mine(nn.Module):
    """Written with einsum, from the paper."""

    eps_of = staticmethod(lambda eps: eps)
    act = staticmethod(F.gelu)

    def __init__(self, image_size, patch_size, channels, dim, depth, num_heads, mlp_dim, num_classes, eps):
        super().__init__()
        self.heads, self.eps = num_heads, self.eps_of(eps)
        height, width = image_size
        self.patch_embed = Dot(proj=nn.Conv2d(channels, dim, patch_size, stride=patch_size))
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + height * width // patch_size**2, dim))
        self.blocks = nn.ModuleList(self.block(dim, mlp_dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, self.eps)
        self.head = nn.Linear(dim, num_classes)

    def block(self, dim, mlp_dim):
        return Dot(
            norm1=nn.LayerNorm(dim, self.eps),
            attn=Dot(qkv=nn.Linear(dim, 3 * dim), proj=nn.Linear(dim, dim)),
            norm2=nn.LayerNorm(dim, self.eps),
            mlp=Dot(fc1=nn.Linear(dim, mlp_dim), fc2=nn.Linear(mlp_dim, dim)),
        )

    def embed(self, image):
        return torch.einsum("bdrc->brcd", self.patch_embed.proj(image)).flatten(1, 2)

    def join(self, patches):
        return torch.cat([self.cls_token.repeat(len(patches), 1, 1), patches], dim=1)

    def forward(self, image):
        tokens = self.pos_embed + self.join(self.embed(image))
        for block in self.blocks:
            tokens = self.run(block, tokens)
        return self.answer(tokens)

    def run(self, block, tokens):
        tokens = self.look(block, block.norm1(tokens)) + tokens
        return self.think(block, block.norm2(tokens)) + tokens

    def think(self, block, tokens):
        return block.mlp.fc2(self.act(block.mlp.fc1(tokens)))

    def answer(self, tokens):
        return self.head(self.norm(tokens[:, 0]))

    def cut(self, part):
        return part.unflatten(2, (self.heads, -1))

    def weigh(self, scores, query):
        return (scores * query.shape[3] ** -0.5).softmax(dim=3)

    def look(self, block, tokens):
        query, key, value = (self.cut(part) for part in block.attn.qkv(tokens).chunk(3, dim=2))
        weights = self.weigh(torch.einsum("bqhd,bkhd->bhqk", query, key), query)
        return block.attn.proj(torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2))


def but(**changes):
    """The right one, but for these methods."""
    return type("MyViT", (Mine,), changes)


def with_parts(change):
    """The right one, whose parts are changed after they are made."""

    def __init__(self, *sizes):
        Mine.__init__(self, *sizes)
        change(self)

    return but(__init__=__init__)


def blocks_in_a_list(model):
    blocks = list(model.blocks)
    del model.blocks
    model.blocks = blocks


def plain_tensor(model):
    cls_token = model.cls_token.detach()
    del model.cls_token
    model.cls_token = cls_token


def three_matrices(model):
    for block in model.blocks:
        dim = block.attn.proj.in_features
        block.attn = Dot(**{name: nn.Linear(dim, dim) for name in ("query", "key", "value", "proj")})


def with_the_packages_block(self, *sizes):
    Mine.__init__(self, *sizes)
    self.blocks = nn.ModuleList(Block(*sizes[3:4], *sizes[5:7], sizes[8]) for _ in self.blocks)


def cls_last(self, patches):
    return torch.cat([patches, self.cls_token.repeat(len(patches), 1, 1)], dim=1)


def attention_replaces(self, block, tokens):
    tokens = self.look(block, block.norm1(tokens))
    return self.think(block, block.norm2(tokens)) + tokens


def values_and_keys_exchanged(self, block, tokens):
    query, value, key = (self.cut(part) for part in block.attn.qkv(tokens).chunk(3, dim=2))
    weights = self.weigh(torch.einsum("bqhd,bkhd->bhqk", query, key), query)
    return block.attn.proj(torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2))


WRONG_VITS = [
    (
        lambda *sizes: ViT(**dict(zip(NAMES, sizes, strict=True))),
        "the package's ViT under another name: write it",
    ),
    (
        but(join=lambda self, patches: prepend_cls(patches, self.cls_token)),
        "calls prepend_cls: write it yourself",
    ),
    (
        but(__init__=with_the_packages_block, run=lambda self, block, tokens: block(tokens)),
        "write it yourself",
    ),
    (
        but(weigh=lambda self, scores, query: F.scaled_dot_product_attention(scores, scores, scores)),
        "write it yourself",
    ),
    (
        with_parts(blocks_in_a_list),
        "blocks.0.norm1.weight is missing; what lies in a Python list is not seen",
    ),
    (with_parts(plain_tensor), "cls_token is missing; a tensor does not learn"),
    (with_parts(three_matrices), "query, key and value are one matrix"),
    (
        with_parts(lambda model: setattr(model, "head", nn.Linear(5, 7))),
        "head.weight has the shape (7, 5), wanted (7, 24)",
    ),
    (
        with_parts(lambda model: setattr(model, "extra", nn.Linear(2, 2))),
        "your ViT has extra.weight, which the file has not",
    ),
    (
        but(eps_of=staticmethod(lambda eps: 1e-5)),
        "blocks.0.norm1 has eps 1e-05, these weights were trained with",
    ),
    (
        but(run=lambda self, block, tokens: self.look(block, block.norm1(tokens)) + tokens),
        "blocks.0.norm2.weight is never used",
    ),
    (but(answer=lambda self, tokens: self.head(tokens[:, 0])), "norm.weight is never used"),
    (
        but(answer=lambda self, tokens: self.head(self.norm(tokens)[:, 1:].mean(1))),
        "your head reads the mean of the patches",
    ),
    (but(answer=lambda self, tokens: Mine.answer(self, tokens).softmax(1)), "these are probabilities"),
    (
        but(answer=lambda self, tokens: self.head(self.norm(tokens))),
        "your shape is (2, 13, 7), wanted (2, 7)",
    ),
    (
        but(join=cls_last, answer=lambda self, tokens: self.head(self.norm(tokens[:, -1]))),
        "your CLS token comes last; it comes first",
    ),
    (but(act=staticmethod(torch.relu)), "your MLP has a ReLU"),
    (but(act=staticmethod(lambda hidden: F.gelu(hidden, approximate="tanh"))), "approximated by tanh"),
    (
        but(weigh=lambda self, scores, query: scores.softmax(3)),
        "do not divide the scores by the root of head_dim",
    ),
    (
        but(
            weigh=lambda self, scores, query: (scores * (query.shape[2] * query.shape[3]) ** -0.5).softmax(3)
        ),
        "by the root of dim",
    ),
    (
        but(weigh=lambda self, scores, query: (scores * query.shape[3] ** -0.5).softmax(2)),
        "your softmax runs over the queries",
    ),
    (
        but(cut=lambda self, part: part.reshape(len(part), self.heads, part.shape[1], -1).transpose(1, 2)),
        "you cut the heads by a reshape alone",
    ),
    (
        but(embed=lambda self, image: self.patch_embed.proj(image).mT.flatten(2).mT),
        "your patches run column by column",
    ),
    (
        but(
            run=lambda self, block, tokens: self.think(
                block, block.norm2(self.look(block, block.norm1(tokens)))
            )
        ),
        "your blocks add nothing",
    ),
    (
        but(
            run=lambda self, block, tokens: self.think(
                block, block.norm2(tokens + self.look(block, block.norm1(tokens)))
            )
        ),
        "what your MLP gives replaces the tokens",
    ),
    (but(run=attention_replaces), "what your attention gives replaces the tokens"),
    (
        but(
            embed=lambda self, image: self.patch_embed.proj(image).reshape(
                len(image), -1, self.cls_token.shape[2]
            )
        ),
        "you lay out the patches by a reshape alone",
    ),
    (
        but(answer=lambda self, tokens: self.head(self.norm(tokens)[:, -1])),
        "your head reads the last patch",
    ),
    (but(look=values_and_keys_exchanged), "averaged are the values, the last third"),
    *(
        (
            lambda *sizes, number=number: Mine(*sizes[:5], number, *sizes[6:]),
            f"your attention has {number} head{'s' * (number > 1)}, and was given num_heads 3: is the number",
        )
        for number in (1, 2, 4, 6, 8, 12, 24)
    ),
    *(
        (
            but(weigh=lambda self, scores, query, root=root: (scores / root).softmax(3)),
            f"your scores are divided by {root}, whatever head_dim is",
        )
        for root in (4, 8)
    ),
    (
        lambda *sizes: Mine(*sizes[:4], 4, *sizes[5:]),
        "your ViT has blocks.2.norm1.weight, which the file has not (depth is 2 here)",
    ),
    (
        lambda *sizes: Mine(*sizes[:2], 3, *sizes[3:]),
        "has the shape (64, 3, 2, 2), wanted (64, 1, 2, 2); right for one model and not for the next",
    ),
    (
        lambda *sizes: Mine(*sizes[:5], 3, *sizes[6:]),
        "(two digits); right for one model and not for the next",
    ),
    (but(forward=lambda self, image: self.answer(self.join(self.embed(image)))), "pos_embed is never used"),
    (but(forward=lambda self, image: 1 / 0), "your function raises ZeroDivisionError"),
]
NAMES = ("image_size", "patch_size", "channels", "dim", "depth", "num_heads", "mlp_dim", "num_classes", "eps")
