"""What a page of the explorer says of itself: why it opens as it does, what it keeps, how far it is off."""

from vit_steps.looking._kept import Off
from vit_steps.looking._page_data import Fitted, Rows, Seen

ROLLOUT = (
    "The map shown most often is the last block's attention. In five of six digits models of ours it is near "
    "chance in the deletion test; rollout through all blocks is far better than chance in all six: take away "
    "what it ranks high, and the answer is lost. Of this model nobody has tested it. A map is a claim."
)
READ = {
    "cls": "It is the rollout of the CLS token, which the head reads.",
    "mean": "It is the mean over all patches, which the head reads.",
    "mean_all": "It is the mean over all tokens, which the head reads.",
    "attention": "It is weighed by the probe, which the head reads.",
    "cls+register": "It is the mean of two, the CLS token's and the next one's: the head reads both.",
    "cls+mean": "It is the mean of two, the CLS token's and that of the patches: the head reads both.",
}


def opening(pool: str) -> str:
    """Say why the page begins with this map."""
    return f"{ROLLOUT} {READ[pool]}"


def what_is_kept(
    fitted: Fitted, several: list[Seen], widths: tuple[int, int], num_registers: int, behind_norm: bool
) -> list[str]:
    """One sentence for each kind of map, with its bits and its error.

    Args:
        widths: of a token, in the model and as it is kept.
    """
    said = [_of_weights(name, fitted, several[0]) for name in NAMES if name in fitted.off]
    said.append(_of_likeness(max(seen.off for seen in several), widths, behind_norm))
    if num_registers:
        said.append(
            f"{num_registers} registers are in no map: what tokens spend on them is not shown. In rollout "
            "they take part."
        )
    return said


NAMES = {
    "answer": "Rollout of the answer",
    "rollout": "Rollout",
    "heads": "Single heads",
    "mean": "Mean of heads",
    "pooling": "The probe",
}


def _of_weights(name: str, fitted: Fitted, seen: Seen) -> str:
    depth, heads = seen.attention.shape[:2]
    of = {"pooling": f" of {heads} heads", "heads": f" of {depth} blocks × {heads} heads"}
    of["mean"] = f" of {depth} blocks"
    rows = fitted.rows.get(name)
    bits = f"{rows.bits} bits a weight" if rows else "computed here from single heads"
    which = _which(name, rows or fitted.rows["heads"], len(seen.shown))
    return f"{NAMES[name]}: {which}{of.get(name, '')}, {bits}; {_off(fitted.off[name])}."


def _which(name: str, rows: Rows, tokens: int) -> str:
    if name in ("answer", "pooling"):
        return "its one row"
    return f"all {tokens} rows" if rows.which == "all" else "the row of the CLS token"


def _off(off: Off) -> str:
    return (
        f"a patch is drawn at most {_percent(off.of_largest)} of its row's brightest from the truth "
        f"({_percent(off.at_most)} of all attention)"
    )


def _percent(share: float) -> str:
    """Two digits, and never less than it is."""
    number = 100 * share * 1.05
    return f"{number:.2g} %" if number >= 0.01 else "0.01 %"


def _of_likeness(off: float, widths: tuple[int, int], behind_norm: bool) -> str:
    where = "behind" if behind_norm else "before"
    return (
        f"Likeness: cosines of the last block's tokens, {where} the final norm, from {widths[1]} components "
        f"of {widths[0]}, 16 bits each; a cosine is at most {max(1.05 * off, 0.0001):.2g} from the true one."
    )
