"""What a hub and all that it started take of the memory, by part, at the moment when it is most."""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PAUSE = 3  # seconds between two looks; a look at a process with torch takes some milliseconds of a core
PSS = re.compile(r"^(?:Pss|SwapPss):\s+(\d+) kB", re.M)


@dataclass
class Memory:
    """The most that was seen, in bytes, and its parts at that moment; the most kernels at once."""

    total: int = 0
    kernels: int = 0
    parts: dict[str, int] = field(default_factory=lambda: {"hub": 0, "servers": 0, "kernels": 0})

    def take(self, sizes: Counter, kernels: int) -> None:
        """Keep it, if it is more than before."""
        self.kernels = max(self.kernels, kernels)
        if sizes.total() > self.total:
            self.total = sizes.total()
            self.parts = {part: sizes[part] for part in self.parts}


def pss(pid: int, proc: Path = Path("/proc")) -> int:
    """The proportional set size of a process: what it shares with n others counts as one n-th."""
    return 1024 * sum(map(int, PSS.findall((proc / str(pid) / "smaps_rollup").read_text())))


def part_of(command: list[str]) -> str:
    """Which part of a hub a process is, by its command line."""
    words = " ".join(command)
    if "ipykernel_launcher" in words:
        return "kernels"
    return "servers" if "singleuser" in words else "hub"


def look(pid: int) -> tuple[Counter, int]:
    """Sizes by part of a process and all that it started, and how many of them are kernels."""
    sizes, kernels = Counter(), 0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.Error, OSError):  # it just ended
            part = part_of(process.cmdline())
            sizes[part] += pss(process.pid)
            kernels += part == "kernels"
    return sizes, kernels


async def watch(pid: int, memory: Memory) -> None:
    """Look again and again, until cancelled."""
    while True:
        with suppress(psutil.Error):
            memory.take(*await asyncio.to_thread(look, pid))
        await asyncio.sleep(PAUSE)
