"""What the doctor looks at, asked of the system with the standard library; None where it does not say."""

from __future__ import annotations  # a Python that is too old has to read this

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
NAME = "vit-steps"
REQUIREMENT = re.compile(r"""([\w.-]+)\s*>=\s*([\w.]+)(?:.*extra\s*==\s*['"](\w+)['"])?""")
FOR_LESSONS = ("", "lab")  # of the extras, what somebody needs who works through them
LIMITS = {  # of the cgroup that a container or a hub puts a process into: what is allowed, what is used
    "/sys/fs/cgroup/memory.max": "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "/sys/fs/cgroup/memory/memory.usage_in_bytes",
}
PATIENCE = 120  # seconds; a first import of torch from a slow disk takes many


@dataclass
class Machine:
    """What was found; sizes in bytes.

    Attributes:
        wanted: package -> its least version, and the extra that asks for it.
        installed: package -> its version, or None.
        torch_error: why torch cannot be loaded, or nothing.
        memory_free: what a new process can have, within the limits of its container.
        disk_free: folder -> how much is free.
        threads: what OMP_NUM_THREADS says.
        lessons: how many are in this installation.
    """

    system: str = "unknown"
    processor: str = "unknown"
    bits: int = 64
    python: tuple[int, ...] = (0, 0)
    executable: str = ""
    wanted: dict[str, tuple[str, str]] = field(default_factory=dict)
    installed: dict[str, str | None] = field(default_factory=dict)
    torch_error: str = ""
    memory: int | None = None
    memory_free: int | None = None
    disk_free: dict[str, int | None] = field(default_factory=dict)
    cores: int | None = None
    threads: str = ""
    lessons: int = 0

    @classmethod
    def here(cls) -> Machine:
        """Ask the system; a question that fails leaves its answer unknown."""
        wanted = _try(_wanted, {})
        memory, free = _try(_memory, (None, None))
        return cls(
            system=_try(platform.platform, "unknown"),
            processor=_try(platform.machine, "unknown"),
            bits=64 if sys.maxsize > 2**32 else 32,
            python=sys.version_info[:3],
            executable=sys.executable or "",
            wanted=wanted,
            installed={name: _try(lambda name=name: metadata.version(name), None) for name in wanted},
            torch_error=_try(_torch_error, ""),
            memory=memory,
            memory_free=free,
            disk_free=_try(_disk_free, {}),
            cores=_try(_cores, os.cpu_count()),
            threads=os.environ.get("OMP_NUM_THREADS", ""),
            lessons=_try(_lessons, 0),
        )


def numbers_of(version: str) -> tuple[int, ...]:
    """``2.13.0+cpu`` as (2, 13, 0), to be compared."""
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:3]))


def _try(ask: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return ask()
    except Exception:  # whatever a strange system answers with
        return otherwise


def _wanted() -> dict[str, tuple[str, str]]:
    found = (REQUIREMENT.match(line) for line in metadata.requires(NAME) or [])
    parts = (match.groups() for match in found if match and (match[3] or "") in FOR_LESSONS)
    return {name: (least, extra or "") for name, least, extra in parts}


def _torch_error() -> str:
    """Load torch in a process of its own, which may crash; the last line says why."""
    asked = [sys.executable, "-c", "import torch; torch.zeros(1)"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"it takes more than {PATIENCE} s"
    said = done.stderr.strip().splitlines() or [f"it ends with {done.returncode}"]
    return said[-1][:300] if done.returncode else ""


def _memory() -> tuple[int | None, int | None]:
    total, free = _of_the_machine()
    for limit, used in LIMITS.items():
        allowed, taken = (
            _try(lambda path=limit: _number(path), None),
            _try(lambda path=used: _number(path), 0),
        )
        if allowed is not None and (total is None or allowed < total):
            total, free = allowed, min(allowed - taken, free or allowed)
    return total, free


def _of_the_machine() -> tuple[int | None, int | None]:
    try:
        import psutil  # accelerate brings it
    except ImportError:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), free
    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _number(path: str) -> int:
    return int(Path(path).read_text())  # "max" is no number, and no limit


def _disk_free() -> dict[str, int | None]:
    """Where notebooks are saved, where their kernels are noted, and where pip works; each disk once."""
    free: dict[int, tuple[str, int | None]] = {}
    for folder in (os.getcwd(), os.path.expanduser("~"), tempfile.gettempdir()):
        disk = _try(lambda folder=folder: os.stat(folder).st_dev, hash(folder))
        free.setdefault(disk, (folder, _try(lambda folder=folder: shutil.disk_usage(folder).free, None)))
    return dict(free.values())


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _lessons() -> int:
    from vit_steps.commands.where import find_lessons

    return len(list(find_lessons().glob("[1-9]_*.ipynb")))
