"""``vit-steps doctor``: what does not fit on this machine, and what to do.

It stands on the standard library alone, so that it can still speak where torch cannot be loaded. What cannot
be found out is said to be unknown, and is no fault.
"""

from __future__ import annotations  # a Python that is too old has to read this

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vit_steps.commands.machine import Machine, numbers_of

OLDEST = (3, 11)
KERNEL, FREE_DISK = (
    0.6e9,
    0.5e9,
)  # bytes: what a lesson's kernel takes at most; room for pictures and notebooks
SHOWN = ("torch", "anywidget", "ipywidgets", "jupyterlab")
EXAMPLES = """examples:
  everything, in a few seconds
    vit-steps doctor
  in a script: the exit status is 0 where all fits and 1 where something does not
    vit-steps doctor || echo "not here"
"""


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        about: what was looked at.
        found: what is there.
        advice: what to do, where it does not fit; empty where it does.
    """

    about: str
    found: str
    advice: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Run ``vit-steps doctor``.

    Returns:
        0 where all fits, 1 where something does not.
    """
    argparse.ArgumentParser(
        prog="vit-steps doctor",
        description="Say what does not fit on this machine, and what to do.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    findings = examine(Machine.here())
    print(report(findings))
    return int(any(finding.advice for finding in findings))


def report(findings: list[Finding]) -> str:
    """The findings as lines; what to do stands below what does not fit."""
    lines, width = [], max(len(finding.about) for finding in findings)
    for finding in findings:
        lines.append(f"{'NO' if finding.advice else 'ok':3} {finding.about:{width}} {finding.found}")
        if finding.advice:
            lines.append(f"{'':{width + 4}} {finding.advice}")
    wrong = sum(bool(finding.advice) for finding in findings)
    lines.append("Everything fits." if not wrong else f"{wrong} of {len(findings)} do not fit; see NO above.")
    return "\n".join(lines)


def examine(machine: Machine) -> list[Finding]:
    """Judge a machine; a judge that fails says so, and the others go on."""
    return [found for judge in JUDGES for found in _without_fail(judge, machine)]


def _without_fail(judge: Callable[[Machine], Iterator[Finding]], machine: Machine) -> list[Finding]:
    try:
        return list(judge(machine))
    except Exception as error:  # whatever it is: a report with a gap is better than none
        return [Finding(judge.__name__.strip("_"), f"unknown ({type(error).__name__}: {error})")]


def _system(at: Machine) -> Iterator[Finding]:
    advice = ""
    if at.bits == 32:
        advice = "This Python is made for 32 bits, torch is not: install the 64-bit one."
    yield Finding("system", f"{at.system}, {at.processor}, {at.bits} bits", advice)


def _python(at: Machine) -> Iterator[Finding]:
    here, oldest = (".".join(map(str, version)) for version in (at.python, OLDEST))
    advice = ""
    if at.python[:2] < OLDEST:
        advice = f"Python {oldest} or newer is needed: install one, and this package into it."
    yield Finding("Python", f"{here} ({at.executable})", advice)


def _torch(at: Machine) -> Iterator[Finding]:
    if not at.torch_error:
        return
    advice = "Install it afresh: pip install --force-reinstall torch"
    if "WinError" in at.torch_error or "DLL" in at.torch_error:
        advice = "Install Microsoft's Visual C++ Redistributable (x64), and start again."
    elif "No module named 'torch'" in at.torch_error:
        advice = "It has no build for every system: pip install torch says whether there is one for this."
    there = at.installed.get("torch") or ""
    yield Finding("torch", f"{there} cannot be loaded: {at.torch_error}".strip(), advice)


def _packages(at: Machine) -> Iterator[Finding]:
    """What pyproject.toml asks for, held against what is installed."""
    if not at.wanted:
        yield Finding("packages", "unknown: vit-steps was not installed by pip or conda")
    for name, (least, extra) in at.wanted.items():
        there = at.installed.get(name)
        if name == "torch" and at.torch_error:
            continue
        if there is None:
            yield Finding(name, "is not installed", f'pip install "vit-steps{f"[{extra}]" if extra else ""}"')
        elif numbers_of(there) < numbers_of(least):
            yield Finding(name, f"{there} is too old", f'pip install --upgrade "{name}>={least}"')
        elif name in SHOWN:
            yield Finding(name, there)


def _memory(at: Machine) -> Iterator[Finding]:
    if at.memory_free is None:
        yield Finding("memory", "unknown")
        return
    of_all = f" of {_gb(at.memory)}" if at.memory else ""
    advice = ""
    if at.memory_free < KERNEL:
        advice = f"A lesson takes {_gb(KERNEL)}: close other programs, or notebooks (Kernel, Shut Down All)."
    yield Finding("memory", f"{_gb(at.memory_free)} free{of_all}", advice)


def _disk(at: Machine) -> Iterator[Finding]:
    for folder, free in at.disk_free.items():
        if free is None:
            yield Finding("disk", f"unknown at {folder}")
            continue
        advice = ""
        if free < FREE_DISK:
            advice = f"Make room: {_gb(FREE_DISK)} are needed, or notebooks cannot be saved."
        yield Finding("disk", f"{_gb(free)} free at {folder}", advice)


def _threads(at: Machine) -> Iterator[Finding]:
    found = f"{at.cores or 'unknown'} processor cores, OMP_NUM_THREADS is {at.threads or 'not set'}"
    advice = ""
    if at.cores and at.threads.isdecimal() and int(at.threads) > at.cores:
        advice = "More threads than cores wait for each other: set OMP_NUM_THREADS=1, as vit-steps lab does."
    yield Finding("threads", found, advice)


def _lessons(at: Machine) -> Iterator[Finding]:
    advice = "" if at.lessons else "Install vit-steps again: its lessons are not in this installation."
    yield Finding("lessons", f"{at.lessons} of them", advice)


def _gb(count: int | float) -> str:
    return f"{count / 1e9:.1f} GB"


JUDGES = (_system, _python, _torch, _packages, _memory, _disk, _threads, _lessons)


if __name__ == "__main__":
    sys.exit(main())
