"""A block of the encoder as a drawing: what each half computes, and adds."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from vit_steps.doors import door
from vit_steps.looking.plots import INK
from vit_steps.looking.the_way import LIT, UNLIT

STREAM, BRANCH = 0.55, 2.0  # heights of the two lines
# What stands on each branch: centre, half width, words, whether tokens meet there.
BRANCHES = (
    (1.5, 5.6, ((2.55, 0.55, "norm", False), (4.4, 0.9, "attention", True))),
    (6.5, 10.6, ((7.55, 0.55, "norm", False), (9.4, 0.9, "MLP", False))),
)


@door()
def plot_block(ax: Axes) -> list[FancyBboxPatch]:
    """Draw a pre-norm block: below the tokens, above what each half computes and adds (ViT paper, figure 1).

    Returns:
        The boxes in the order they run: norm, attention, norm, MLP. Attention is lit.
    """
    _line((0.55, STREAM), (11.75, STREAM), ax)
    boxes = [box for branch in BRANCHES for box in _branch(*branch, ax)]
    for place, name in ((0.1, "tokens in"), (6.05, "z′"), (12.2, "tokens out")):
        height = STREAM + 0.22 if name == "z′" else STREAM
        ax.text(place, height, name.replace(" ", "\n"), ha="center", va="center", size=12)
    _say("the only place where\ntokens meet", 4.4, ax)
    _say("each token\nalone", 9.4, ax)
    ax.text(6.1, 0.02, "the residual stream: what came in goes on, and is added to", ha="center", size=11)
    ax.set(xlim=(-0.45, 12.75), ylim=(-0.15, 3.35))
    ax.axis("off")
    return boxes


def _branch(start: float, end: float, parts: tuple, ax: Axes) -> list[FancyBboxPatch]:
    """Up from the stream, through the boxes, and down to the plus."""
    ax.plot([start, start], [STREAM, BRANCH], color=INK, linewidth=1.5)
    stops = [start, *(side for centre, half, *_ in parts for side in (centre - half, centre + half)), end]
    for left, right in zip(stops[::2], stops[1::2], strict=True):
        if right == end:
            ax.plot([left, right], [BRANCH, BRANCH], color=INK, linewidth=1.5)
        else:
            _line((left, BRANCH), (right, BRANCH), ax)
    _line((end, BRANCH), (end, STREAM + 0.17), ax)
    plus = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": INK}
    ax.text(end, STREAM, "+", ha="center", va="center", size=15, bbox=plus)
    return [_box(ax, *part) for part in parts]


def _box(ax: Axes, centre: float, half: float, words: str, lit: bool) -> FancyBboxPatch:
    style = {"facecolor": LIT if lit else UNLIT, "edgecolor": INK, "linewidth": 2 if lit else 1}
    corner, size = (centre - half + 0.08, BRANCH - 0.3), (2 * half - 0.16, 0.6)
    ax.text(centre, BRANCH, words, ha="center", va="center", size=13, weight="bold" if lit else "normal")
    return ax.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.08", **style))


def _say(words: str, place: float, ax: Axes) -> None:
    ax.text(place, BRANCH + 0.55, words, ha="center", va="bottom", size=11, style="italic")


def _line(start: tuple[float, float], end: tuple[float, float], ax: Axes) -> None:
    ax.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0},
    )
