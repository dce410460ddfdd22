"""The tables of results that the lessons quote, as they ship in ``tables/``."""

import csv
from pathlib import Path
from typing import Literal, get_args

from vit_steps.doors import door

Table = Literal[
    "ablation", "alike", "choice", "data_hunger", "fifths", "inside", "left_out", "recipe", "results"
]
TABLES = get_args(Table)


@door()
def load_table(name: Table) -> list[dict[str, str]]:
    """Load a table of results that ships with the package, as ``tools/experiments.py`` wrote it.

    Args:
        name: "results" and "fifths" (the ViT beside other methods, random splits and fifths of the file),
            "data_hunger" (from few digits), "recipe" and "left_out" (a part of the training, or of each
            block, left out), "ablation" (positions), "inside" (excursion A), "alike" (excursion B, by
            ``tools/real_vit.py``) or "choice" (of the recipe).

    Returns:
        A dictionary for each row, from the column's name to what stands there.

    Raises:
        ValueError: "name must be one of ablation, alike, choice, ..., results, got 'digits'".
    """
    with (Path(__file__).parent / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
