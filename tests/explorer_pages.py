"""Pages of the explorer for tests: traces that cost nothing, and a reader that shares no line with ours."""

import base64
import json
import re
import zlib
from html import unescape

import numpy as np
import torch

from vit_steps.vit import Trace, ViT


def seen_by(model, seed=0):
    """The trace of one random image."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return model.trace(torch.rand(1, 3, *model.image_size))


def small(**kind):
    """A model whose weights are large enough to look somewhere."""
    torch.manual_seed(0)
    sizes = dict(image_size=(12, 16), patch_size=4, dim=16, depth=3, num_heads=2, mlp_dim=16, num_classes=3)
    model = ViT(**sizes | kind)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def made_up(depth, heads, grid, *, num_prefix=1, dim=32, sharp=1.0, pooling=False, seed=0):
    """A trace of random rows, the sharper the farther their softmax is from even."""
    generator = torch.Generator().manual_seed(seed)
    patches = grid[0] * grid[1]
    tokens = num_prefix + patches
    draw = lambda *shape: torch.randn(1, *shape, generator=generator)  # noqa: E731
    attention = draw(depth, heads, tokens, tokens).mul_(sharp).softmax(dim=-1)
    encoded = draw(tokens, dim)
    probe = draw(heads, 1, patches).softmax(dim=-1) if pooling else None
    return Trace(encoded[:, num_prefix:], encoded, encoded, attention, encoded, draw(0)[:, :0], probe)


def photograph(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def data_of(page):
    """What the page was given, as JSON."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def sentences(page):
    """What it says that it keeps."""
    return [unescape(line) for line in re.findall(r"<li>([A-Z0-9].*)</li>", page)]


def numbers_of(letters, kind):
    return np.frombuffer(zlib.decompress(base64.b64decode(letters)), dtype=kind)


def rows_of(data, name, map_=0):
    """All rows that are kept of a map, one below the other, in double precision."""
    table = data["tables"][name][map_]
    patches = data["rows"] * data["cols"]
    levels = numbers_of(table["levels"], np.uint8).reshape(-1, patches).astype(float)
    largest = table["top"] / 2.0 ** (numbers_of(table["peaks"], "<u2") / 2048)
    before = numbers_of(table["before"], "<u2").reshape(len(levels), -1) * table["most"] / 65535
    return np.hstack([before, levels / table["steps"] * largest[:, None]])


def cosines_of(data, map_=0):
    vectors = numbers_of(data["directions"], "<i2").astype(float)
    vectors = vectors.reshape(len(data["names"]), data["tokens"], -1)[map_]
    lengths = np.sqrt((vectors**2).sum(axis=1))
    return vectors @ vectors.T / np.outer(lengths, lengths)
