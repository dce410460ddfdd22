"""What the reader's own ``class MyViT`` of lesson 5 is held against: names, numbers, and digits read.

A class is asked for the parameters that a file of weights holds, then for the numbers that the package's ViT
gives with random weights, and last for the digits that it reads with the weights that ship.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_steps import classification, cls_token, encoder, patch_embedding, position_embedding
from vit_steps.data import load_digits_images
from vit_steps.lessons._verdict import (
    NOT_YET,
    WRITE_IT,
    Fault,
    Grade,
    check,
    find_fault,
    not_a_function,
    own_random_numbers,
    quote,
    raised,
    random_tensor,
    unfit,
    verdict,
)
from vit_steps.training import load_checkpoint
from vit_steps.vit import ViT

SIZES = ("image_size", "patch_size", "channels", "dim", "depth", "num_heads", "mlp_dim", "num_classes", "eps")
# Nothing is kind: not square, heads and depth of their own, every number another.
ODD = dict(zip(SIZES, ((6, 8), 2, 3, 24, 2, 3, 40, 7, 1e-6), strict=True))
STEPS = (patch_embedding, cls_token, position_embedding, encoder, classification)
YOURSELF = [
    *(
        each
        for step in STEPS
        for each in vars(step).values()
        if step.__name__ == getattr(each, "__module__", 0)
    ),
    *(F.scaled_dot_product_attention, F.multi_head_attention_forward),
]


@check
def check_my_vit(answer: Any) -> Grade:
    """Check a whole ViT, and let it read the test digits with the weights that ship.

    Args:
        answer: a class; called with ``SIZES`` in this order, it gives an nn.Module from images to logits
            whose parameters are named as the package's.
    """
    fault = _find_fault(answer)
    return verdict(fault, "" if fault else _read_digits(answer))


def _find_fault(answer: Any) -> str | None:
    with own_random_numbers():
        reference = _all_random(ViT(**ODD))
        model, fault = _build(answer, ODD)
    fault = fault or _find_misnamed(model, reference) or _find_eps(model)
    if fault:
        return fault
    model.load_state_dict(reference.state_dict())
    cases = {f"a batch of {batch}": (random_tensor(batch, 3, 6, 8),) for batch in (2, 1)}
    mistakes = {words: _mistaken(reference, change) for words, change in MY_VIT_MISTAKES.items()}
    fault = find_fault(model, reference, cases, mistakes, yourself=YOURSELF)
    if fault:
        return _find_unused(model, *cases["a batch of 2"]) or fault
    return _find_fixed(answer)


def _find_fixed(answer: Any) -> str | None:
    """Say what does not fit the weights that ship: a class may hold a number that it should be given."""
    shipped, images = load_checkpoint(), load_digits_images("test")[0][:2]
    with own_random_numbers():
        model, fault = _build(answer, {name: shipped.config[name] for name in SIZES})
    fault = fault or _find_misnamed(model, shipped)
    if not fault:
        model.load_state_dict(shipped.state_dict())
        fault = find_fault(model, shipped, {"two digits": (images,)}, {}, yourself=YOURSELF)
    sizes = "right for one model and not for the next: is a size written down that your class is given?"
    return Fault(f"{fault}; {sizes}", sizes) if fault else None


def _all_random(model: ViT) -> ViT:
    """A ViT in which no number is 0 or 1 by kindness."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def _build(answer: Any, sizes: dict) -> tuple[Any, str | None]:
    if not callable(answer):
        return None, not_a_function(answer)
    if isinstance(answer, nn.Module):
        return None, "wrong: give the class itself, without calling it"
    try:
        model = answer(*sizes.values())
    except Exception as error:
        kind = "class" if isinstance(answer, type) else "function"
        return None, Fault(f"wrong: your {kind} raises {quote(error)}", raised(error))
    if not isinstance(model, nn.Module):
        return None, unfit(model, "an nn.Module").args[0]
    if isinstance(model, ViT):
        return None, f"wrong: this is the package's ViT under another name: {WRITE_IT}"
    return model, None


def _find_misnamed(model: nn.Module, reference: ViT) -> str | None:
    found, wanted = model.state_dict(), reference.state_dict()
    if not found:
        return Fault("not yet: your ViT has no parameters", NOT_YET)
    for name, tensor in wanted.items():
        if name not in found:
            return f"wrong: {name} is missing; {_reason(name, model, found)}"
        if found[name].shape != tensor.shape:
            return f"wrong: {name} has the shape {tuple(found[name].shape)}, wanted {tuple(tensor.shape)}"
    left = next((name for name in found if name not in wanted), None)
    why = f" (depth is {len(reference.blocks)} here)" if left and left.startswith("blocks.") else ""
    return f"wrong: your ViT has {left}, which the file has not{why}" if left else None


def _reason(name: str, model: nn.Module, found: dict) -> str:
    first, _, rest = name.partition(".")
    if isinstance(getattr(model, first, None), (list, tuple, dict)):
        return f"what lies in a Python list is not seen: make self.{first} an nn.ModuleList"
    if isinstance(getattr(model, first, None), Tensor):
        return f"a tensor does not learn: make self.{first} an nn.Parameter"
    if ".qkv." in name and any(".attn." in other for other in found):
        return "query, key and value are one matrix with 3 · dim rows"
    same_end = next((other for other in found if other.endswith(name.rpartition(".")[0] + ".weight")), None)
    return f"the nearest is {same_end}" if same_end and rest else "the file holds a tensor of this name"


def _find_eps(model: nn.Module) -> str | None:
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm) and module.eps != ODD["eps"]:
            return f"wrong: {name} has eps {module.eps:g}, these weights were trained with {ODD['eps']:g}"
    return None


def _find_unused(model: nn.Module, image: Tensor) -> str | None:
    """Name a parameter on which the answer does not hang."""
    try:
        model(image).sum().backward()
    except Exception:
        return None
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    return f"wrong: {unused[0]} is never used" if unused else None


def _read_digits(answer: Callable) -> str:
    shipped = load_checkpoint()
    with own_random_numbers():
        model = answer(*(shipped.config[name] for name in SIZES))
    model.load_state_dict(shipped.state_dict())
    images, labels = load_digits_images("test")
    with torch.inference_mode():
        right, theirs = (int((each(images).argmax(1) == labels).sum()) for each in (model.eval(), shipped))
    share = f"{right} of {len(labels)} test digits ({right / len(labels):.1%})"
    return f"with the shipped weights your ViT reads {share}, the package's {theirs}"


# The usual mistakes, each made in a copy of the package's ViT


def _mistaken(model: ViT, change: Callable[[ViT], Callable | None]) -> Callable:
    copy = deepcopy(model)
    return change(copy) or copy


class _Block(nn.Module):
    """A block with a piece of its own in place of one of the usual pieces."""

    def __init__(self, block: nn.Module, **own: Callable):
        super().__init__()
        self.block, self.heads = block, block.attn.num_heads
        pieces = {"add": _add, "cut": _cut, "weigh": _weigh, "merge": _merge} | own
        self.add, self.cut, self.weigh, self.merge = pieces.values()

    def forward(self, tokens: Tensor, **_) -> Tensor:
        tokens = self.add(tokens, self.attend, self.block.norm1)
        return self.add(tokens, self.block.mlp, self.block.norm2)

    def attend(self, tokens: Tensor) -> Tensor:
        query, key, value = self.cut(self.block.attn.qkv(tokens), self.heads)
        weights = self.weigh(query @ key.mT, query.shape[-1], self.heads)
        return self.block.attn.proj(self.merge(weights @ value))


def _add(tokens: Tensor, part: Callable, norm: Callable) -> Tensor:
    return tokens + part(norm(tokens))


def _cut(qkv: Tensor, heads: int) -> Tensor:
    return qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)


def _weigh(scores: Tensor, head_dim: int, heads: int) -> Tensor:
    return (scores / head_dim**0.5).softmax(dim=-1)


def _merge(heads: Tensor) -> Tensor:
    return heads.transpose(1, 2).flatten(2)


def _blocks(**own: Callable) -> Callable[[ViT], None]:
    def change(model: ViT) -> None:
        model.blocks = nn.ModuleList(_Block(block, **own) for block in model.blocks)

    return change


def _heads(number: int) -> Callable[[ViT], None]:
    def change(model: ViT) -> None:
        for block in model.blocks:
            block.attn.num_heads = number

    return change


def _act(act: nn.Module) -> Callable[[ViT], None]:
    def change(model: ViT) -> None:
        for block in model.blocks:
            block.mlp.act = act

    return change


def _cut_without_transpose(qkv: Tensor, heads: int) -> list[Tensor]:
    batch, tokens, _ = qkv.shape
    return [part.reshape(batch, heads, tokens, -1) for part in qkv.chunk(3, dim=2)]


def _after(change: Callable) -> Callable[[ViT], Callable]:
    return lambda model: lambda image: change(model(image))


class _Laid(nn.Module):
    """Patches laid out in a way of its own, B D rows cols -> B N D."""

    def __init__(self, embed: nn.Module, lay: Callable):
        super().__init__()
        self.embed, self.lay = embed, lay

    def forward(self, image: Tensor) -> Tensor:
        return self.lay(self.embed.proj(image))


def _lay(lay: Callable) -> Callable[[ViT], None]:
    def change(model: ViT) -> None:
        model.patch_embed = _Laid(model.patch_embed, lay)

    return change


def _add_but(*, mlp: bool) -> Callable:
    """Add what one of the two gives, and let the other replace the tokens."""

    def add(tokens: Tensor, part: Callable, norm: Callable) -> Tensor:
        return part(norm(tokens)) if isinstance(part, nn.Module) == mlp else _add(tokens, part, norm)

    return add


def _cls_last(place: int) -> Callable[[ViT], Callable]:
    def change(model: ViT) -> Callable:
        def forward(image: Tensor) -> Tensor:
            cls_token = model.cls_token.expand(len(image), -1, -1)
            tokens = torch.cat([model.patch_embed(image), cls_token], dim=1) + model.pos_embed
            return model.head(model.norm(nn.Sequential(*model.blocks)(tokens))[:, place])

        return forward

    return change


def _read_last(model: ViT) -> Callable:
    return lambda image: model.head(model.norm(model.trace(image).encoded[:, -1]))


def _cls_without_position(model: ViT) -> None:
    model.pos_embed.data[:, 0] = 0


MY_VIT_MISTAKES = {
    "your blocks do not divide the scores by the root of head_dim": _blocks(
        weigh=lambda scores, head_dim, heads: scores.softmax(-1)
    ),
    "you divide the scores by the root of dim; it is the root of head_dim": _blocks(
        weigh=lambda scores, head_dim, heads: _weigh(scores, head_dim * heads, heads)
    ),
    **{
        f"your scores are divided by {root}, whatever head_dim is: take the root of the one you are given": (
            _blocks(weigh=lambda scores, head_dim, heads, root=root: (scores / root).softmax(-1))
        )
        for root in (4, 8)  # of the model that ships: the root of its head_dim, and of its dim
    },
    **{
        f"your attention has {number} {'head' if number == 1 else 'heads'}, and was given num_heads "
        f"{ODD['num_heads']}: is the number written down somewhere?": _heads(number)
        for number in (1, 2, 4, 6, 8, 12, 24)  # what else divides dim
    },
    "your softmax runs over the queries; each row, one query, must sum to 1 over the keys": _blocks(
        weigh=lambda scores, head_dim, heads: (scores / head_dim**0.5).softmax(-2)
    ),
    "there is no softmax in your attention": _blocks(
        weigh=lambda scores, head_dim, heads: scores / head_dim**0.5
    ),
    "you cut the heads by a reshape alone: cut the last axis, then move the heads before the tokens": _blocks(
        cut=_cut_without_transpose
    ),
    "you cut the heads first and query, key, value second; it is the other way round": _blocks(
        cut=lambda qkv, heads: qkv.unflatten(2, (heads, 3, -1)).permute(3, 0, 2, 1, 4)
    ),
    "you take query, key and value in another order: the key is asked, and the query answers": _blocks(
        weigh=lambda scores, head_dim, heads: _weigh(scores.mT, head_dim, heads)
    ),
    "you take query, key and value in another order: averaged are the values, the last third": _blocks(
        cut=lambda qkv, heads: _cut(qkv, heads)[[0, 2, 1]]
    ),
    "you merge the heads by a reshape alone: move the heads behind the tokens first": _blocks(
        merge=lambda heads: heads.reshape(heads.shape[0], heads.shape[2], -1)
    ),
    "your blocks add nothing: what attention and MLP give must be added to the tokens": _blocks(
        add=lambda tokens, part, norm: part(norm(tokens))
    ),
    "what your attention gives replaces the tokens; it must be added to them": _blocks(
        add=_add_but(mlp=False)
    ),
    "what your MLP gives replaces the tokens; it must be added to them": _blocks(add=_add_but(mlp=True)),
    "your norms come after the sum, as in 2017; a ViT norms what goes into attention and MLP": _blocks(
        add=lambda tokens, part, norm: norm(tokens + part(tokens))
    ),
    "you add to the normed tokens; what is added to are the tokens before the norm": _blocks(
        add=lambda tokens, part, norm: norm(tokens) + part(norm(tokens))
    ),
    "there is no GELU between the two matrices of your MLP": _act(nn.Identity()),
    "your MLP has a ReLU; a ViT's has a GELU": _act(nn.ReLU()),
    "your GELU is the one approximated by tanh; these weights were trained with the exact one": _act(
        nn.GELU(approximate="tanh")
    ),
    "your head reads the mean of the patches; these weights were trained to read the CLS token": (
        lambda model: setattr(model, "pool", "mean")
    ),
    "your head reads the last patch; these weights were trained to read the CLS token, which comes first": (
        _read_last
    ),
    "your CLS token comes last; it comes first, and the first row of pos_embed is its own": _cls_last(-1),
    "your CLS token comes last, and your head reads a patch; it comes first": _cls_last(0),
    "your CLS token gets no position; row 0 of pos_embed is its own": _cls_without_position,
    "your patches run column by column; they must run row by row": _lay(lambda grid: grid.mT.flatten(2).mT),
    "you lay out the patches by a reshape alone: flatten the grid, then put D last": _lay(
        lambda grid: grid.reshape(len(grid), -1, grid.shape[1])
    ),
    "these are probabilities; logits are what comes before the softmax": _after(
        lambda logits: logits.softmax(-1)
    ),
    "these are classes; logits are one score for each class": _after(lambda logits: logits.argmax(-1)),
}
