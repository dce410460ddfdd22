"""Break the package on purpose, one small change after the other, and see whether the tests notice.

``python -m tests.mutants`` (or ``make mutants``) lets mutmut change the functions of the modules in
``MODULES``. For each mutant those tests of its module run that reach its function. A survivor must be listed
in ``equivalent_mutants.csv``, with the reason why no test could tell it from the original; and every mutant
of that list must have survived. The work is done on a copy in a temporary folder. mutmut forks, so this
needs Linux or macOS.

mutmut leaves decorated functions alone. So in the copy a door is hung below its function instead of above it,
where it does the same: ``unhang`` rewrites the text and keeps the number of each line.

    python -m tests.mutants                     # all modules
    python -m tests.mutants encoder vit         # these alone
"""

import argparse
import ast
import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
EQUIVALENT = HERE / "equivalent_mutants.csv"
# Doors are hung when a module is imported, and mutmut chooses its mutant after that: of doors it would
# call alive what never ran. tests/doors and the table of hostile inputs hold them.
MODULES = (
    *("patch_embedding", "cls_token", "position_embedding", "encoder", "classification", "layers", "vit"),
    *("looking.attention_maps", "looking.agreement"),
    *("pretrained.loading", "pretrained.configs", "pretrained.spelling", "pretrained.preprocess"),
    *("pretrained.rewriting", "pretrained.positions", "pretrained.rotary"),
)
# A module answers to its own tests alone: that is stricter, and far faster, than to run all of them.
MORE_TESTS = {"pretrained.loading": ("pretrained.preprocess",)}  # its preparations are held there
# These have no tests of their own name.
TESTED_BY = {
    "layers": ("vit",),
    "pretrained.rewriting": ("pretrained.spelling", "pretrained.families"),
    "pretrained.positions": ("pretrained.other_sizes", "pretrained.families"),
    "pretrained.rotary": ("pretrained.families",),
}
DOOR = "door"
ENOUGH = 95  # percent, in each module
# A mutant that hangs, or that takes the interpreter down, was noticed too.
KILLED = {"killed", "timeout", "segfault"}
# torch.compile cannot follow what mutmut puts around each function.
CONFIG = """\
[mutmut]
source_paths=
    vit_steps
only_mutate=
    {path}
pytest_add_cli_args_test_selection=
    {tests}
pytest_add_cli_args=
    -p
    no:nbval
    -p
    no:cacheprovider
    -k
    not compiled
timeout_multiplier=3
timeout_constant=10
"""


class Survivor(NamedTuple):
    """A change that no test noticed. Its line is no part of its name: lines move."""

    module: str
    function: str
    original: str
    mutant: str


class Outcome(NamedTuple):
    """What became of one mutant; ``line`` and ``survivor`` only if it lived."""

    module: str
    status: str
    line: int | None = None
    survivor: Survivor | None = None


def main() -> int:
    """Run mutmut on the modules that the command line names, print the table, and say whether it is good."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)}; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants tried at one time")
    arguments = parser.parse_args()
    modules = arguments.modules or list(MODULES)
    if unknown := set(modules) - set(MODULES):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    print(HEADER)
    outcomes = []
    for module in modules:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            outcomes += mutate(Path(folder), module, arguments.jobs)
        print(row(module, outcomes), flush=True)
    print(row("all", outcomes))
    complaints = [*judge(modules, outcomes, read_equivalent())]
    print(*complaints, sep="\n")
    return 1 if complaints else 0


def mutate(folder: Path, module: str, jobs: int) -> list[Outcome]:
    """Try every mutant of a module on a copy of package and tests."""
    ignore = shutil.ignore_patterns("__pycache__", "browser", "benchmarks", "hostile")
    for name in ("vit_steps", "tests"):
        shutil.copytree(HERE.parent / name, folder / name, ignore=ignore)
    for path in (folder / "vit_steps").rglob("*.py"):
        path.write_text(unhang(path.read_text(encoding="utf-8")), encoding="utf-8")
    tests = "\n    ".join(path for name in (module, *MORE_TESTS.get(module, ())) for path in tests_of(name))
    config = CONFIG.format(path=path_of(module), tests=tests)
    (folder / "setup.cfg").write_text(config, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise SystemExit(f"mutmut ended with {run.returncode}.\n{(run.stdout + run.stderr)[-3000:]}")
    with contextlib.chdir(folder):
        return [*read_outcomes(module)]


def path_of(module: str) -> str:
    """The file of a module: ``pretrained.dialects`` lies in a folder."""
    return f"vit_steps/{module.replace('.', '/')}.py"


def tests_of(module: str) -> list[str]:
    """The tests that a module answers to: of its own name, or else those of its room."""
    if module in TESTED_BY:
        return [path for name in TESTED_BY[module] for path in tests_of(name)]
    room, _, name = module.rpartition(".")
    folder = HERE / room
    own = sorted(folder.glob(f"test_{name}*.py"))
    found = own or sorted(folder.glob("test_*.py")) if room else own
    return [path.relative_to(HERE.parent).as_posix() for path in found]


def unhang(source: str) -> str:
    """Hang each door below its function: ``@door(...)`` goes, ``f = door(...)(f)`` comes, on the line below.

    Every ``def`` stays at its line where that line was free. A function with other decorators stays as it is.
    """
    lines = source.splitlines()
    behind_doors = [node for node in ast.walk(ast.parse(source)) if hangs_behind_door(node)]
    # From below, since a line may have to be put in where none is free.
    for node in sorted(behind_doors, key=lambda node: node.lineno, reverse=True):
        (door,) = node.decorator_list
        first = door.lineno - 1  # counted from 0
        hung = f"{' ' * node.col_offset}{node.name} = {ast.unparse(door)}({node.name})"
        free = node.end_lineno < len(lines) and not lines[node.end_lineno].strip()
        lines[node.end_lineno : node.end_lineno + free] = [hung]
        lines[first : door.end_lineno] = [""] * (door.end_lineno - first)
    return "\n".join(lines) + "\n"


def hangs_behind_door(node: ast.AST) -> bool:
    """Whether a door, and nothing else, is hung in front of a function."""
    match getattr(node, "decorator_list", None):
        case [ast.Name(name)] | [ast.Call(ast.Name(name))]:
            return name == DOOR and isinstance(node, ast.FunctionDef)
    return False


def read_outcomes(module: str) -> Iterator[Outcome]:
    """Read what mutmut wrote down, in its working folder."""
    from mutmut.stats import status_by_exit_code  # here, because mutmut cannot be imported on Windows

    path = path_of(module)
    for name, code in json.loads(Path(f"mutants/{path}.meta").read_text())["exit_code_by_key"].items():
        status = status_by_exit_code[code]
        if status in KILLED:
            yield Outcome(module, status)
        else:
            yield Outcome(module, status, *describe(module, path, name))


def describe(module: str, path: str, name: str) -> tuple[int, Survivor]:
    """Say in which line which text became which."""
    import libcst
    from mutmut.mutation.diff_apply import read_functions_from_index
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    function, owner = orig_function_and_class_names_from_key(name)
    before, after = (
        libcst.Module([node.with_changes(leading_lines=[])]).code.splitlines()
        for node in read_functions_from_index(name, path)
    )
    changes = [each for each in SequenceMatcher(None, before, after).get_opcodes() if each[0] != "equal"]
    start, stop = changes[0][1], changes[-1][2]
    original = before[start:stop]
    mutant = after[changes[0][3] : changes[-1][4]]
    called = f"{owner}.{function}" if owner else function
    return first_line(path, owner, function) + start, Survivor(module, called, flat(original), flat(mutant))


def first_line(path: str, owner: str | None, function: str) -> int:
    """Find the line of a function's ``def``."""
    nodes = ast.parse(Path(path).read_text(encoding="utf-8")).body
    if owner:
        nodes = next(node.body for node in nodes if getattr(node, "name", None) == owner)
    return next(node.lineno for node in nodes if getattr(node, "name", None) == function)


def flat(lines: list[str]) -> str:
    """Join the lines of a change to one."""
    return " ".join(line.strip() for line in lines)


HEADER = f"{'module':24}{'mutants':>9}{'killed':>9}{'by time':>9}{'survived':>10}{'%':>8}"


def row(name: str, outcomes: list[Outcome]) -> str:
    """Count the outcomes of one module, or of all, in a row under ``HEADER``."""
    counts = Counter(each.status for each in outcomes if name in (each.module, "all"))
    number, killed = counts.total(), sum(counts[status] for status in KILLED)
    share = 100 * killed / max(number, 1)
    return f"{name:24}{number:9}{killed:9}{counts['timeout']:9}{number - killed:10}{share:8.2f}"


def judge(modules: list[str], outcomes: list[Outcome], equivalent: dict[Survivor, str]) -> Iterator[str]:
    """Name what is wrong: survivors without a reason, reasons without a survivor, modules below the mark."""
    survivors = {each.survivor: each for each in outcomes if each.survivor}
    for survivor, outcome in survivors.items():
        if survivor not in equivalent:
            place = f"{path_of(survivor.module)}:{outcome.line}"
            yield f"{place}: {outcome.status}: {survivor.original}  ->  {survivor.mutant}"
    for listed in equivalent:
        if listed.module in modules and listed not in survivors:
            yield f"{EQUIVALENT.name} lists a mutant that does not survive: {', '.join(listed)}"
    for module in modules:
        own = (each for each in outcomes if each.module == module and each.survivor not in equivalent)
        dead = [each.status in KILLED for each in own]
        if 100 * sum(dead) < ENOUGH * len(dead) or not dead:
            yield f"{module}: {sum(dead)} of {len(dead)} mutants killed, {ENOUGH} % are asked for"


def read_equivalent() -> dict[Survivor, str]:
    """Read the survivors that nothing can tell from the original, each with its reason."""
    with EQUIVALENT.open(encoding="utf-8", newline="") as file:
        return {Survivor(*row[:-1]): row[-1] for row in list(csv.reader(file))[1:]}


if __name__ == "__main__":
    sys.exit(main())
