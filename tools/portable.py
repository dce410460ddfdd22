"""Would another processor print the same? `make portable` runs the lessons as other machines compute.

Every number that a lesson prints is kept unrounded, under each arithmetic of `arithmetics.py`. The table
says how far it is from the edge at which it would be written otherwise, in units of the largest difference
between two arithmetics: below ten, the stored lesson hangs on this machine, and the command fails. So it does
where an arithmetic prints another text than the stored one, and where a test fails under one.

    python tools/portable.py               lessons and tests, half an hour
    python tools/portable.py lessons       the table alone, ten minutes
    python tools/portable.py tests "oneDNN off"    the tests under one arithmetic
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import arithmetics
import numpy
import recorder

ROOT = Path(__file__).resolve().parent.parent
LEAST = 10
# A model trained on another machine is another draw: what is claimed of it need only hold for all draws.
LEAST_OF_LIMIT = 1
IGNORED = {"nbval-ignore-output", "nbval-skip"}
KINDS_OF_LIMIT = {"limit", "within"}
TESTS = ["tests", "--ignore=tests/browser", "-n", "2", "--dist", "loadscope", "-q", "--no-header"]


@dataclass(frozen=True)
class Number:
    """One printed number: where, how it is written, and its value under each arithmetic."""

    place: str
    how: str
    values: tuple[float, ...]

    @property
    def text(self) -> str:
        """What is printed: one text, or all that the arithmetics print."""
        return "/".join(dict.fromkeys(written(value, self.how) for value in self.values))

    @property
    def difference(self) -> float:
        """The largest difference seen, and at least the last digit that its type can hold."""
        return max(max(self.values) - min(self.values), max(map(last_digit, self.values)))

    @property
    def distance(self) -> float:
        """From the nearest of the values to the edge; none, where two of them are written differently."""
        if len({written(value, self.how) for value in self.values}) > 1:
            return 0.0
        return min(distance_to_edge(value, self.how) for value in self.values)

    @property
    def margin(self) -> float:
        """The distance in units of the difference."""
        if self.how == "exact" and len(set(self.values)) == 1:
            return float("inf")
        return self.distance / self.difference

    @property
    def hangs(self) -> bool:
        """Whether another machine may write it otherwise."""
        return self.margin < (LEAST_OF_LIMIT if self.how == "limit" else LEAST)


def last_digit(value: float) -> float:
    """The step to the next number of the type that a value came of: a float32 stays one when widened."""
    single = numpy.float32(value)
    return float(numpy.spacing(abs(single) if float(single) == value else abs(value)))


def written(value: float, how: str) -> str:
    if how in KINDS_OF_LIMIT:
        return str(value < (how == "within"))
    if how.startswith("round "):
        return repr(round(value, int(how.removeprefix("round "))))
    return repr(value) if how == "exact" else format(value, how)


def distance_to_edge(value: float, how: str) -> float:
    """The smallest step, up or down, after which the value is written otherwise."""
    if how in KINDS_OF_LIMIT:
        return abs(value - (how == "within"))
    # Zero to the last bit is the size of something, and no size is below it.
    return min(_step(value, how, sign) for sign in ((-1, 1) if value else (1,)))


def _step(value: float, how: str, sign: int) -> float:
    """Doubled until the text changes, then halved down to the first step that changes it."""
    text, far = written(value, how), float(numpy.spacing(abs(value)))
    while written(value + sign * far, how) == text:
        far *= 2
    near = 0.0
    while near < (middle := (near + far) / 2) < far:
        if written(value + sign * middle, how) == text:
            near = middle
        else:
            far = middle
    return far


def lessons() -> list[Path]:
    folder = ROOT / "notebooks"
    return sorted(folder.glob("*.ipynb")) + sorted(folder.glob("beyond/*.ipynb"))


def code_cells(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def is_compared(cell: dict) -> bool:
    return not IGNORED & {*cell["metadata"].get("tags", [])}


def record(name: str, out: Path) -> None:
    """In a process of its own: run all lessons under one arithmetic, and write down what they print."""
    import torch

    arithmetics.begin(name)
    _draw_nothing()
    torch.set_num_threads = lambda count: None  # a lesson's own number would undo the arithmetic's
    fresh = torch.get_rng_state()
    found = {}
    for path in lessons():
        torch.set_rng_state(fresh)  # a kernel starts so
        os.chdir(path.parent)
        found |= record_lesson(path)
    out.write_text(json.dumps(found), encoding="utf-8")


def record_lesson(path: Path) -> dict[str, dict]:
    namespace = {"__name__": "__main__"}
    found = {}
    for cell in code_cells(path):
        ran = recorder.run_cell("".join(cell["source"]), namespace)
        if is_compared(cell):
            found[f"{path.stem[0]}/{cell['id']}"] = ran
    return found


def _draw_nothing() -> None:
    """Figures are made and never rendered: that is three quarters of a lesson's time."""
    from matplotlib.figure import Figure
    from PIL import Image

    def savefig(figure, target, **options):
        Image.new("RGB", (2, 2)).save(target, format="png")

    Figure.savefig, Figure.draw_without_rendering = savefig, lambda figure: None


def start(command: list[str], name: str) -> subprocess.Popen:
    here = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])}
    environment = arithmetics.environment(name) | {"MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"} | here
    return subprocess.Popen([sys.executable, *command], env=environment, cwd=ROOT)


def lessons_under(names: list[str]) -> dict[str, dict]:
    """What all lessons print, by arithmetic, each in a process of its own."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            out = Path(folder) / "printed.json"
            print(f"lessons: {name}", file=sys.stderr, flush=True)
            if start([__file__, "record", name, str(out)], name).wait():
                raise SystemExit(f"the lessons stop under {name}")
            found[name] = json.loads(out.read_text(encoding="utf-8"))
    return found


def numbers_in(found: dict[str, dict]) -> list[Number]:
    """The numbers of all cells; where an arithmetic prints another count of them, its text differs anyway."""
    numbers = []
    for place in found[arithmetics.OWN]:
        for same in zip(*(cells[place]["numbers"] for cells in found.values()), strict=False):
            numbers.append(Number(place, same[0]["how"], tuple(each["value"] for each in same)))
    return numbers


def other_texts(found: dict[str, dict]) -> list[str]:
    """Where an arithmetic prints something else than the notebook keeps."""
    stored = {
        f"{path.stem[0]}/{cell['id']}": recorder.stored_text(cell)
        for path in lessons()
        for cell in filter(is_compared, code_cells(path))
    }
    return [
        f"{place} prints another text under {name}:\n  {cells[place]['text']}\n  stored: {text}"
        for name, cells in found.items()
        for place, text in stored.items()
        if cells[place]["text"] != text
    ]


def table(numbers: list[Number]) -> str:
    rows = ["| cell | printed | edge is away | largest difference | margin |", "|---|---|---|---|---|"]
    for each in sorted(numbers, key=lambda number: number.margin):
        sizes = f"{each.distance:.1e} | {each.difference:.1e} | {each.margin:.3g}"
        rows.append(f"| {each.place} | {each.text} ({each.how}) | {sizes} |")
    return "\n".join(rows)


def try_lessons(names: list[str]) -> int:
    """Print the table, and return how many numbers and texts hang on the machine."""
    found = lessons_under(names)
    numbers, texts = numbers_in(found), other_texts(found)
    print(table(numbers))
    near = [each for each in numbers if each.hangs]
    print("\n".join(texts))
    print(f"{len(numbers)} numbers under {len(names)} arithmetics: {len(near)} are nearer than {LEAST}")
    return len(near) + len(texts)


def try_tests(names: list[str]) -> int:
    """Run the fast tests under each arithmetic, and return under how many of them some fail."""
    failed = 0
    for name in names:
        print(f"tests: {name}", flush=True)
        failed += start(["-m", "pytest", "-p", "arithmetics", *TESTS], name).wait() != 0
    return failed


def main(words: list[str]) -> int:
    if words[:1] == ["record"]:
        record(words[1], Path(words[2]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=["lessons", "tests"], help="one half (default: both)")
    every = list(arithmetics.ENVIRONMENTS)
    parser.add_argument("names", nargs="*", help="arithmetics (default: all): " + ", ".join(every))
    asked = parser.parse_args(words)
    if wrong := set(asked.names) - set(every):
        parser.error(f"no such arithmetic: {', '.join(sorted(wrong))}")
    names = asked.names or every
    own_first = list(dict.fromkeys([arithmetics.OWN, *names]))
    hanging = try_lessons(own_first) if asked.what != "tests" else 0
    failed = try_tests(names) if asked.what != "lessons" else 0
    return int(bool(hanging or failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
