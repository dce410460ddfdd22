"""What an index page such as PyPI's shows, made with the wheel: the README with links that lead somewhere.

The address of the repository stands in pyproject.toml, ``[tool.vit-steps]``, and nowhere else. Relative links
and pictures of the README become absolute ones; where no address is written, links become plain text and
pictures their words, so that nothing leads into a void. hatchling runs this, with nothing else installed.
"""

import re
import tomllib
from pathlib import Path
from urllib.parse import quote

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:)([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)


class ForTheIndex(MetadataHookInterface):
    """hatchling's way to say what pyproject.toml calls dynamic."""

    def update(self, metadata: dict) -> None:
        """Fill in the README and the project's links."""
        root = Path(self.root)
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        published = project["tool"]["vit-steps"]
        text = (root / "README.md").read_text(encoding="utf-8")
        readme = with_links(text, published["address"], published["branch"])
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
        metadata["urls"] = urls(published["address"], published["branch"])


def urls(address: str, branch: str) -> dict[str, str]:
    """The project's links: none without an address.

    Raises:
        ValueError: "the address in pyproject.toml must be empty or begin with https://, got 'example.org'".
    """
    if not address:
        return {}
    if not address.startswith("https://"):
        raise ValueError(
            f"the address in pyproject.toml must be empty or begin with https://, got {address!r}"
        )
    address = address.rstrip("/")
    return {
        "Repository": address,
        "Changelog": f"{address}/blob/{branch}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


def with_links(text: str, address: str, branch: str) -> str:
    """The README for a page elsewhere; code in fences is left as it is.

    Args:
        text: Markdown, links relative to the repository's root.
        address: of the repository, or nothing.
        branch: of the repository.
    """
    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else _part(part, address, branch) for part in parts)


def _part(text: str, address: str, branch: str) -> str:
    if not address:
        return LINK.sub(r"\1", PICTURE.sub(r"*\1*", text))

    def absolute(found: re.Match) -> str:
        mark, words, path = found[0].partition("[")[0], found[1], quote(found[2], safe="/#")
        kind = "raw" if mark else "blob"
        place = path if path.startswith("#") else f"/{kind}/{branch}/{path}"  # a heading of the README itself
        return f"{mark}[{words}]({address.rstrip('/')}{place})"

    return LINK.sub(absolute, PICTURE.sub(absolute, text))
