"""How much a JupyterHub needs for a class: N students, staggered as a class is, each with lessons 1 and 5.

    python tests/benchmarks/hub.py --hub VENV [--users 1 4 10 20 30] [--over 300]

VENV is an environment with jupyterhub, the wheel of vit-steps with its extra ``lab``, and in its ``bin``, or
on the PATH, configurable-http-proxy. The hub is the one of the page "A hub for a class"
(tools/pages/assets/jupyterhub_config.py). Each student comes at a moment of their own within ``--over``
seconds, starts a server, runs lesson 1 to its end, shuts its kernel, and runs lesson 5 up to the cell that
trains. Memory is PSS, of which the pages that processes share count once; it is looked at every few seconds.
Prints a line for each N and writes hub.csv beside this file.
"""

import argparse
import asyncio
import datetime
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import hub_client
from hub_client import Hub, Ran
from hub_memory import Memory, watch

from vit_steps.files.writing import write_table

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = [
    *(
        "users",
        "over_s",
        "wall_s",
        "kernels",
        "server_start_s",
        "lesson_1_s",
        "training_s",
        "training_worst_s",
    ),
    *("slowest_cell_s", "slowest_cell", "failed", "pss_gb", "pss_hub_gb", "pss_servers_gb", "pss_kernels_gb"),
    *("cores", "machine", "date"),
]
LESSON, TRAINING = "1_patch_embedding", "5_classification"
LAST = "train-fit"  # the cell of lesson 5 that trains


class Student(NamedTuple):
    """What one student saw: how long the server took, and each cell."""

    server: float
    cells: list[Ran]

    def seconds(self, lesson: str, cell: str | None = None) -> float:
        """Of a whole lesson, or of one of its cells."""
        return sum(ran.seconds for ran in self.cells if ran.lesson == lesson and cell in (None, ran.cell))


async def one_student(hub: Hub, number: int, delay: float) -> Student:
    await asyncio.sleep(delay)
    user = f"student{number:02}"
    server = await hub.start_server(user)
    cells = await hub.run_lesson(user, LESSON, None)
    cells += await hub.run_lesson(user, TRAINING, LAST)
    await hub.stop_server(user)
    return Student(server, cells)


async def one_class(hub: Hub, users: int, over: float) -> tuple[float, list[Student]]:
    """All students of a class; the first comes at once, the last ``over`` seconds later."""
    began = asyncio.get_running_loop().time()
    delays = [over * number / max(users - 1, 1) for number in range(users)]
    students = await asyncio.gather(*(one_student(hub, n, delay) for n, delay in enumerate(delays, 1)))
    return asyncio.get_running_loop().time() - began, students


async def measure(environment: Path, users: int, over: float) -> dict:
    with tempfile.TemporaryDirectory(prefix="vit-hub-") as folder:
        hub = Hub(environment, Path(folder))
        try:
            await hub.start()
            memory = Memory()
            watching = asyncio.create_task(watch(hub.process.pid, memory))
            wall, students = await one_class(hub, users, over)
            watching.cancel()
        finally:
            await hub.stop()
    return as_row(users, over, wall, students, memory)


def as_row(users: int, over: float, wall: float, students: list[Student], memory: Memory) -> dict:
    cells = [ran for student in students for ran in student.cells]
    slowest = max(cells, key=lambda ran: ran.seconds)
    training = [student.seconds(TRAINING, LAST) for student in students]
    times = {
        "wall_s": wall,
        "server_start_s": statistics.median(student.server for student in students),
        "lesson_1_s": statistics.median(student.seconds(LESSON) for student in students),
        "training_s": statistics.median(training),
        "training_worst_s": max(training),
        "slowest_cell_s": slowest.seconds,
    }
    peak = {"pss_gb": memory.total, **{f"pss_{part}_gb": size for part, size in memory.parts.items()}}
    return {
        **{"users": users, "over_s": round(over), "kernels": memory.kernels},
        **{name: round(seconds, 1) for name, seconds in times.items()},
        **{name: round(size / 1e9, 2) for name, size in peak.items()},
        "slowest_cell": f"{slowest.lesson}, {slowest.cell}",
        "failed": sum(ran.failed for ran in cells),
        "cores": len(os.sched_getaffinity(0)),
        "machine": hub_client.processor() or platform.machine(),
        "date": datetime.date.today().isoformat(),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hub", type=Path, required=True, metavar="VENV", help="the environment of the hub")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 4, 10, 20, 30], help="sizes of the class")
    parser.add_argument("--over", type=float, default=300, help="seconds within which all of them come")
    parser.add_argument("--out", type=Path, default=TABLE, help="the table that is written")
    chosen = parser.parse_args(arguments)
    rows = []
    for users in chosen.users:
        rows.append(asyncio.run(measure(chosen.hub.resolve(), users, chosen.over)))
        print("  ".join(f"{name} {rows[-1][name]}" for name in COLUMNS[:-3]), flush=True)
        write_table(chosen.out, COLUMNS, rows)  # after each: a long run may be cut
    return int(any(row["failed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
