"""What a reader can take along from a lesson's page: files that are copied into the site."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vit_steps.lessons.editions import make_edition

EDITIONS = {"student": "Without solutions", "teacher": "For the teacher"}


@dataclass(frozen=True)
class Download:
    """A file beside the pages, and what its link says."""

    words: str
    address: str
    data: bytes


def downloads(lesson: Path) -> Iterator[Download]:
    """All that can be had of a lesson: its notebook, and what a class and its teacher get of it."""
    place = "/".join(lesson.parts[-2:] if lesson.parent.name == "beyond" else lesson.parts[-1:])
    yield Download("Notebook", f"notebooks/{place}", lesson.read_bytes())
    for kind, words in EDITIONS.items():
        if place in edition(kind):
            yield Download(words, f"editions/{kind}/{place}", edition(kind)[place])


@cache
def edition(kind: str) -> dict[str, bytes]:
    """The five lessons of an edition, by their place in it."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_edition(kind, list("12345"), folder)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in made}
