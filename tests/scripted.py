"""Archives as torch.jit.save writes them: a small CLIP with OpenAI's names, and forgeries, step by step."""

import io
import struct
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from references import perturb
from torch import Tensor, nn

NO_CONSTANTS = b"\x80\x02)."


class _QuickGELU(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * torch.sigmoid(1.702 * tokens)


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, attn_mask: Tensor | None = None):
        super().__init__()
        self.attn, self.attn_mask = nn.MultiheadAttention(dim, heads), attn_mask
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        layers = {"c_fc": nn.Linear(dim, 4 * dim), "gelu": _QuickGELU(), "c_proj": nn.Linear(4 * dim, dim)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.ln_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False, attn_mask=self.attn_mask)[0]
        return tokens + self.mlp(self.ln_2(tokens))


class _Transformer(nn.Module):
    def __init__(self, *blocks: _Block):
        super().__init__()
        self.resblocks = nn.Sequential(*blocks)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.resblocks(tokens)


class _VisionTransformer(nn.Module):
    def __init__(self, side: int, patch: int, dim: int, heads: int, depth: int, out: int):
        super().__init__()
        self.input_resolution = side
        self.conv1 = nn.Conv2d(3, dim, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(dim))
        self.positional_embedding = nn.Parameter(torch.empty((side // patch) ** 2 + 1, dim))
        self.ln_pre, self.ln_post = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.transformer = _Transformer(*(_Block(dim, heads) for _ in range(depth)))
        self.proj = nn.Parameter(torch.empty(dim, out))

    def forward(self, image: Tensor) -> Tensor:
        patches = self.conv1(image).flatten(2).permute(0, 2, 1)
        cls = self.class_embedding.expand(patches.shape[0], 1, patches.shape[2])
        tokens = self.ln_pre(torch.cat([cls, patches], dim=1) + self.positional_embedding)
        tokens = self.transformer(tokens.permute(1, 0, 2)).permute(1, 0, 2)
        return self.ln_post(tokens[:, 0, :]) @ self.proj


class TinyCLIP(nn.Module):
    """Both halves, named as OpenAI's archives of 2021 have them, where three sizes are buffers."""

    def __init__(self, side: int = 16, patch: int = 4, dim: int = 64, heads: int = 2, depth: int = 2):
        super().__init__()
        self.visual = _VisionTransformer(side, patch, dim, heads, depth, 5)
        self.transformer = _Transformer(_Block(8, 2, torch.full((7, 7), -1e4).triu(1)))
        self.token_embedding, self.ln_final = nn.Embedding(9, 8), nn.LayerNorm(8)
        self.positional_embedding = nn.Parameter(torch.empty(7, 8))
        self.text_projection, self.logit_scale = nn.Parameter(torch.empty(8, 5)), nn.Parameter(torch.ones([]))
        for name, size in {"input_resolution": side, "context_length": 7, "vocab_size": 9}.items():
            self.register_buffer(name, torch.tensor(size))

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        tokens = self.token_embedding(words) + self.positional_embedding
        tokens = self.ln_final(self.transformer(tokens.permute(1, 0, 2)).permute(1, 0, 2))
        return self.logit_scale.exp() * self.visual(image) @ (tokens[:, -1, :] @ self.text_projection).T


def scripted(how: str, **sizes: int) -> torch.jit.ScriptModule:
    """A tiny CLIP with random numbers in half precision, traced or scripted."""
    clip = perturb(TinyCLIP(**sizes))
    side = clip.visual.input_resolution
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is old, and says so
        given = (torch.rand(2, 3, side, side), torch.tensor([[1, 2, 3, 4, 5, 6, 8]]))
        return (torch.jit.trace(clip, given) if how == "trace" else torch.jit.script(clip)).half()


def edited(path: Path, change: dict[str, bytes], without: tuple[str, ...] = ()) -> Path:
    """Write an archive anew, with other bytes in some files, and without those that end in a word."""
    with zipfile.ZipFile(path) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        files = {name: archive.read(name) for name in archive.namelist()}
    files |= {f"{folder}/{name}": content for name, content in change.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            if not name.endswith(without):
                archive.writestr(name, content)
    return path


# Forgeries: the steps of a pickle, written down one by one.


def text(said: str) -> bytes:
    return b"X" + struct.pack("<I", len(said.encode())) + said.encode()


def whole(number: int) -> bytes:
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def name_of(module: str, word: str) -> bytes:
    return b"c" + f"{module}\n{word}\n".encode()


def tensor(
    *, key: str = "0", count: int = 4, kind: str = "Float", offset: int = 0, shape=(2, 2), strides=(2, 1)
) -> bytes:
    storage = b"(" + text("storage") + name_of("torch", f"{kind}Storage") + text(key) + text("cpu")
    sides = b"".join(b"(" + b"".join(map(whole, each)) + b"t" for each in (shape, strides))
    hooks = b"\x89" + name_of("collections", "OrderedDict") + b")R"
    rebuilt = storage + whole(count) + b"tQ" + whole(offset) + sides + hooks
    return name_of("torch._utils", "_rebuild_tensor_v2") + b"(" + rebuilt + b"tR"


def module(attributes: bytes = b"", kind: str = "CLIP", memo: bytes = b"") -> bytes:
    return name_of("__torch__", kind) + b")\x81" + memo + b"}(" + attributes + b"ub"


def clip(weight: bytes, more: bytes = b"") -> bytes:
    """A module with nothing but the weight that a CLIP is known by."""
    conv1 = text("conv1") + module(text("weight") + weight, "Conv2d")
    return module(text("visual") + module(conv1, "Visual") + more)


def archive_of(steps: bytes, files: dict | None = None, packing: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", packing) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + steps + b".")
        archive.writestr("m/constants.pkl", NO_CONSTANTS)
        for name, numbers in ({"data/0": bytes(16)} if files is None else files).items():
            archive.writestr(f"m/{name}", numbers)
    return content.getvalue()


def _one_in_the_other(links: int) -> bytes:
    start = name_of("__torch__", "M") + b")\x81}(" + text("a")
    return clip(tensor(), text("more") + start * links + b"N" + b"ub" * links)


def _doubled(levels: int) -> bytes:
    """A module that holds one twice, which holds one twice, ..."""
    held, place = module(), b""
    for level in range(levels):
        place = bytes([level])
        held = module(text("a") + held + b"q" + place + text("b") + b"h" + place)
    return clip(tensor(), text("more") + held)


def _crowded(count: int) -> bytes:
    """One tensor under so many names, as torch.jit keeps what is tied."""
    names = b"".join(text(f"{number:x}") + b"h\x00" for number in range(count))
    return clip(tensor() + b"q\x00", text("more") + module(names))


BITES_ITS_TAIL = module(text("a") + b"h\x00", memo=b"q\x00")
MKDIR = name_of("os", "mkdir") + b"(" + text("ran") + b"tR"
# What somebody might forge -> the archive, and what is said of it.
FORGERIES = {
    "code to run": (
        lambda: archive_of(MKDIR),
        r"nothing in it was run: Unsupported global: GLOBAL os\.mkdir",
    ),
    "code in a module": (lambda: archive_of(clip(tensor(), text("a") + MKDIR)), r"GLOBAL os\.mkdir"),
    "a class of others": (lambda: archive_of(name_of("os", "mkdir") + b")\x81"), r"GLOBAL os\.mkdir"),
    "a class with arguments": (
        lambda: archive_of(name_of("__torch__", "M") + b"N\x85\x81"),
        r"GLOBAL __torch__\.M",
    ),
    "a call of a module": (lambda: archive_of(name_of("__torch__", "M") + b")R"), r"GLOBAL __torch__\.M"),
    "a quantized tensor": (
        lambda: archive_of(name_of("torch._utils", "_rebuild_qtensor") + b")R"),
        r"GLOBAL torch\._utils\._rebuild_qtensor",
    ),
    "a storage of others": (lambda: archive_of(clip(tensor(kind="QUInt8"))), r"GLOBAL torch\.QUInt8Storage"),
    "a step of others": (lambda: archive_of(clip(tensor()) + b"2"), "never does, DUP"),
    "bytes without end": (lambda: archive_of(b"\x96" + b"\xff" * 7 + b"\x00"), "cannot be read"),
    "steps of nothing": (lambda: archive_of(b"tQ"), "do not follow from one another"),
    "two modules": (lambda: archive_of(module() + module()), "do not follow from one another"),
    "a list of steps": (lambda: archive_of(b"N" * 400_000), "more than 300,000 steps"),
    "a long pickle": (lambda: archive_of(text("a" * 9_000_000)), "more than 8,388,608 bytes"),
    "no module": (lambda: archive_of(b"}"), "give dict where Module is wanted"),
    "a tuple for a name": (lambda: archive_of(module(b")N")), "give tuple where str is wanted"),
    "a state of its own": (
        lambda: archive_of(name_of("__torch__", "M") + b")\x81N\x85b"),
        "keeps its state in a way of its own",
    ),
    "a module in itself": (
        lambda: archive_of(clip(tensor(), text("more") + BITES_ITS_TAIL)),
        "in one another too deeply",
    ),
    "modules in modules": (lambda: archive_of(_one_in_the_other(30_000)), "in one another too deeply"),
    "lists in lists": (lambda: archive_of(b"]" * 290_000), "do not follow from one another"),
    "modules doubled often": (lambda: archive_of(_doubled(200)), "in one another too deeply"),
    "a crowd": (lambda: archive_of(_crowded(40_000)), "are too many"),
    "a dot in a name": (lambda: archive_of(clip(tensor(), text("a.b") + tensor())), "can be called 'a.b'"),
    "a long name": (lambda: archive_of(clip(tensor(), text("a" * 999) + tensor())), "can be called 'aaa"),
    "rows that are one": (
        lambda: archive_of(clip(tensor(shape=(10**6, 10**6), strides=(0, 0)))),
        "its tensors take 4,000,000,000,000",
    ),
    "an end behind its numbers": (lambda: archive_of(clip(tensor(offset=1))), "ends behind its numbers"),
    "a start before them": (lambda: archive_of(clip(tensor(offset=-1))), "a shape that no tensor has"),
    "sides of 2 ** 60": (lambda: archive_of(clip(tensor(shape=(2**60, 0)))), "a shape that no tensor has"),
    "strides backwards": (lambda: archive_of(clip(tensor(strides=(2, -1)))), "a shape that no tensor has"),
    "more axes than strides": (lambda: archive_of(clip(tensor(strides=(1,)))), "a shape that no tensor has"),
    "a hundred axes": (lambda: archive_of(clip(tensor(shape=(1,) * 99, strides=(1,) * 99))), "no tensor has"),
    "more numbers than bytes": (
        lambda: archive_of(clip(tensor(count=10**12))),
        "is of 1000000000000 numbers",
    ),
    "no numbers": (lambda: archive_of(clip(tensor()), {}), "is of 4 numbers, and its file is not"),
    "a path for a key": (lambda: archive_of(clip(tensor(key="../constants.pkl"))), "its file is not"),
    "packed numbers": (
        lambda: archive_of(clip(tensor(count=2**24)), {"data/0": bytes(2**26)}, zipfile.ZIP_DEFLATED),
        "unpacks to 67,10",
    ),
    "a little packed": (lambda: archive_of(clip(tensor()), None, zipfile.ZIP_DEFLATED), "it is packed"),
    "bytes the other way round": (
        lambda: archive_of(clip(tensor()), {"data/0": bytes(16), "byteorder": b"big"}),
        "smallest byte first",
    ),
    "no CLIP": (
        lambda: archive_of(module(kind="ResNet")),
        r"holds the module __torch__\.ResNet with its code",
    ),
}
