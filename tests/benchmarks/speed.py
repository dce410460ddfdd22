"""What things cost, beside what a reader would take instead: ``make bench``, or

    python -m tests.benchmarks.speed [--quick] [models trace embedding tokens digits import notebooks]

Those that are compared run in turns, in an order that rotates, in one process. Told are the medians, and how
many times as long the others took as ours did. The table is written to tests/benchmarks/speed.csv. A quiet
machine is worth more than many turns.
"""

import argparse
import csv
import datetime
import gc
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tests.torchvision_stub  # noqa: F401
from tests.references import (
    SIZES,
    Reference,
    Size,
    difference,
    hugging_face_sdpa,
    ours_from,
    timm_vit,
    torch_encoder,
    torchvision_vit,
)
from vit_steps import ViT, image2emb_conv, image2emb_naive
from vit_steps.data import load_digits_images
from vit_steps.files.writing import write_table
from vit_steps.patch_embedding import kernel2weight
from vit_steps.training import digits_model, fit

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("speed.csv")
DIGITS = Size((8, 8), 4, 64, 3, 4, 256, 10, 1)
SHALLOW = SIZES["Ti/16"]._replace(depth=3)


class Row(NamedTuple):
    """One line of the table; ``ratio`` is this figure over ours, above 1 where ours is less."""

    part: str
    case: str
    who: str
    figure: float | None
    unit: str
    ratio: float | None = None
    goal: str = ""


class Budget(NamedTuple):
    """When to stop repeating: after so many seconds, but not before and not after so many turns."""

    seconds: float
    at_least: int
    at_most: int


FULL, QUICK = Budget(15.0, 7, 60), Budget(1.0, 2, 3)


def in_turns(runs: dict[str, Callable[[], object]], budget: Budget) -> dict[str, float]:
    """Median milliseconds of each, run in turns; the first turn only warms up."""
    names, times = list(runs), {name: [] for name in runs}
    for run in runs.values():
        run()
    gc.disable()
    start, turn = time.perf_counter(), 0
    while turn < budget.at_least or (turn < budget.at_most and time.perf_counter() - start < budget.seconds):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            times[name].append(milliseconds(runs[name]))
        turn += 1
    gc.enable()
    return {name: statistics.median(taken) for name, taken in times.items()}


def milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def compared(part: str, case: str, medians: dict[str, float], goal: str = "") -> Iterator[Row]:
    """Rows with ratios to the first entry, which is ours; the goal is judged against the fastest other."""
    ours, *others = medians.values()
    for name, median in medians.items():
        yield Row(part, case, name, median, "ms", median / ours)
    if goal:
        reached = min(others) / ours
        met = "met" if reached >= float(goal) else "missed"
        yield Row(part, case, "fastest other", min(others), "ms", reached, f"{goal}: {met}")


def vit_pytorch(size: Size) -> nn.Module:
    """lucidrains' ViT of the same size; it has no bias in qkv and two more LayerNorms in its first step."""
    from vit_pytorch import ViT as Theirs

    sizes = {"image_size": size.image_size, "patch_size": size.patch_size, "num_classes": size.num_classes}
    sizes |= {"dim": size.dim, "depth": size.depth, "heads": size.num_heads, "mlp_dim": size.mlp_dim}
    return Theirs(**sizes, dim_head=size.dim // size.num_heads, channels=size.channels).eval()


class Logits(nn.Module):
    """Any reference as image -> logits."""

    def __init__(self, reference: Reference):
        super().__init__()
        self.module, self.logits = reference.module, reference.stages(reference.module).logits

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image)


def models_of(size: Size) -> dict[str, nn.Module]:
    """Ours and theirs. Each of theirs gives the logits of ours with the same weights, or the run stops."""
    references = {"timm": timm_vit, "transformers": hugging_face_sdpa, "nn.TransformerEncoder": torch_encoder}
    if size.channels == 3:
        references["torchvision"] = torchvision_vit
    models, image = {}, torch.randn(2, size.channels, *size.image_size)
    for name, make in references.items():
        reference = make(size, torch.float32)
        ours, theirs = ours_from(reference, size), Logits(reference)
        with torch.no_grad():
            assert difference(ours(image), theirs(image)) < 1e-3, name
        models = {"vit_steps": ours} | models | {name: theirs}
    return models | {"vit-pytorch": vit_pytorch(size)}


def forward_of(model: nn.Module, image: Tensor) -> Callable[[], object]:
    def run() -> None:
        with torch.inference_mode():
            model(image)

    model.eval()
    return run


def training_step_of(model: nn.Module, image: Tensor) -> Callable[[], object]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    labels = torch.zeros(len(image), dtype=torch.int64)

    def run() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(image), labels).backward()
        optimiser.step()

    model.train()
    return run


CASES = [
    *[("ViT-Ti/16", SIZES["Ti/16"], batch, "1.05") for batch in (1, 8)],
    *[("ViT-S/16", SIZES["S/16"], batch, "") for batch in (1, 8)],
    ("ViT-Ti/16, depth 3", SHALLOW, 8, "1.05"),
    *[("digits", DIGITS, batch, "1.05") for batch in (1, 64)],
]


def time_models(budget: Budget) -> Iterator[Row]:
    for name, size, batch, goal in CASES:
        models = models_of(size)
        image = torch.randn(batch, size.channels, *size.image_size)
        for what, run_of in (("forward", forward_of), ("training step", training_step_of)):
            runs = {who: run_of(model, image) for who, model in models.items()}
            case = f"{name}, batch {batch}, {what}"
            yield from compared("models", case, in_turns(runs, budget), goal)


def time_trace(budget: Budget) -> Iterator[Row]:
    """All attention weights against none: time, and in processes of their own the memory on top."""
    for batch in (1, 8):
        model, image = ViT(**SIZES["Ti/16"]._asdict()).eval(), torch.randn(batch, 3, 224, 224)
        with torch.inference_mode():
            runs = {"forward": lambda m=model, i=image: m(i), "trace": lambda m=model, i=image: m.trace(i)}
            medians = in_turns(runs, budget)
        yield from compared("trace", f"ViT-Ti/16, batch {batch}", medians)
        memory = {name: memory_of(name, batch) for name in runs}
        for name, mebibytes in memory.items():
            ratio = mebibytes / memory["forward"]
            yield Row("trace", f"ViT-Ti/16, batch {batch}, peak memory on top", name, mebibytes, "MiB", ratio)


# Large tensors go back to the system at once, and writing 5 there forgets the highest memory so far (Linux).
ADDED_MEMORY = """
import re, torch
from tests.references import SIZES
from vit_steps import ViT

def kibibytes(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

model, image = ViT(**SIZES["Ti/16"]._asdict()).eval(), torch.randn({batch}, 3, 224, 224)
with torch.inference_mode():
    model.{name}(image)
    open("/proc/self/clear_refs", "w").write("5")
    before = kibibytes("VmRSS")
    model.{name}(image)
    print((kibibytes("VmHWM") - before) / 1024)
"""


def memory_of(name: str, batch: int) -> float:
    """Highest memory that one call adds to a process that has everything else in place, in MiB."""
    program = ADDED_MEMORY.replace("{batch}", str(batch)).replace("{name}", name)
    return statistics.median(float(output_of(program)) for _ in range(3))


def output_of(program: str) -> str:
    command, own = [sys.executable, "-c", program], {"MALLOC_MMAP_THRESHOLD_": "65536"}
    asked = {"cwd": ROOT, "env": os.environ | own, "capture_output": True, "text": True, "check": True}
    return subprocess.run(command, **asked).stdout


def time_embedding(budget: Budget) -> Iterator[Row]:
    for case, image, dim, patch_size in (
        ("224 x 224, patch size 16, batch 8", torch.randn(8, 3, 224, 224), 192, 16),
        ("8 x 8, patch size 4, batch 64", torch.randn(64, 1, 8, 8), 64, 4),
    ):
        kernel = torch.randn(dim, image.shape[1], patch_size, patch_size)
        weight = kernel2weight(kernel).contiguous()
        runs = {
            "conv": lambda i=image, k=kernel, p=patch_size: image2emb_conv(i, k, p),
            "naive": lambda i=image, w=weight, p=patch_size: image2emb_naive(i, p, w),
        }
        yield from compared("embedding", case, in_turns(runs, budget))


def time_tokens(budget: Budget) -> Iterator[Row]:
    """How time grows with tokens, beside the multiplications that lesson 4 counts."""
    grids, images = (4, 8, 16, 24, 32), {}
    for grid in grids:
        size = SIZES["Ti/16"]._replace(image_size=(16 * grid, 16 * grid))
        images[grid] = (ViT(**size._asdict()).eval(), torch.randn(1, 3, *size.image_size))
    with torch.inference_mode():
        medians = in_turns({g: lambda g=g: images[g][0](images[g][1]) for g in grids}, budget)
    for small, large in itertools.pairwise(grids):
        for who, cost in (("measured", medians), ("multiplications", {g: cost_of(g) for g in grids})):
            slope = slope_of((small, cost[small]), (large, cost[large]))
            yield Row("tokens", f"{small**2 + 1} to {large**2 + 1} tokens", who, slope, "power of T")
    for grid, median in medians.items():
        yield Row("tokens", f"{grid**2 + 1} tokens", "vit_steps", median, "ms")


def cost_of(grid: int, dim: int = 192, depth: int = 12) -> int:
    tokens = grid**2 + 1
    block = 12 * tokens * dim**2 + 2 * tokens**2 * dim
    cls_block = (3 * tokens + 9) * dim**2 + 2 * tokens * dim
    return (depth - 1) * block + cls_block + (tokens - 1) * 3 * 16**2 * dim + dim * 1000


def slope_of(small: tuple[int, float], large: tuple[int, float]) -> float:
    tokens = [torch.tensor(grid**2 + 1.0) for grid, _ in (small, large)]
    costs = [torch.tensor(float(cost)) for _, cost in (small, large)]
    return ((costs[1] / costs[0]).log() / (tokens[1] / tokens[0]).log()).item()


LEVELS = (0.97, 0.98, 0.99)
PATIENCE = 30.0
# Both are published in vit-pytorch's repository, for other data; each may go on beyond its epochs here.
THEIR_RECIPES = {
    "vit-pytorch, Adam 3e-4, batch 32 (its train_vit_decorr.py)": (3e-4, 32),
    "vit-pytorch, Adam 3e-5, batch 64 (its cats_and_dogs.ipynb)": (3e-5, 64),
}


def time_digits(budget: Budget) -> Iterator[Row]:
    """Seconds of training, each epoch's look at the test part included, until an accuracy is reached."""
    seeds = range(1 if budget is QUICK else 3)
    learners = {"vit_steps": our_curve}
    learners |= {name: lambda seed, how=how: their_curve(seed, *how) for name, how in THEIR_RECIPES.items()}
    curves = {name: [] for name in learners}
    for seed in seeds:
        for name, learn in learners.items():
            curves[name].append(learn(seed))
    for level in LEVELS:
        reached = {name: [first_time(curve, level) for curve in some] for name, some in curves.items()}
        ours = statistics.median(reached["vit_steps"])
        for name, times in reached.items():
            yield digits_row(f"digits, {level:.0%}", name, times, ours)


def digits_row(case: str, name: str, times: list[float], ours: float) -> Row:
    seconds = statistics.median(times)
    if seconds == float("inf"):
        return Row("digits", case, name, None, "s", None, f"not reached in {PATIENCE:.0f} s")
    return Row("digits", case, name, seconds, "s", seconds / ours)


def first_time(curve: list[tuple[float, float]], level: float) -> float:
    return next((seconds for seconds, accuracy in curve if accuracy >= level), float("inf"))


def our_curve(seed: int) -> list[tuple[float, float]]:
    train, test = (load_digits_images(part, seed=seed) for part in ("train", "test"))
    history = fit(digits_model(seed=seed), train, test, epochs=50, seed=seed, progress=False)
    seconds = torch.tensor(history.seconds).cumsum(0).tolist()
    return list(zip(seconds, history.valid_accuracy, strict=True))


def their_curve(seed: int, lr: float, batch_size: int) -> list[tuple[float, float]]:
    torch.manual_seed(seed)
    train, test = (load_digits_images(part, seed=seed) for part in ("train", "test"))
    model = vit_pytorch(DIGITS)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    curve, start = [], time.perf_counter()
    while not curve or (curve[-1][0] < PATIENCE and curve[-1][1] < max(LEVELS)):
        model.train()
        for places in torch.randperm(len(train[1])).split(batch_size):
            optimiser.zero_grad()
            F.cross_entropy(model(train[0][places]), train[1][places]).backward()
            optimiser.step()
        curve.append((time.perf_counter() - start, accuracy_of(model.eval(), test)))
    return curve


@torch.inference_mode()
def accuracy_of(model: nn.Module, test: tuple[Tensor, Tensor]) -> float:
    return (model(test[0]).argmax(dim=1) == test[1]).float().mean().item()


IMPORT = """
import time, torch
start = time.perf_counter()
import vit_steps
print(time.perf_counter() - start)
"""


def time_import(budget: Budget) -> Iterator[Row]:
    times = [1000 * float(output_of(IMPORT)) for _ in range(3 if budget is QUICK else 15)]
    median = statistics.median(times)
    goal = "at most 50 ms: " + ("met" if median <= 50 else "missed")
    yield Row("import", "import vit_steps, after import torch", "vit_steps", median, "ms", None, goal)


def time_notebooks(budget: Budget) -> Iterator[Row]:
    folder = ROOT / "notebooks"
    for path in [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("beyond/*.ipynb"))]:
        seconds, mebibytes = run_notebook(path)
        yield Row("notebooks", path.stem, "run time", seconds, "s")
        goal = "at most 600 MB: " + ("met" if mebibytes * 2**20 <= 600e6 else "missed")
        yield Row("notebooks", path.stem, "peak memory of the kernel", mebibytes, "MiB", None, goal)
    turns = 1 if budget is QUICK else 3
    with tempfile.TemporaryDirectory() as folder:
        floor = write_floor(Path(folder))
        taken = [(nbval(ROOT / "notebooks"), nbval(floor)) for _ in range(turns)]
    ours, least = (statistics.median(times) for times in zip(*taken, strict=True))
    yield Row("notebooks", "all of them under nbval, -n 2", "vit_steps", ours, "s", 1.0)
    yield Row(
        "notebooks",
        "all of them under nbval, -n 2",
        "as many that only import torch",
        least,
        "s",
        least / ours,
    )


# Not from getrusage, which tells a child of its parent's memory, too.
HIGHEST_MEMORY = """
import re
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def run_notebook(path: Path) -> tuple[float, float]:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(HIGHEST_MEMORY))
    start = time.perf_counter()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    return time.perf_counter() - start, float(notebook.cells[-1].outputs[0].text)


def write_floor(folder: Path) -> Path:
    import nbformat

    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number in range(len([*(ROOT / "notebooks").rglob("[0-9a-z]_*.ipynb")])):
        cells = [nbformat.v4.new_code_cell("import torch")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / f"{number}.ipynb")
    return folder


def nbval(folder: Path) -> float:
    options = [
        "--nbval",
        "--nbval-current-env",
        "-n",
        "2",
        "--dist",
        "loadscope",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    sanitize = f"--nbval-sanitize-with={ROOT / 'tests' / 'sanitize.cfg'}"
    command = [sys.executable, "-m", "pytest", *options, sanitize, "--rootdir", str(folder), str(folder)]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


PARTS = {
    "models": time_models,
    "trace": time_trace,
    "embedding": time_embedding,
    "tokens": time_tokens,
    "digits": time_digits,
    "import": time_import,
    "notebooks": time_notebooks,
}


def machine() -> str:
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"


def show(row: Row) -> None:
    figure = "-" if row.figure is None else f"{row.figure:.4g} {row.unit}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    print(f"{row.part:10} {row.case:44} {row.who:58} {figure:>16} {ratio:>6} {row.goal}", flush=True)


def write(rows: list[Row], path: Path) -> None:
    """Put the rows in the place of those of the same parts; what other parts found stays."""
    here, lines = {"date": datetime.date.today().isoformat(), "machine": machine()}, []
    if path.exists():
        with open(path, newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["part"] not in {row.part for row in rows}]
    lines += [here | row._asdict() | {"figure": short(row.figure), "ratio": short(row.ratio)} for row in rows]
    lines.sort(key=lambda line: list(PARTS).index(line["part"]))
    write_table(path, [*here, *Row._fields], lines)


def short(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.speed",
        description=__doc__.partition("\n")[0],
        epilog="example: python -m tests.benchmarks.speed models trace --out /tmp/speed.csv",
    )
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a few turns each, to see that all of it runs")
    parser.add_argument("--out", type=Path, default=TABLE, help="the CSV to write")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {sorted(unknown)[0]!r}, only {', '.join(PARTS)}")
    torch.manual_seed(0)
    rows = []
    for part in options.parts:
        for row in PARTS[part](QUICK if options.quick else FULL):
            rows.append(row)
            show(row)
    write(rows, options.out)


if __name__ == "__main__":
    main()
