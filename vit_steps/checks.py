"""The checks behind the exercises: each says what is wrong with an answer, and not only that it is.

Every check takes the reader's function, prints one line and returns whether the answer is right. No answer
makes a check raise. A mistake is recognised by what it gives: the answer is held against the right one and
against those that come of the usual mistakes, on inputs that are random, not square and more than one image.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_steps.classification import classify, pool_cls, pool_mean
from vit_steps.encoder import attention_weights, merge_heads, self_attention, split_heads
from vit_steps.patch_embedding import image2emb_conv, image2patches, patches2image
from vit_steps.position_embedding import position_similarity

TOLERANCE = 1e-5  # float32 rounds below it, and no mistake hides below it
LONGEST_MESSAGE = 120


# Lesson 1: patch embedding


def check_patches2image(answer: Any) -> bool:
    """Check the inverse of ``image2patches``.

    Args:
        answer: function (patches, patch_size, (height, width)) -> image, B N P -> B C H W.
    """
    cases = {}
    for channels, height, width, patch_size in ((3, 8, 8, 4), (3, 8, 12, 4), (1, 15, 10, 5)):
        patches = image2patches(_random(2, channels, height, width), patch_size)
        label = f"2 images of {channels} × {height} × {width}, patch_size {patch_size}"
        cases[label] = (patches, patch_size, (height, width))
    fault = _find_fault(answer, patches2image, cases, PATCHES2IMAGE_MISTAKES)
    return _tell(fault, "the images come back, of three sizes, with 3 channels and with 1")


def _lay(layout: str, order: str) -> Callable:
    """Lay patches out as an image, reading their numbers as ``layout`` and moving the axes to ``order``."""

    def patches2image(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> Tensor:
        (height, width), channels = image_size, patches.shape[2] // patch_size**2
        sizes = {"B": len(patches), "C": channels, "y": patch_size, "x": patch_size}  # y, x: inside a patch
        sizes |= {"r": height // patch_size, "c": width // patch_size}
        blocks = patches.reshape([sizes[axis] for axis in layout])
        moved = blocks.permute([layout.index(axis) for axis in order])
        return moved.reshape(len(patches), channels, height, width)

    return patches2image


def _lay_on_square(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> Tensor:
    side = math.isqrt(patches.shape[1]) * patch_size
    return patches2image(patches, patch_size, (side, side))


PATCHES2IMAGE_MISTAKES = {
    "you reshape and move no axis, so that a patch fills whole rows of the image": _lay("BrcCyx", "BrcCyx"),
    "you reshape after (channels, rows, cols, row, col): the row inside a patch must come right after the "
    "row of patches": _lay("BrcCyx", "BCrcyx"),
    "you put the patches down the columns; they come in reading order, row by row": _lay("BcrCyx", "BCrycx"),
    "inside each patch, rows and columns are swapped": _lay("BrcCyx", "BCrxcy"),
    "you read a patch as (row, col, channel); it is (channel, row, col)": _lay("BrcyxC", "BCrycx"),
    "your channels come last; the axes of an image are (batch, channels, height, width)": (
        lambda patches, size, image_size: patches2image(patches, size, image_size).permute(0, 2, 3, 1)
    ),
    "you take image_size for (width, height); it is (height, width)": (
        lambda patches, size, image_size: patches2image(patches, size, image_size[::-1])
    ),
    "you take the image for square; image_size tells how many rows and columns of patches there are": (
        _lay_on_square
    ),
    "you take it for granted that an image has 3 channels; their number is P / patch_size²": (
        lambda patches, size, image_size: _lay("BrcCyx", "BCrycx")(
            patches.reshape(*patches.shape[:2], 3 * size**2), size, image_size
        )
    ),
}


def check_weight_rows(answer: Any) -> bool:
    """Check the order of the rows of ``weight`` for patches that are flattened (row, col, channel).

    Args:
        answer: function (channels, patch_size) -> rows, so that ``weight[rows]`` fits the other order.
    """
    sizes = ((3, 4), (2, 3), (1, 2))
    cases = {f"channels {channels}, patch_size {size}": (channels, size) for channels, size in sizes}
    fault = _find_fault(answer, _number("Cyx", "yxC"), cases, WEIGHT_ROWS_MISTAKES)
    return _tell(fault, "every row is where the other order needs it, for three sizes of patches")


def _number(layout: str, order: str) -> Callable:
    """Number the places of a patch along ``layout``, and read the numbers along ``order``."""

    def rows(channels: int, patch_size: int) -> Tensor:
        sizes = {"C": channels, "y": patch_size, "x": patch_size}
        numbers = torch.arange(channels * patch_size**2).reshape([sizes[axis] for axis in layout])
        return numbers.permute([layout.index(axis) for axis in order]).flatten()

    return rows


WEIGHT_ROWS_MISTAKES = {
    "this is the inverse permutation: entry i must say which of our rows belongs to their place i": (
        _number("yxC", "Cyx")
    ),
    "you leave the rows as they are": _number("Cyx", "Cyx"),
    "your order is (col, row, channel); the library's is (row, col, channel)": _number("Cyx", "xyC"),
    "your order is (channel, col, row); the library's is (row, col, channel)": _number("Cyx", "Cxy"),
    "you count from 1; rows are counted from 0": (
        lambda channels, patch_size: _number("Cyx", "yxC")(channels, patch_size) + 1
    ),
}


def check_overlap(answer: Any) -> bool:
    """Check how many patches overlap, and where.

    Args:
        answer: function ((height, width), patch_size, stride) -> (number of patches, columns of pixels that
            the first two patches share).
    """
    sizes = (((8, 8), 4, 2), ((10, 14), 4, 2), ((9, 17), 5, 4), ((8, 12), 4, 4), ((7, 11), 3, 1))
    cases = {
        f"{size[0]} × {size[1]} pixels, patch_size {patch}, stride {stride}": (size, patch, stride)
        for size, patch, stride in sizes
    }
    fault = _find_fault(_part(answer, 0), _part(_overlap, 0), cases, OVERLAP_COUNT_MISTAKES)
    fault = fault or _find_fault(_part(answer, 1), _part(_overlap, 1), cases, OVERLAP_SHARED_MISTAKES)
    return _tell(fault, "what image2emb_conv gives, and the pixels that it reads, for five sizes")


@torch.enable_grad()
def _overlap(image_size: tuple[int, int], patch_size: int, stride: int) -> tuple[int, list[int]]:
    """Count what ``image2emb_conv`` gives, and ask the gradient which pixels it read."""
    image = torch.ones(1, 1, *image_size, requires_grad=True)
    tokens = image2emb_conv(image, torch.ones(1, 1, patch_size, patch_size), stride)[0, :, 0]
    first, second = (torch.autograd.grad(tokens[n], image, retain_graph=True)[0] > 0 for n in (0, 1))
    return len(tokens), (first & second)[0, 0, 0].nonzero()[:, 0].tolist()


def _part(function: Any, index: int) -> Any:
    if not callable(function):
        return function

    def part(*arguments: Any) -> Any:
        result = function(*arguments)
        if result is None:
            return None
        if not isinstance(result, tuple) or len(result) != 2:
            raise _unfit(result, "a pair (number of patches, shared columns)")
        return result[index]

    return part


OVERLAP_COUNT_MISTAKES = {
    "you forget the first patch: there is one more than there are steps": (
        lambda size, patch, stride: (size[0] - patch) // stride * ((size[1] - patch) // stride)
    ),
    "you add the first patch once; each side has one more than it has steps": (
        lambda size, patch, stride: (size[0] - patch) // stride * ((size[1] - patch) // stride) + 1
    ),
    "you count as many patches as strides fit into a side, but the last patches would stick out": (
        lambda size, patch, stride: size[0] // stride * (size[1] // stride)
    ),
    "you count patches that do not overlap: the step is stride, not patch_size": (
        lambda size, patch, stride: size[0] // patch * (size[1] // patch)
    ),
    "you take the image for square": (lambda size, patch, stride: ((size[0] - patch) // stride + 1) ** 2),
    "you count one row of patches, not all of them": (
        lambda size, patch, stride: (size[1] - patch) // stride + 1
    ),
}
OVERLAP_SHARED_MISTAKES = {
    "as many columns as they share, but not these: the second patch begins at column `stride`": (
        lambda size, patch, stride: range(patch - stride)
    ),
    "one column too many: column `patch_size` is behind the first patch": (
        lambda size, patch, stride: range(stride, patch + 1)
    ),
    "these are the columns that the two patches do not share": lambda size, patch, stride: range(stride),
    "this is how many columns they share; say which": lambda size, patch, stride: patch - stride,
}


# Lesson 2: CLS token


def check_registers(answer: Any) -> bool:
    """Check a sequence with registers (Darcet et al., arXiv 2309.16588).

    Args:
        answer: function (patches, cls_token, registers) -> tokens: CLS, then the registers, then the patches.
    """
    cases = {
        f"a batch of {batch}": (_random(batch, 6, 8), _random(1, 1, 8, seed=1), _random(1, 4, 8, seed=2))
        for batch in (1, 3)
    }
    fault = _find_fault(answer, _sequence("cls", "registers", "patches"), cases, REGISTERS_MISTAKES)
    return _tell(fault, "CLS, four registers, six patches, for one image and for three")


def _sequence(*order: str, expand: bool = True) -> Callable:
    def add_registers(patches: Tensor, cls_token: Tensor, registers: Tensor) -> Tensor:
        parts = {"patches": patches, "cls": cls_token, "registers": registers}
        parts |= {"one register": registers[:, :1].expand(-1, 4, -1)}
        batch = len(patches) if expand else -1
        return torch.cat([parts[name].expand(batch, -1, -1) for name in order], dim=1)

    return add_registers


REGISTERS_MISTAKES = {
    "cls_token and registers hold one image's worth, and the batch has more: expand them": (
        _sequence("cls", "registers", "patches", expand=False)
    ),
    "the registers stand before the CLS token, and tokens[:, 0] reads a register": (
        _sequence("registers", "cls", "patches")
    ),
    "the registers stand behind the patches; they belong right behind the CLS token": (
        _sequence("cls", "patches", "registers")
    ),
    "the registers are missing": _sequence("cls", "patches"),
    "the CLS token is missing": _sequence("registers", "patches"),
    "the patches are missing": _sequence("cls", "registers"),
    "your four registers are one and the same; each has a vector of its own": (
        _sequence("cls", "one register", "patches")
    ),
}


def check_pool_patches(answer: Any) -> bool:
    """Check the mean of the patches behind a prefix of tokens that have no patch.

    Args:
        answer: function (tokens, num_prefix) -> B D; the first ``num_prefix`` tokens are CLS and registers.
    """
    cases = {f"num_prefix {prefix}": (_random(2, prefix + 6, 8), prefix) for prefix in (1, 5, 0)}
    fault = _find_fault(answer, _pool_patches, cases, POOL_PATCHES_MISTAKES)
    return _tell(fault, "the mean of six patches, behind CLS and four registers, CLS alone, and nothing")


def _pool_patches(tokens: Tensor, num_prefix: int) -> Tensor:
    # pool_mean takes the first of its tokens for the CLS token: put one in front of the patches.
    return pool_mean(torch.cat([tokens[:, :1], tokens[:, num_prefix:]], dim=1))


POOL_PATCHES_MISTAKES = {
    "CLS and registers are in your mean: it runs over all tokens": lambda tokens, prefix: tokens.mean(1),
    "the registers are in your mean: only the CLS token is left out": (
        lambda tokens, prefix: tokens[:, 1:].mean(1)
    ),
    "the last token of the prefix is in your mean": (
        lambda tokens, prefix: tokens[:, max(prefix - 1, 0) :].mean(1)
    ),
    "you leave out the first patch: num_prefix counts the CLS token already": (
        lambda tokens, prefix: tokens[:, prefix + 1 :].mean(1)
    ),
    "you leave tokens out at the end of the sequence; CLS and registers are at its front": (
        lambda tokens, prefix: tokens[:, : tokens.shape[1] - prefix].mean(1)
    ),
    "you average CLS and registers, not the patches": lambda tokens, prefix: tokens[:, :prefix].mean(1),
    "this is the sum; divide by the number of patches": lambda tokens, prefix: tokens[:, prefix:].sum(1),
    "you divide by the number of tokens; only the patches are in the sum": (
        lambda tokens, prefix: tokens[:, prefix:].sum(1) / tokens.shape[1]
    ),
    "your mean runs over the width of a token; it must run over the tokens": (
        lambda tokens, prefix: tokens[:, prefix:].mean(2)
    ),
    "your mean runs over the images of the batch as well": (
        lambda tokens, prefix: tokens[:, prefix:].mean((0, 1))
    ),
}


def check_reached(answer: Any) -> bool:
    """Check which tokens a loss reaches that reads the CLS token alone.

    Args:
        answer: function (encoder, tokens) -> mask of shape (tokens,), true where a gradient arrives.
    """
    tokens = _random(2, 5, 8)
    cases = {label: (encoder, tokens) for label, encoder in _encoders().items()}
    fault = _find_fault(answer, _reach("weighted", "cls"), cases, REACHED_MISTAKES)
    return _tell(fault, f"the tokens that a gradient reaches through {len(cases)} encoders")


def _encoders() -> dict[str, Callable]:
    alone, everyone, over_batch = torch.eye(5), _random(5, 5).abs(), _random(2, 2).abs()
    next_one = alone + alone.roll(1, dims=1).triu()  # token t sees t and t + 1
    return {
        "no encoder": lambda tokens: tokens,
        "a block in which every token sees itself alone": _mix(alone),
        "a block in which every token sees itself and the next one": _mix(next_one),
        "two blocks in which every token sees itself and the next one": _mix(next_one, next_one),
        "a block in which every token sees every other": _mix(everyone),
        "a block that ends, as LayerNorm does, by subtracting each token's mean": (
            lambda tokens: _subtract_mean(_mix(everyone)(tokens))
        ),
        "a block that mixes the images, not the tokens": (
            lambda tokens: _mix(over_batch)(tokens.transpose(0, 1)).transpose(0, 1)
        ),
    }


def _mix(*blocks: Tensor) -> Callable:
    def encoder(tokens: Tensor) -> Tensor:
        for block in blocks:
            tokens = tokens + (block @ tokens / 4).tanh()
        return tokens

    return encoder


def _subtract_mean(tokens: Tensor) -> Tensor:
    # Of a width of 8 the mean is exact, and so is the 0 that a plain sum of the CLS token sends back.
    return tokens - tokens.mean(dim=2, keepdim=True)


@torch.enable_grad()
def _gradient(loss: str, read: str, encoder: Callable, tokens: Tensor) -> Tensor:
    tokens = tokens.clone().requires_grad_()
    encoded = encoder(tokens)
    seen = encoded[:, 0] if read == "cls" else encoded[:, -1] if read == "last" else encoded
    weights = _random(*seen.shape, seed=3) if loss == "weighted" else torch.ones_like(seen)
    return torch.autograd.grad((seen * weights).sum(), tokens)[0]


def _reach(loss: str, read: str) -> Callable:
    return lambda encoder, tokens: _gradient(loss, read, encoder, tokens).abs().amax((0, 2)) > TOLERANCE


REACHED_MISTAKES = {
    "you reach every token, whatever the encoder: let the loss read the CLS token alone": (
        _reach("weighted", "all")
    ),
    "your loss reads the last token; the CLS token is the first": _reach("weighted", "last"),
    "your loss is the plain sum of the CLS token, and behind a norm that sum is constant: weigh its numbers "
    "with random ones first": _reach("sum", "cls"),
    "this is one mask per image; say it once for the token, true where it is true in any image": (
        lambda encoder, tokens: _gradient("weighted", "cls", encoder, tokens).abs().amax(2) > TOLERANCE
    ),
    "this is one mask per number; say it once for the whole token": (
        lambda encoder, tokens: _gradient("weighted", "cls", encoder, tokens).abs() > TOLERANCE
    ),
    "true and false are swapped": lambda encoder, tokens: ~_reach("weighted", "cls")(encoder, tokens),
    "you reach the CLS token alone, whatever the encoder: the gradient must flow through it": (
        lambda encoder, tokens: torch.arange(tokens.shape[1]) == 0
    ),
}


# Lesson 3: position embedding


def check_sincos_1d(answer: Any, pairs: Any) -> bool:
    """Check positions along one line, and the pairs of patches that they take for neighbours.

    Args:
        answer: function (num_places, dim) -> table, [sin(place * omega), cos(place * omega)] in each row.
        pairs: of the 49 patches of a 7 × 7 grid, those that are neighbours on the line and not on the grid.
    """
    cases = {f"{places} places, dim {dim}": (places, dim) for places, dim in ((49, 64), (10, 6))}
    fault = _find_fault(answer, _sincos_1d, cases, SINCOS_1D_MISTAKES)
    fault = fault or _find_wrong_pair(pairs)
    return _tell(fault, "the table equals the formula, and six pairs break at the end of a row")


def _sincos_1d(num_places: int, dim: int, waves: float = 0.5, first: int = 0) -> Tensor:
    omega = 10_000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim * waves))
    angles = (first + torch.arange(num_places))[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


SINCOS_1D_MISTAKES = {
    "your waves take turns (sin, cos, sin, cos, …); here all sines come first, then all cosines": (
        lambda places, dim: _sincos_1d(places, dim).unflatten(1, (2, -1)).transpose(1, 2).flatten(1)
    ),
    "your cosines come first, then the sines": (
        lambda places, dim: _sincos_1d(places, dim).roll(dim // 2, dims=1)
    ),
    "you divide k by dim; there are dim / 2 waves, so k runs up to dim / 2": (
        lambda places, dim: _sincos_1d(places, dim, waves=1.0)
    ),
    "you divide k by dim / 4; that is for two axes, and here is one": (
        lambda places, dim: _sincos_1d(places, dim, waves=0.25)
    ),
    "your places start at 1; the first place is 0": lambda places, dim: _sincos_1d(places, dim, first=1),
    "the cosines are missing": lambda places, dim: _sincos_1d(places, dim)[:, : dim // 2],
    "this is the transpose: one row for each place": lambda places, dim: _sincos_1d(places, dim).T,
}


def _find_wrong_pair(pairs: Any, side: int = 7) -> str | None:
    if pairs is None:
        return "not yet: your table is right, but the pairs are None"
    try:
        found = {tuple(sorted((int(first), int(second)))) for first, second in pairs}
    except Exception:
        return "wrong: your table is right, but the pairs are no list such as [(0, 1), (1, 2)]"
    for pair in sorted(found):
        if why := _why_not(*pair, side):
            return f"wrong: your table is right, but not the pair {pair}: {why}"
    for end in range(side - 1, side * side - 1, side):
        if (end, end + 1) not in found:
            return f"wrong: your table is right, but the pair {(end, end + 1)} is missing"
    return None


def _why_not(first: int, second: int, side: int) -> str | None:
    if first < 0 or second >= side * side:
        return f"the places go from 0 to {side * side - 1}"
    if second - first == side:
        return "they are neighbours on the grid, one above the other, and the line is what keeps them apart"
    if second - first != 1:
        return "on the line they are not neighbours"
    return None if second % side == 0 else "on the grid they are neighbours, side by side"


def check_most_alike(answer: Any) -> bool:
    """Check which patch has the position that is most like that of a given one.

    Args:
        answer: function (table, place) -> row of the table; neither ``place`` nor row 0, the CLS token's.
    """
    cases = {f"row {place} of a random table": (_trap_table(place), place) for place in (1, 4, 11, 15)}
    fault = _find_fault(answer, _most_alike, cases, MOST_ALIKE_MISTAKES)
    return _tell(fault, "the largest cosine among the other patches, in four random tables")


def _trap_table(place: int) -> Tensor:
    """Draw rows that grow longer and longer, and point the CLS token's nearly where ``place`` points."""
    table = torch.arange(1, 17)[:, None] * _random(16, 8, seed=place)
    table[0] = 1.5 * table[place] + 0.1 * table[0]
    return table


def _most_alike(table: Tensor, place: int, leave_out: tuple[int, ...] = (0,)) -> Tensor:
    return _best(position_similarity(table)[place], [place, *leave_out])


def _best(scores: Tensor, leave_out: list[int]) -> Tensor:
    return scores.index_fill(0, torch.tensor(leave_out), -math.inf).argmax()


MOST_ALIKE_MISTAKES = {
    "you found the patch itself: leave it out": lambda table, place: torch.tensor(place),
    "you found the CLS token: row 0 is no patch, leave it out": (
        lambda table, place: _most_alike(table, place, leave_out=())
    ),
    "you are one off: add the CLS token's row, which you cut off in front, to the index again": (
        lambda table, place: _most_alike(table, place) - 1
    ),
    "you took the largest product, in which long rows win; divide by the lengths": (
        lambda table, place: _best(table @ table[place], [0, place])
    ),
    "you took the smallest distance, in which short rows win; alike means pointing the same way": (
        lambda table, place: _best(-torch.cdist(table, table[place][None])[:, 0], [0, place])
    ),
    "you found the one that is least like it": (
        lambda table, place: _best(-position_similarity(table)[place], [0, place])
    ),
    "you took the largest absolute cosine; a row that points the opposite way is not alike": (
        lambda table, place: _best(position_similarity(table)[place].abs(), [0, place])
    ),
}


def check_swap_positions(answer: Any) -> bool:
    """Check a table of positions with two rows swapped, and that the original is as it was.

    Args:
        answer: function (table, first, second) -> a new table.
    """
    table = _random(17, 6)
    cases = {f"rows {pair[0]} and {pair[1]}": (table, *pair) for pair in ((1, 16), (9, 3))}
    fault = _find_fault(answer, _swap_rows, cases, SWAP_POSITIONS_MISTAKES)
    return _tell(fault, "two rows have changed places, and the table you were given is as it was")


def _swap_rows(table: Tensor, first: int, second: int) -> Tensor:
    order = torch.arange(len(table))
    order[first], order[second] = second, first
    return table[order]


SWAP_POSITIONS_MISTAKES = {
    "both rows are the same now: table[first] is a window into the table, not a copy, and shows what was "
    "written meanwhile": (
        lambda table, first, second: table.index_copy(0, torch.tensor([first]), table[second][None])
    ),
    "both rows are the same now: you wrote the first over the second": (
        lambda table, first, second: table.index_copy(0, torch.tensor([second]), table[first][None])
    ),
    "nothing has changed": lambda table, first, second: table,
    "you add 1 for the CLS token, but first and second count rows of the table, its own among them": (
        lambda table, first, second: _swap_rows(table, first + 1, second + 1)
    ),
    "these are the two rows alone; give the whole table": (
        lambda table, first, second: table[[second, first]]
    ),
}


# Lesson 4: encoder. Here the answers are tests themselves, and have to catch bugs


def check_pool_zoo(answer: Any) -> bool:
    """Check a test of mean pooling.

    Args:
        answer: function (pool) -> whether ``pool`` is the mean of the patches, B T D -> B D.
    """
    right = {"pool_mean": pool_mean, "a pool_mean that adds up in another order": _mean_backwards}
    return _tell(_find_gap(answer, right, POOL_ZOO), "pool_mean passes, and", caught=POOL_ZOO)


def _mean_backwards(tokens: Tensor) -> Tensor:
    return sum(tokens[:, 1:].flip(1).unbind(1)) / (tokens.shape[1] - 1)


POOL_ZOO = {
    "the mean over all tokens, the CLS token among them": lambda tokens: tokens.mean(dim=1),
    "a mean that leaves out the last token in place of the first": lambda tokens: tokens[:, :-1].mean(dim=1),
    "a mean that leaves out two tokens": lambda tokens: tokens[:, 2:].mean(dim=1),
    "the CLS token in place of the mean": pool_cls,
}


def check_weights_zoo(answer: Any) -> bool:
    """Check a test of attention weights.

    Args:
        answer: function (weights_of) -> whether ``weights_of(query, key)`` gives the attention weights,
            B H T d, B H T d -> B H T T.
    """
    right = {"attention_weights": attention_weights, "an attention_weights that scales first": _scale_first}
    return _tell(_find_gap(answer, right, WEIGHTS_ZOO), "attention_weights passes, and", caught=WEIGHTS_ZOO)


def _scores(query: Tensor, key: Tensor, width: int) -> Tensor:
    return query @ key.transpose(2, 3) / math.sqrt(width)


def _scale_first(query: Tensor, key: Tensor) -> Tensor:
    return ((query / math.sqrt(query.shape[3])) @ key.transpose(2, 3)).softmax(dim=-1)


WEIGHTS_ZOO = {
    "softmax over the wrong axis (its weights sum to 1 over queries, not over keys)": (
        lambda query, key: _scores(query, key, query.shape[3]).softmax(dim=-2)
    ),
    "scaling after the softmax (its weights sum to 1 / √head_dim)": (
        lambda query, key: _scores(query, key, 1).softmax(dim=-1) / math.sqrt(query.shape[3])
    ),
    "√dim in place of √head_dim (with one head they are the same)": (
        lambda query, key: _scores(query, key, query.shape[1] * query.shape[3]).softmax(dim=-1)
    ),
    "no scaling at all": lambda query, key: _scores(query, key, 1).softmax(dim=-1),
}


def check_attention_zoo(answer: Any) -> bool:
    """Check a test of self-attention.

    Args:
        answer: function (attention) -> whether ``attention(tokens, qkv, proj, num_heads)`` gives what
            ``self_attention`` gives, (tokens, weights).
    """
    right = {"self_attention": self_attention, "a self_attention that scales first": _attend(_scale_first)}
    return _tell(_find_gap(answer, right, ATTENTION_ZOO), "self_attention passes, and", caught=ATTENTION_ZOO)


def _attend(
    weigh: Callable = attention_weights, split: Callable = split_heads, merge: Callable = merge_heads
) -> Callable:
    """Put a self-attention together of parts that may have bugs."""

    def attention(tokens: Tensor, qkv: Callable, proj: Callable, num_heads: int) -> tuple[Tensor, Tensor]:
        query, key, value = (split(part, num_heads) for part in qkv(tokens).chunk(3, dim=-1))
        weights = weigh(query, key)
        return proj(merge(weights @ value)), weights

    return attention


def _attend_over_batch(
    tokens: Tensor, qkv: Callable, proj: Callable, num_heads: int
) -> tuple[Tensor, Tensor]:
    attended, weights = self_attention(tokens.transpose(0, 1), qkv, proj, num_heads)
    return attended.transpose(0, 1), weights


def _merge_without_transpose(heads: Tensor) -> Tensor:
    batch, num_heads, tokens, head_dim = heads.shape
    return heads.reshape(batch, tokens, num_heads * head_dim)


def _split_without_transpose(tokens: Tensor, num_heads: int) -> Tensor:
    batch, length, dim = tokens.shape
    return tokens.reshape(batch, num_heads, length, dim // num_heads)


ATTENTION_ZOO = {
    "heads merged without the transpose (with one head it does no harm)": (
        _attend(merge=_merge_without_transpose)
    ),
    "heads split without the transpose (with one head it does no harm)": (
        _attend(split=_split_without_transpose)
    ),
    "heads split and merged without the transpose": (
        _attend(split=_split_without_transpose, merge=_merge_without_transpose)
    ),
    "attention over the batch (with one image no token hears of another)": _attend_over_batch,
    "no attention at all, every token is given back as it came": (
        lambda tokens, qkv, proj, num_heads: (
            tokens,
            torch.eye(tokens.shape[1]).expand(len(tokens), num_heads, -1, -1),
        )
    ),
}


# Lesson 5: classification


def check_smoothed_loss(answer: Any) -> bool:
    """Check a cross-entropy with label smoothing (Szegedy et al., arXiv 1512.00567, section 7).

    Args:
        answer: function (logits, label, smoothing) -> mean loss of the batch, a number.
    """
    cases = {}
    for (batch, classes), smoothing in (((4, 10), 0.1), ((3, 5), 0.3), ((2, 10), 0.0)):
        label = torch.arange(batch) * 2 % classes
        words = f"{batch} images, {classes} classes, smoothing {smoothing}"
        cases[words] = (_random(batch, classes), label, smoothing)
    cases["scores around 200"] = (200 + 100 * _random(2, 4), torch.tensor([3, 0]), 0.1)
    fault = _find_fault(answer, _smoothed_loss, cases, SMOOTHED_LOSS_MISTAKES)
    return _tell(fault, f"equal to F.cross_entropy(…, label_smoothing=…) on {len(cases)} batches")


def _smoothed_loss(logits: Tensor, label: Tensor, smoothing: float, reduction: str = "mean") -> Tensor:
    return F.cross_entropy(logits, label, label_smoothing=smoothing, reduction=reduction)


def _loss_against(make_target: Callable, log_softmax: Callable = F.log_softmax) -> Callable:
    def loss(logits: Tensor, label: Tensor, smoothing: float) -> Tensor:
        one_hot = F.one_hot(label, logits.shape[1])
        target = make_target(one_hot, smoothing, logits.shape[1])
        return -(target * log_softmax(logits, dim=1)).sum(dim=1).mean()

    return loss


def _smooth(one_hot: Tensor, smoothing: float, classes: int) -> Tensor:
    return one_hot * (1 - smoothing) + smoothing / classes


SMOOTHED_LOSS_MISTAKES = {
    "there is no smoothing in it": _loss_against(lambda one_hot, smoothing, classes: one_hot),
    "you share the smoothing among the other classes; the right one gets its share as well": _loss_against(
        lambda one_hot, smoothing, classes: (
            one_hot * (1 - smoothing) + (1 - one_hot) * smoothing / (classes - 1)
        )
    ),
    "your target does not sum to 1: the right class is 1 - smoothing + smoothing / classes": _loss_against(
        lambda one_hot, smoothing, classes: one_hot * (1 - smoothing) + (1 - one_hot) * smoothing / classes
    ),
    "your target does not sum to 1: take the smoothing away from the right class first": _loss_against(
        lambda one_hot, smoothing, classes: one_hot + smoothing / classes
    ),
    "your target does not sum to 1: you add the whole smoothing to every class, not its share": (
        _loss_against(lambda one_hot, smoothing, classes: one_hot * (1 - smoothing) + smoothing)
    ),
    "exp overflows where scores are large: take log_softmax": _loss_against(
        _smooth, lambda logits, dim: (logits.exp() / logits.exp().sum(dim, keepdim=True)).log()
    ),
    "softmax rounds to 0 where scores are far apart, and log(0) is -inf: take log_softmax": _loss_against(
        _smooth, lambda logits, dim: logits.softmax(dim).log()
    ),
    "this is one loss per image; take their mean": (
        lambda logits, label, smoothing: _smoothed_loss(logits, label, smoothing, "none")
    ),
    "this is the sum over the images; take their mean": (
        lambda logits, label, smoothing: _smoothed_loss(logits, label, smoothing, "sum")
    ),
    "your mean runs over the classes as well: sum over the classes, mean over the images": (
        lambda logits, label, smoothing: _smoothed_loss(logits, label, smoothing) / logits.shape[1]
    ),
    "the sign is wrong: a log-probability is negative, a loss is minus it": (
        lambda logits, label, smoothing: -_smoothed_loss(logits, label, smoothing)
    ),
    "the logarithm is missing: you multiply the target with probabilities": _loss_against(
        _smooth, lambda logits, dim: logits.softmax(dim)
    ),
    "the softmax is missing: you multiply the target with the scores": _loss_against(
        _smooth, lambda logits, dim: logits
    ),
    "your softmax runs over the images; it must run over the classes": _loss_against(
        _smooth, lambda logits, dim: logits.log_softmax(0)
    ),
}


def check_classify_by_mean(answer: Any) -> bool:
    """Check a head that reads the mean of the patches.

    Args:
        answer: function (tokens, norm, head) -> logits, B T D -> B classes; the first token is the CLS token.
    """
    with _own_random_numbers():
        norm, head = nn.LayerNorm(8), nn.Linear(8, 5)
        for parameter in norm.parameters():
            nn.init.normal_(parameter)
    cases = {f"a batch of {batch}": (3 * _random(batch, 7, 8), norm, head) for batch in (1, 2)}
    fault = _find_fault(answer, _classify(), cases, CLASSIFY_BY_MEAN_MISTAKES)
    return _tell(fault, "equal to classify(tokens, norm, head, pool=pool_mean), for one image and for two")


def _classify(pool: Callable = pool_mean) -> Callable:
    return lambda tokens, norm, head: classify(tokens, norm, head, pool=pool)


CLASSIFY_BY_MEAN_MISTAKES = {
    "the CLS token is in your mean": _classify(lambda tokens: tokens.mean(1)),
    "you read the CLS token, not the mean of the patches": _classify(pool_cls),
    "you leave out the last token; the CLS token is the first": _classify(
        lambda tokens: tokens[:, :-1].mean(1)
    ),
    "the norm comes first, then the mean: each token is normed by itself": (
        lambda tokens, norm, head: head(norm(pool_mean(tokens)))
    ),
    "the norm is missing": lambda tokens, norm, head: head(pool_mean(tokens)),
    "the head is missing": lambda tokens, norm, head: pool_mean(norm(tokens)),
    "this is a sum; divide by the number of patches": _classify(lambda tokens: tokens[:, 1:].sum(1)),
    "these are probabilities; logits are what comes before the softmax": (
        lambda tokens, norm, head: _classify()(tokens, norm, head).softmax(-1)
    ),
    "this is one answer per patch; take their mean": lambda tokens, norm, head: head(norm(tokens)[:, 1:]),
    "you average over the images of the batch as well": (
        lambda tokens, norm, head: head(norm(tokens)[:, 1:].mean((0, 1)))
    ),
}


def check_freeze_all_but_head(answer: Any) -> bool:
    """Check that the head alone is left to learn, and that its numbers are counted.

    Args:
        answer: function (model) -> how many numbers of ``model`` are still trained; it freezes all others.
    """
    with _own_random_numbers():
        model = _LittleModel()
    result = _call(answer, (model,)) if callable(answer) else _Outcome(None, _not_a_function(answer))
    fault = result.problem or _find_unfrozen(model) or _find_miscount(result.tensor, model)
    return _tell(fault, "model.head learns and nothing else does, and its numbers are counted")


class _LittleModel(nn.Module):
    """What a ViT looks like from outside, with a second head beside the first as in a distilled DeiT."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)
        self.head_dist = nn.Linear(8, 5)


def _find_unfrozen(model: nn.Module) -> str | None:
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    if "requires_grad" in vars(model):
        return "wrong: model.requires_grad = False sets what nobody reads; its parameters have one each"
    if all(trained.values()):
        cause = "" if model.training else "; eval() turns dropout off and freezes nothing"
        return f"wrong: every parameter still learns{cause}"
    for name in ("head.weight", "head.bias"):
        if name not in trained:
            return f"wrong: {name} is gone; freeze the others, and leave model.head as it is"
        if not trained[name]:
            return f"wrong: {name} is frozen, too"
    left = [name for name, learns in trained.items() if learns and not name.startswith("head.")]
    where = {"cls_token": "it is a parameter of the model itself, in none of its modules"}
    where["head_dist.weight"] = "its name begins like model.head's, and it is another module"
    return f"wrong: {left[0]} still learns{_because(where.get(left[0]))}" if left else None


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _find_miscount(count: Tensor, model: nn.Module) -> str | None:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    right = sizes["head.weight"] + sizes["head.bias"]
    reasons = {
        2: "you count tensors; count the numbers in them, with numel()",
        sizes["head.weight"]: "the head's bias is missing",
        sum(sizes.values()): "you count the frozen ones, too",
        sum(sizes.values()) - right: "these are the frozen ones",
    }
    number = count.item() if count.ndim == 0 else None
    if number == right:
        return None
    found = f"{right} numbers are trained, not {_show(count)}"
    return f"wrong: frozen as it should be, but {found}{_because(reasons.get(number))}"


# What all checks share


class _Outcome(NamedTuple):
    """What an answer gave: a tensor, or the words for why there is none."""

    tensor: Tensor | None
    problem: str | None = None
    changed: bool = False


class _UnfitError(Exception):
    """Something came back, and not what was asked for."""


def _unfit(result: Any, wanted: str) -> _UnfitError:
    if result is None or result is ...:
        return _UnfitError(f"not yet: your function returns {result}")
    return _UnfitError(f"wrong: your function returns {type(result).__name__}, wanted {wanted}")


def _tell(fault: str | None, held_against: str, caught: Iterable[str] = ()) -> bool:
    names = "; ".join(words.partition(" (")[0] for words in caught)
    line = fault or f"right: {held_against}" + (f" these are caught: {names}" if names else "")
    print(" ".join(line.split()))
    return fault is None


def _find_fault(
    answer: Any, reference: Callable, cases: dict[str, tuple], mistakes: dict[str, Callable]
) -> str | None:
    """Say what is wrong with an answer, or None: in the words of ``mistakes`` where one gives the same."""
    if not callable(answer):
        return _not_a_function(answer)
    outcomes = [_call(answer, arguments) for arguments in cases.values()]
    wanted = [_call(reference, arguments) for arguments in cases.values()]
    if not _same(outcomes, wanted):
        for words, mistake in mistakes.items():
            if _same(outcomes, [_call(mistake, arguments) for arguments in cases.values()]):
                return f"wrong: {words}"
    return next(_differences(cases, outcomes, wanted), None)


def _not_a_function(answer: Any) -> str:
    if answer is None:
        return "not yet: there is no function, only None"
    return f"wrong: give the function itself, without calling it; this is of type {type(answer).__name__}"


def _call(function: Callable, arguments: tuple) -> _Outcome:
    """Run an answer on copies of the arguments."""
    given = [value.clone() if isinstance(value, Tensor) else value for value in arguments]
    try:
        with _own_random_numbers():
            result = function(*given)
        tensor, problem = _to_tensor(result), None
    except _UnfitError as error:
        tensor, problem = None, str(error)
    except Exception as error:
        tensor, problem = None, f"wrong: your function raises {_name(error)}"
    return _Outcome(tensor, problem, any(map(_is_changed, given, arguments)))


def _to_tensor(result: Any) -> Tensor:
    try:
        return torch.as_tensor(result).detach().to("cpu", torch.float64).to_dense()
    except (RuntimeError, TypeError, ValueError):
        raise _unfit(result, "a tensor") from None


def _name(error: Exception) -> str:
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return words if len(words) <= LONGEST_MESSAGE else words[: LONGEST_MESSAGE - 1] + "…"


def _is_changed(given: Any, argument: Any) -> bool:
    if not isinstance(argument, Tensor):
        return False
    return given.requires_grad != argument.requires_grad or not torch.equal(given, argument)


def _same(outcomes: list[_Outcome], others: list[_Outcome]) -> bool:
    return all(_alike(*pair) for pair in zip(outcomes, others, strict=True))


def _alike(ours: _Outcome, other: _Outcome) -> bool:
    if ours.tensor is None or other.tensor is None:
        return ours.tensor is other.tensor
    if ours.tensor.shape != other.tensor.shape:
        return False
    return not _far(ours.tensor, other.tensor).any()


def _far(ours: Tensor, other: Tensor) -> Tensor:
    return ~torch.isclose(ours, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _differences(cases: dict[str, tuple], outcomes: list[_Outcome], wanted: list[_Outcome]) -> Iterator[str]:
    for label, ours, right in zip(cases, outcomes, wanted, strict=True):
        if ours.problem:
            yield _locate(ours.problem, label)
        elif ours.tensor.shape != right.tensor.shape:
            shapes = f"{tuple(ours.tensor.shape)}, wanted {tuple(right.tensor.shape)}"
            yield f"wrong: for {label} your shape is {shapes}"
        elif not _alike(ours, right):
            yield f"wrong: for {label} {_first_difference(ours.tensor, right.tensor)}"
        elif ours.changed:
            yield "wrong: right numbers, but your function changes the tensor it was given: take a copy"


def _locate(problem: str, label: str) -> str:
    return problem if problem.startswith("not yet") else f"{problem} ({label})"


def _first_difference(ours: Tensor, right: Tensor) -> str:
    place = tuple(_far(ours, right).nonzero()[0].tolist())
    numbers = f"{_show(ours[place])}, wanted {_show(right[place])}"
    if not place:
        return f"you say {numbers}"
    return f"your shape {tuple(ours.shape)} is right; the first difference, at {list(place)}: {numbers}"


def _show(number: Tensor) -> str:
    return f"{number.item():.5g}" if number.ndim == 0 else str(number.tolist())


def _find_gap(answer: Any, right: dict[str, Callable], zoo: dict[str, Callable]) -> str | None:
    """Say which bug an answer lets through, or which right implementation it refuses."""
    if not callable(answer):
        return _not_a_function(answer)
    slipped = []
    for words, implementation in (right | zoo).items():
        verdict = _ask(answer, implementation)
        if verdict.problem:
            return _locate(verdict.problem, words)
        if words in right and not verdict.tensor:
            return f"wrong: your test refuses the right one, {words}"
        if words in zoo and verdict.tensor:
            slipped.append(words)
    return f"wrong: this slipped through your test: {'; '.join(slipped)}" if slipped else None


def _ask(answer: Callable, implementation: Callable) -> _Outcome:
    def verdict(of: Callable) -> bool:
        said = answer(of)
        if said is None or said is ... or (isinstance(said, Tensor) and said.numel() != 1):
            raise _unfit(said, "True or False")
        return bool(said)

    # Wrapped, so that nobody can tell the right one by what it is, only by what it does.
    return _call(verdict, (lambda *arguments, **named: implementation(*arguments, **named),))


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Give the same random numbers to every answer, and leave the notebook's as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
