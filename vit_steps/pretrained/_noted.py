"""How images are prepared, said in the notes of a model's own file, and read there again."""

from dataclasses import asdict
from fractions import Fraction
from typing import Any

from vit_steps.pretrained.preprocess import Preprocess


def note_preprocess(preprocess: Preprocess) -> dict[str, Any]:
    """Say a preparation in JSON's words; the size is the model's."""
    fields = asdict(preprocess)
    del fields["size"]
    return fields | {"crop_pct": str(Fraction(preprocess.crop_pct))}  # a float of 224/242 gives 241 pixels


def read_noted(notes: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a preparation that :func:`note_preprocess` said, or none where nothing is noted.

    Notes are free: what is not built so is not about images.
    """
    noted = notes.get("preprocess")
    fields = ("mean", "std", "crop_pct", "squash", "interpolation", "floor")
    if (
        not isinstance(noted, dict)
        or {*noted} - {"unread"} != {*fields}
        or not isinstance(noted["crop_pct"], str)
    ):
        return {}
    tuples = {name: noted[name] and tuple(noted[name]) for name in ("mean", "std")}
    tuples |= {"unread": tuple(noted["unread"])} if "unread" in noted else {}
    return noted | tuples | {"crop_pct": Fraction(noted["crop_pct"])}
