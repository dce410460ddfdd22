"""What a look says in words: titles, the text for who cannot see the picture, and what the command prints.

To the reader blocks, heads, rows and columns are counted from 1.
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vit_steps.files.pictures import printable
from vit_steps.looking._on_photograph import half
from vit_steps.vit import VECTORS, ViT

if TYPE_CHECKING:
    from vit_steps.looking.views import Look, View

# Whose attention a map is about, and what it is that looks in a block, by how the model pools.
READ = {
    "mean": "the mean of the patches",
    "mean_all": "the mean of all tokens",
    "attention": "the probe's sum",
}
LOOKS = {
    "mean": "the patches look, on average,",
    "mean_all": "all tokens look, on average,",
    "attention": "the patches look that the probe reads,",
}
BESIDE = {"cls+register": "a register", "cls+mean": "the mean of the patches"}
LONGEST = 30  # letters of a class's name; some names are lists of synonyms


def of_rollout(model: ViT) -> str:
    """Title of the rollout."""
    read = READ.get(model.pool, "the CLS token")
    blocks = _count(len(model.blocks), "block")
    return f"From which patches {read} was drawn: rollout through {blocks}{_beside(model)}"


def of_attention(model: ViT, layer: int | None, head: int | None) -> str:
    """Title of the attention of one block, or of the probe."""
    depth, heads = len(model.blocks), model.config["num_heads"]
    which = f"mean of {heads} heads" if head is None else f"head {head % heads + 1} of {heads}"
    if layer is None:
        return f"Where the probe looks, behind {_count(depth, 'block')}, {which}"
    looks = LOOKS.get(model.pool, "the CLS token looks")
    return f"Where {looks} in block {layer % depth + 1} of {depth}, {which}{_beside(model)}"


def of_likeness(model: ViT, place: tuple[int, int]) -> str:
    """Title of a likeness."""
    return (
        f"How like the framed patch, {_at(place)}, each patch is behind {_count(len(model.blocks), 'block')}"
    )


def _beside(model: ViT) -> str:
    if model.pool not in VECTORS:
        return ""
    return f" (the head reads {BESIDE[model.pool]}, too, of which this map says nothing)"


def of_model(name: str, model: ViT) -> str:
    """What kind of model it is."""
    sizes, (rows, cols) = model.config, model.grid
    said = f"dim {sizes['dim']}, {_count(len(model.blocks), 'block')}, {_count(sizes['num_heads'], 'head')}"
    said += f", {sizes['pool']} pooled, {rows} x {cols} patches of {_count(model.patch_size, 'pixel')}"
    return f"{printable(name)}: {said}"


def of_part(found: "Look") -> str:
    """Which part of the photograph the model got."""
    height, width = found.photograph.shape[:2]
    left, top, right, bottom = (round(edge, 1) for edge in found.box)
    if (left, top, right, bottom) == (0, 0, width, height):
        return "all of the photograph"
    return f"of the photograph {left:g} to {right:g} across and {top:g} to {bottom:g} down"


def of_view(view: "View") -> str:
    """What the map is, and the numbers that its picture shows."""
    return f"{view.words}: {_of_map(view, view.map)}{_of_rest(view)}"


def of_control(view: "View") -> str:
    """The same of the untrained twin, where there is one."""
    return "" if view.control is None else f"an untrained twin, same scale: {_of_map(view, view.control)}"


def _of_map(view: "View", numbers: Tensor) -> str:
    """The numbers of a map that its picture shows."""
    rows, cols = numbers.shape
    row, col = divmod(int(numbers.argmax()), cols)
    if view.place is not None:
        return f"cosines from {numbers.min():.2f} to {numbers.max():.2f}, {numbers.mean():.2f} in the mean"
    held = half(numbers.numpy()).sum()
    most = f"most {_at((row, col))}, {numbers.max():.1%}, where an even share is {1 / (rows * cols):.1%}"
    return f"{most}; half of it in {held} of {rows * cols} patches"


def _of_rest(view: "View") -> str:
    """What of a row lies where no picture shows it."""
    return (
        "" if view.hidden < 0.0005 else f"; {view.hidden:.1%} on tokens without a place, which are not shown"
    )


def of_answers(found: "Look") -> str:
    """The classes and their shares."""
    return ", ".join(f"{named(name)} {share:.1%}" for name, share in found.answers)


def named(name: str) -> str:
    """A class's name, as long as there is room for."""
    name = printable(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def of_look(found: "Look") -> str:
    """All of it: the alternative text."""
    height, width = found.photograph.shape[:2]
    said = [f"{found.name}, {width} x {height} pixels. The model got {of_part(found)}", of_view(found.view)]
    if found.view.control is not None:
        said.append(f"Beside it {of_control(found.view)}")
    if found.answers:
        said.append(f"The answer: {of_answers(found)}")
    return ". ".join(said) + "."


def _at(place: tuple[int, int]) -> str:
    return f"in row {place[0] + 1}, column {place[1] + 1}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number > 1 else "")
