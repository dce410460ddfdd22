"""The tables of results that the lessons quote, as they ship in ``tables/``."""

import csv
from pathlib import Path

TABLES = ("ablation", "choice", "results")


def load_table(name: str) -> list[dict[str, str]]:
    """Load a table of results that ships with the package, as ``python -m vit_steps.experiments`` wrote it.

    Args:
        name: "results", "ablation" or "choice".

    Returns:
        A dictionary for each row, from the column's name to what stands there.

    Raises:
        ValueError: "name must be one of ablation, choice, results, got 'digits'".
    """
    if name not in TABLES:
        raise ValueError(f"name must be one of {', '.join(TABLES)}, got {name!r}")
    with (Path(__file__).parent / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
