"""Print which published ViTs load, and as what; and by name, what is read wrongly or refused misleadingly."""

import argparse
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does it
warnings.simplefilter("ignore")

import torchvision_stub  # noqa: E402, F401

from coverage_table import hugging_face_models, publishers, timm_models  # noqa: E402
from coverage_table.verdict import MISLEADING, VERDICTS, WRONG, Verdict, judge, judge_each  # noqa: E402

FAULTS = (MISLEADING, WRONG)


def timm_rows(folder: Path, name: str) -> dict[str, Verdict]:
    return timm_models.judge(name, folder)


def hugging_face_rows(folder: Path, name: str) -> dict[str, Verdict]:
    return judge_each(hugging_face_models.save(name, folder))


def publishers_rows(folder: Path, name: str) -> dict[str, Verdict]:
    return {"bare": judge(publishers.PUBLISHERS[name](folder))}


# A kind -> how one of its models is judged, and all their names with how many weights each stands for.
KINDS = {
    "timm": (timm_rows, lambda: {name: len(tags) for name, tags in timm_models.architectures().items()}),
    "Hugging Face": (hugging_face_rows, lambda: dict.fromkeys(hugging_face_models.variants(), 1)),
    "publishers": (publishers_rows, lambda: dict.fromkeys(publishers.PUBLISHERS, 1)),
}


def judged(kind: str, only: list[str]) -> Iterator[tuple[str, int, str, Verdict]]:
    """(name, how many weights it stands for, the way it was saved, what came of it)."""
    rows, names = KINDS[kind]
    for name, weights in names().items():
        if only and not any(word in name for word in only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for way, verdict in rows(Path(folder), name).items():
                said = verdict.said.replace(f"{folder}/", "")
                yield name, weights, way, verdict._replace(said=said)


def print_row(label: str, counts: Counter) -> None:
    cells = [label, str(sum(counts.values())), *(str(counts[verdict]) for verdict in VERDICTS)]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="parts of names; default: all")
    parser.add_argument(
        "--kind", action="append", choices=KINDS, help="may be said several times; default: all"
    )
    parser.add_argument("--each", action="store_true", help="say what came of each, too")
    options = parser.parse_args()
    print(f"| saved by | of | {' | '.join(VERDICTS)} |\n|---|{'---|' * (1 + len(VERDICTS))}")
    faults = []
    for kind in options.kind or KINDS:
        models, weights = {}, {}
        for name, count, way, verdict in judged(kind, options.only):
            models.setdefault(way, Counter())[verdict.kind] += 1
            weights.setdefault(way, Counter())[verdict.kind] += count
            line = f"{kind}, {way}: {name}: {verdict.kind}: {verdict.said}"
            faults += [line] if verdict.kind in FAULTS else []
            if options.each:
                print(line, file=sys.stderr, flush=True)
        for way in models:
            with_config = "with its config" if way == "config" else "the file alone"
            print_row(f"{kind}, {with_config}", models[way])
            if weights[way] != models[way]:
                print_row(f"{kind}, {with_config}, by pretrained tag", weights[way])
    print(*(f"\n{line}" for line in faults), sep="")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main())
