"""How long look takes, from a model in a folder to a picture on the disk, for ViT-Ti, S and B at 224 pixels.

    python tests/benchmarks/look.py [--turns 7]      on a machine that has nothing else to do

Weights are random, which takes as long as trained ones; the photograph is scikit-image's cat. The command
starts a new interpreter, as in a shell; the line of Python has loaded model and package before. What is
compared runs in turns, in an order that rotates. Prints and writes look.csv beside this file: medians and the
worst, in seconds.
"""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from skimage import data

from vit_steps import ViT
from vit_steps.files.writing import write_table
from vit_steps.looking.look import look
from vit_steps.pretrained import Preprocess, load_pretrained, save_hugging_face

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ["what", "model", "median_s", "worst_s", "turns", "date", "machine", "threads"]
SIZES = {"ViT-Ti/16": (192, 3), "ViT-S/16": (384, 6), "ViT-B/16": (768, 12)}  # dim, heads
COMMANDS = {
    "the command, a picture": ("--out", "map.png"),
    "the command, with an untrained twin": ("--control", "--out", "map.png"),
    "the command, a page with a twin": ("--control", "--out", "explorer.html"),
}


def save_models(folder: Path) -> None:
    preprocess = Preprocess(size=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.9)
    for name, (dim, heads) in SIZES.items():
        torch.manual_seed(1)
        sizes = {"dim": dim, "depth": 12, "num_heads": heads, "mlp_dim": 4 * dim, "num_classes": 1000}
        model = ViT(image_size=224, patch_size=16, **sizes)
        save_hugging_face(model, folder / name.partition("/")[0], preprocess=preprocess)
    Image.fromarray(data.chelsea()).save(folder / "cat.png")


def runs(folder: Path) -> dict[tuple[str, str], Callable[[], object]]:
    """What is timed, by what it is and by the model's name."""
    found: dict[tuple[str, str], Callable[[], object]] = {}
    for name in SIZES:
        place = name.partition("/")[0]
        for what, options in COMMANDS.items():
            words = [sys.executable, "-m", "vit_steps.looking", place, "cat.png", *options]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            found[what, name] = lambda words=words, environment=environment: subprocess.run(
                words, cwd=folder, env=environment, check=True, capture_output=True
            )
        loaded, photo, out = load_pretrained(folder / place), folder / "cat.png", folder / "map.png"
        found["look(...).save(...), loaded", name] = lambda loaded=loaded, photo=photo, out=out: look(
            loaded, photo
        ).save(out)
    return found


def in_turns(runs: dict[tuple[str, str], Callable[[], object]], turns: int) -> dict[tuple[str, str], list]:
    """Seconds of each, run in turns; a first round warms up the disk."""
    names, taken = list(runs), {name: [] for name in runs}
    for turn in range(turns + 1):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            start = time.perf_counter()
            runs[name]()
            taken[name] += [time.perf_counter() - start] if turn else []
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        save_models(Path(folder))
        taken = in_turns(runs(Path(folder)), turns)
    said = {"turns": turns, "date": datetime.date.today().isoformat(), "threads": torch.get_num_threads()}
    said["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    rows = [
        {
            "what": what,
            "model": name,
            "median_s": round(statistics.median(each), 2),
            "worst_s": round(max(each), 2),
        }
        | said
        for (what, name), each in sorted(taken.items())
    ]
    for row in rows:
        print(f"{row['what']:36} {row['model']:10} {row['median_s']:7.2f} s, at most {row['worst_s']:.2f} s")
    write_table(TABLE, COLUMNS, rows)


if __name__ == "__main__":
    main()
