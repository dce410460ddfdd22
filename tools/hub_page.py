"""The page on a JupyterHub for a class: its configuration as it is run, and what was measured of it."""

import csv
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "tools" / "pages" / "assets" / "jupyterhub_config.py"
MEASURED = ROOT / "tests" / "benchmarks" / "hub.csv"  # where nobody has measured it, the page says so


def page(env: jinja2.Environment, lessons: list, measured: Path = MEASURED) -> str:
    """The page, to be written beside the lessons'."""
    config = RECIPE.read_text(encoding="utf-8")
    template = env.get_template("hub.html.j2")
    return template.render(lessons=lessons, here="hub", config=config, measured=rows(measured))


def rows(table: Path) -> list[dict[str, str]]:
    """The lines of a table, or none where there is no table."""
    if not table.exists():
        return []
    with open(table, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
