"""What a table of names says besides the names: the type of :mod:`vit_steps.pretrained.dialects`."""

from typing import NamedTuple

from vit_steps.layers import Act
from vit_steps.position_embedding import Library
from vit_steps.pretrained.rotary import Rotary

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
CLIP_COLOURS = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}

UNUSED = ""  # stands for parameters that classifying never reads, such as Hugging Face's pooler
BLOCK = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


class Dialect(NamedTuple):
    """How one library spells a ViT. A part that stands in no table is unknown, and refused by name.

    Attributes:
        name: of the library.
        stem: its spelling -> timm's, for what stands outside the blocks.
        block: its spelling -> timm's, inside a block.
        prefixes: what may stand before every key, nothing last.
        blocks: what stands before the number of a block, the usual one first.
        separator: between the words of a key.
        unused: whole keys that no answer ever reads, such as MAE's decoder.
        cls_row: whether the position table has a row for the CLS token. True: always. None: there are tables
            without, where a size says so. False: as many without, so a square table has none.
        may_lack: what of a plain ViT some of its models have not: parts by their names.
        certain: whether who spells so has this one function, so that nothing is assumed where no config is.
        eps: of the LayerNorms where no config says it.
        act: of the MLPs, where no config says it.
        rotary: its rotary positions; None where there are none, or a config has to say them.
        bare_tokens: whether tokens and tables have no axis for the batch.
        wide_head: whether its heads may read the CLS token and the mean of the patches side by side.
        is_projection: whether what is read as a head gives no class scores, so that there are no labels.
        preprocess: how images are prepared where no config says it; empty where there is no one custom.
        resized_like: whose way it is to fit positions to another grid, as resize_position calls it.
    """

    name: str
    stem: dict[str, str]
    block: dict[str, str]
    prefixes: tuple[str, ...] = ("",)
    blocks: tuple[str, ...] = ("blocks.",)
    separator: str = "."
    unused: str = ""
    cls_row: bool | None = True
    may_lack: tuple[str, ...] = ()
    certain: bool = False
    eps: float = 1e-6
    act: Act = "gelu"
    rotary: Rotary | None = None
    bare_tokens: bool = False
    wide_head: bool = False
    is_projection: bool = False
    preprocess: dict = {}  # noqa: RUF012 (read, never written)
    resized_like: Library = "timm"
