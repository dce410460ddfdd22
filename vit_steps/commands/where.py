"""Where the lessons of this installation are."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def find_lessons() -> Path:
    """The folder of the notebooks: in what pip installed inside the package, in a checkout beside it.

    Raises:
        FileNotFoundError: "the lessons are not in this installation: install vit-steps again".
    """
    inside, beside = PACKAGE / "notebooks", PACKAGE.parent / "notebooks"
    if inside.is_dir():
        return inside
    if beside.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file():
        return beside
    raise FileNotFoundError("the lessons are not in this installation: install vit-steps again")
