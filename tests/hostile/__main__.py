"""Print what was tried on every public function, and what came of it, by running all of it."""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does it

import conftest  # noqa: F401 (one thread, no network, no display)
import jaxtyping
import torch

from hostile.rows import ROWS
from hostile.trial import WORKS, judge, tries

# A group, and how the names of its kinds begin; what begins like none of them is a wrong value.
GROUPS = {
    "type": ("None", "1", "'text'", "text", "a list", "a numpy", "an object", "is ", "a figure", "{", "["),
    "shape": ("an axis", "a scalar", "(", "fewer", "not square", "two "),
    "empty": ("empty", "axis ", "no ", "none of"),
    "dtype": ("torch.",),
    "NaN": ("NaN", "nan", "infinity", "minus inf", "inf", "one NaN"),
    "meta": ("on meta", "meta"),
    "view": ("not contiguous", "a slice", "expanded", "requires grad", "numpy integer"),
    "value": ("",),
}


def group_of(kind: str) -> str:
    name = kind.rpartition(": ")[2]
    found = {group for group, starts in GROUPS.items() if group != "value" and name.startswith(starts)}
    return "empty" if name.startswith("axis ") else min(found, default="value")


def cell(verdicts: Counter) -> str:
    short = {"ValueError": "V", "TypeError": "T", WORKS: "w"}
    counts = Counter()
    for verdict, count in verdicts.items():
        counts[short.get(verdict, "o")] += count
    return " ".join(f"{counts[letter]}{letter}" for letter in "wVTo" if counts[letter])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("words", nargs="*", help="of functions to try, such as plots; default: all")
    parser.add_argument("--all", action="store_true", help="a line for every single try")
    options = parser.parse_args()
    jaxtyping.config.update("jaxtyping_disable", True)  # the doors are to answer, not the type checker
    torch.set_num_threads(1)
    print(
        "w works and is right (of a check: it says in one line what is wrong with the answer), V ValueError,"
    )
    print("T TypeError, o another error that the docstring names, such as FileNotFoundError\n")
    print(f"| function | {' | '.join(GROUPS)} |\n|{'---|' * (1 + len(GROUPS))}")
    whole, faults = Counter(), []
    for name in ROWS:
        if any(word in name for word in options.words or [""]):
            whole += tell(name, options.all, faults)
    print(
        f"\n{sum(whole.values())} tries: " + ", ".join(f"{n} {verdict}" for verdict, n in whole.most_common())
    )
    print(
        *(faults or ["no fault: nothing passed silently, nothing failed late, nothing was changed"]), sep="\n"
    )
    return int(bool(faults))


def tell(name: str, every: bool, faults: list[str]) -> Counter:
    found = {group: Counter() for group in GROUPS}
    for argument, kind_name, kind in tries(ROWS[name]):
        outcome = judge(ROWS[name], argument, kind_name, kind)
        found[group_of(kind_name)][outcome.verdict] += 1
        line = f"{name}: {argument} = {kind_name}: {outcome.verdict}"
        if outcome.fault:
            faults.append(f"FAULT {line}, {outcome.fault}")
        if every:
            print(line)
    print(f"| {name} | {' | '.join(map(cell, found.values()))} |", flush=True)
    return sum(found.values(), Counter())


if __name__ == "__main__":
    raise SystemExit(main())
