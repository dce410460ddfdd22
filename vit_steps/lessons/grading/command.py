"""The command ``vit-steps grade``: a class's notebooks in, a table and a page out."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from tqdm import tqdm

from vit_steps.files.reading import shown
from vit_steps.files.writing import writable
from vit_steps.lessons.grading import jail
from vit_steps.lessons.grading.hand_ins import HandIn, find_hand_ins
from vit_steps.lessons.grading.jail import Limits
from vit_steps.lessons.grading.report import Row, rows_of, write_csv, write_page
from vit_steps.lessons.grading.trial import Job

EXAMPLES = """examples:
  a folder with a notebook for each student, or a folder for each student
    vit-steps grade handed_in --out class.csv
  what nbgrader has collected; slow machines get more time
    vit-steps grade course/submitted --out class.csv --seconds 60

Beside class.csv comes class.html, a page that counts the mistakes. Ctrl-C keeps what is graded; the same
command goes on from there. Of a notebook only its imports run, its answers and what they use.

What it holds: each notebook runs in a process of its own, without a network, sees Python and this package but
neither your files nor other students', writes into a home of its own in memory, and has limits of time,
memory and processes. What it does not hold: an answer and the check that judges it share a process, so a
student who sets out to deceive the check can; what replaces parts of torch or of the checks is undone and
named. And a hole in the kernel is a hole in this: it is made for a class, not for the Internet.
"""
UNHELD = """this system lets no process be shut in (Linux with namespaces does): a notebook could use the
network and read or delete your files. On a machine that may be lost, say --trust"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``vit-steps grade``.

    Returns:
        0 when all is graded, 130 when Ctrl-C ended it. What is refused leaves with 2, and says why.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        limits = _limits(options)
        hand_ins = _check(options)
        held = jail.works(limits)
        if not held and not options.trust:
            raise OSError(f"{jail.why(limits)}; {' '.join(UNHELD.split())}")
        _grade(hand_ins, limits, options, shut_in=held)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C; the same command goes on from here", file=sys.stderr, flush=True)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vit-steps grade",
        description="Grade the exercises in the notebooks of a class, and count the mistakes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the notebooks are")
    parser.add_argument(
        "--out", metavar="CSV", type=Path, required=True, help="the table; the page lies beside it"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="for each cell and each answer (20)")
    parser.add_argument("--memory", type=float, default=2.0, metavar="GB", help="for each notebook (2)")
    parser.add_argument(
        "--workers", type=int, default=None, help="notebooks at the same time (one for each core)"
    )
    parser.add_argument("--trust", action="store_true", help="grade where notebooks cannot be shut in")
    return parser


def _limits(options: argparse.Namespace) -> Limits:
    if not 0 < options.seconds <= 3600:
        raise ValueError(f"--seconds must lie between 0 and 3600, got {options.seconds:g}")
    if not 0.25 <= options.memory <= 1024:
        raise ValueError(f"--memory must lie between 0.25 and 1024 GB, got {options.memory:g}")
    if options.workers is not None and not 1 <= options.workers <= 256:
        raise ValueError(f"--workers must lie between 1 and 256, got {options.workers}")
    return Limits(options.seconds, 6 * options.seconds, int(options.memory * 2**30))


def _check(options: argparse.Namespace) -> list[HandIn]:
    if options.out.suffix != ".csv":
        raise ValueError(f"--out must end in .csv, got {shown(options.out)}")
    hand_ins = find_hand_ins(options.folder)
    if not hand_ins:
        raise ValueError(f"{shown(options.folder)} holds no notebook (.ipynb)")
    for path in (options.out, options.out.with_suffix(".html")):
        writable(path)
    return hand_ins


def _grade(hand_ins: list[HandIn], limits: Limits, options: argparse.Namespace, *, shut_in: bool) -> None:
    kept = options.out.with_suffix(".partial")
    done = _read_kept(kept)
    keys = [_key(hand_in, limits) for hand_in in hand_ins]
    left = [(key, hand_in) for key, hand_in in zip(keys, hand_ins, strict=True) if key not in done]
    workers = min(options.workers or _cores(), max(1, len(left)))
    with (
        open(kept, "a", encoding="utf-8") as file,
        tqdm(total=len(keys), initial=len(keys) - len(left)) as bar,
    ):
        for key, rows in _judged(left, limits, workers, shut_in):
            done[key] = rows
            file.write(json.dumps([key, rows]) + "\n")
            file.flush()
            bar.update()
    rows = [row for key in keys for row in done[key]]
    write_csv(options.out, rows)
    write_page(options.out.with_suffix(".html"), rows, f"Grading of {shown(options.folder.resolve().name)}")
    kept.unlink()
    print(f"{shown(options.out)} and {shown(options.out.with_suffix('.html'))}: {len(keys)} notebooks")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _key(hand_in: HandIn, limits: Limits) -> str:
    """What a notebook is known by when the command goes on: its name, its time, its size, and the limits."""
    stat = hand_in.path.lstat()
    words = (hand_in.file, stat.st_mtime_ns, stat.st_size, tuple(limits))
    return hashlib.sha256(repr(words).encode("utf-8", "surrogateescape")).hexdigest()


def _read_kept(path: Path) -> dict[str, list[Row]]:
    """What an earlier run has graded; a line that was cut short counts for nothing."""
    done = {}
    with suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                key, rows = json.loads(line)
                done[key] = [Row(*row) for row in rows]
    return done


def _judged(
    left: list[tuple[str, HandIn]], limits: Limits, workers: int, shut_in: bool
) -> Iterator[tuple[str, list]]:
    """Hand the notebooks to workers, and give what they find as it comes."""
    todo, found = Queue(), Queue()
    for each in left:
        todo.put(each)
    helpers = [Worker(todo, found, limits, shut_in) for _ in range(workers)]
    try:
        for _ in left:
            yield _waited(found, helpers)
    finally:
        for helper in helpers:
            helper.stop()


def _waited(found: Queue, helpers: list["Worker"]) -> tuple[str, list[Row]]:
    while True:
        with suppress(Empty):
            return found.get(timeout=1)
        if not any(helper.thread.is_alive() for helper in helpers) and found.empty():
            raise OSError("the workers have ended; run the same command again")


class Worker:
    """A process that judges notebooks one after the other, and a thread that feeds it."""

    def __init__(self, todo: Queue, found: Queue, limits: Limits, shut_in: bool):
        self.todo, self.found, self.limits, self.shut_in = todo, found, limits, shut_in
        self.process: subprocess.Popen | None = None
        self.stopped = False
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while not self.stopped:
            try:
                key, hand_in = self.todo.get_nowait()
            except Empty:
                break
            found = {"lesson": None, "verdicts": {}, "notes": [], "refused": hand_in.refused}
            self.found.put((key, rows_of(hand_in, found if hand_in.refused else self._ask(hand_in))))
        self.stop()

    def _ask(self, hand_in: HandIn) -> dict[str, Any]:
        """Ask the process; one that breaks off is started anew, for the next notebook."""
        if self.process is None or self.process.poll() is not None:
            self.process = self._start()
        job = Job(os.path.abspath(hand_in.path), hand_in.lesson)
        try:
            self.process.stdin.write(json.dumps({"job": job, "limits": self.limits}) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.process.kill()
            self.process.wait()
            words = "the worker that graded it broke off"
            return {"lesson": hand_in.lesson, "verdicts": {}, "notes": [], "refused": words}

    def _start(self) -> subprocess.Popen:
        own = str(jail.PACKAGE.parent)
        paths = [own, *filter(None, [os.environ.get("PYTHONPATH")])]
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        quiet = {
            "MPLBACKEND": "Agg",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
        }
        command = [
            sys.executable,
            "-P",
            "-m",
            "vit_steps.lessons.grading.judge",
            "shut-in" if self.shut_in else "trust",
        ]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **threads, **quiet},
        )  # fmt: skip

    def stop(self) -> None:
        """End the process; what it was judging dies with it."""
        self.stopped = True
        if self.process is not None:
            with suppress(OSError):
                self.process.stdin.close()
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=15)
            self.process.kill()
            self.process.wait()
