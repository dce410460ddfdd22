"""What the site's search looks through: the headings of its pages, and the sentences below each.

Code, and the solutions of exercises, are left out: who looks for a word shall not meet an answer.
"""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

SILENT = re.compile(
    r'<pre.*?</pre>|<script.*?</script>|<annotation.*?</annotation>|<details class="solution">.*?</details>',
    flags=re.S,
)
HEADING = re.compile(r'<h[1-4] id="([^"]*)"[^>]*>(.*?)</h[1-4]>', flags=re.S)
END_OF_BLOCK = re.compile(r"</(?:p|li|t[dhr]|d[dt]|div|summary|h\d|figcaption|blockquote)>|<br>")
TURN = "\0"
TAG = re.compile(r"<[^>]+>")
END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^a-z\s])")


@dataclass
class Place:
    """A heading of a page, the sentences below it, and where it is found."""

    id: int
    page: str
    title: str
    section: str
    anchor: str
    sentences: list[str]


def script(pages: list[tuple[str, str, str]]) -> str:
    """All places as a script, since a page in a folder on disk may load nothing else.

    Args:
        pages: file, title and HTML of each.
    """
    found = [place for page in pages for place in places(*page)]
    rows = [asdict(place) | {"id": number} for number, place in enumerate(found)]
    return f"window.searchPlaces = {json.dumps(rows, ensure_ascii=False, separators=(',', ':'))};\n"


def places(page: str, title: str, source: str) -> Iterator[Place]:
    """The sections of one page; what stands above its first heading belongs to none."""
    _, *parts = HEADING.split(SILENT.sub(" ", source))
    for anchor, heading, below in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        yield Place(0, page, title, plain(heading), anchor, sentences(below))


def sentences(source: str) -> list[str]:
    blocks = (plain(block) for block in END_OF_BLOCK.sub(TURN, source).split(TURN))
    return [sentence for block in blocks for sentence in END_OF_SENTENCE.split(block) if sentence]


def plain(source: str) -> str:
    return " ".join(html.unescape(TAG.sub("", source.replace("<msqrt>", "√"))).split())
