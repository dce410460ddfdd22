"""What a reader can take along from a lesson's page: files that are copied into the site."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


@dataclass(frozen=True)
class Download:
    """A file beside the pages, and what its link says."""

    words: str
    address: str
    data: bytes


def downloads(lesson: Path) -> Iterator[Download]:
    """All that can be had of a lesson. Another edition is another ``yield`` here."""
    place = lesson.parts[-2:] if lesson.parent.name == "beyond" else lesson.parts[-1:]
    yield Download("Notebook", "/".join(["notebooks", *place]), lesson.read_bytes())
