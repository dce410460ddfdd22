"""Sentences and links that fit an edition: nothing speaks of what is not in it, or leads out of it."""

import posixpath
import re
from collections.abc import Mapping

from vit_steps.lessons.editions._lessons import Cell

SENTENCE_ENDS = re.compile(r"(?<=[.!?]) (?=[A-Z])")
OF_SOLUTIONS = re.compile(r"\bsolutions?\b", flags=re.I)
OF_EMPTY_STUBS = re.compile(r"\bstub\b.*not yet")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+\.ipynb)(#[^)\s]*)?\)")


def reworded(cell: Cell, said: str, *unfit: re.Pattern) -> Cell:
    """Take out of a text the sentences that do not fit, and end it in what this edition says."""
    head, _, last = cell["source"].rpartition("\n\n")
    fit = [
        each for each in SENTENCE_ENDS.split(last) if not any(map(lambda words: words.search(each), unfit))
    ]
    source = f"{head}\n\n{' '.join([*fit, said])}".strip()
    return cell | {"source": source}


def relinked(cell: Cell, place: str, places: Mapping[str, str]) -> Cell:
    """Let links between lessons lead to where this edition has them; to a lesson that it has not, none leads.

    Args:
        cell: of the lesson at ``place``; code has no links.
        place: of the lesson among the lessons.
        places: lesson -> its place in the edition.
    """
    if cell["cell_type"] != "markdown":
        return cell
    here = posixpath.dirname(places[place])

    def link(found: re.Match) -> str:
        lesson = posixpath.normpath(posixpath.join(posixpath.dirname(place), found[2]))
        if lesson not in places:
            return found[1]
        return f"[{found[1]}]({posixpath.relpath(places[lesson], here or '.')}{found[3] or ''})"

    return cell | {"source": LINK.sub(link, cell["source"])}
