"""Watch trials: start one for a notebook, end it when it takes too much, and say what came of it.

``python -m vit_steps.lessons.grading.judge`` is one of the command's workers. It loads torch once; on Linux
each trial is a fork of it, shut in. It never runs a line of a notebook itself. What it is told by a trial it
believes no more than it must: sizes and types are looked at, and a verdict needs its word.
"""

import contextlib
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

from vit_steps.files.reading import open_file
from vit_steps.lessons.exercises import EXERCISES
from vit_steps.lessons.grading import jail
from vit_steps.lessons.grading.hand_ins import LARGEST
from vit_steps.lessons.grading.jail import Limits
from vit_steps.lessons.grading.seal import Seal
from vit_steps.lessons.grading.trial import Job, Pipes, run

MOST_TOLD = 2**20  # bytes; a trial of four answers tells some thousand
SPARE = 512 * 2**20  # bytes of the machine's memory that stay free, whatever the limits allow
LOOK = 1.0  # seconds between two looks at the memory: among many processes each costs something
EARLY = (
    "matplotlib.pyplot",
    "IPython.display",
    "ipywidgets",
    "anywidget",
    "sklearn.svm",
    "sklearn.datasets",
    "tqdm.auto",
)
NOT_BACK = "your function does not come back"
ENDS = "your function ends Python, or takes more memory than there is"


class Told(NamedTuple):
    """What one trial told, and how it ended."""

    messages: list[dict]
    verdicts: dict[str, dict]
    ended: str  # "", or why it was stopped


class Trial:
    """A process that runs one notebook; ``messages`` come as they are told."""

    def __init__(self, job: Job, limits: Limits, seal: Seal | None, shut_in: bool):
        text = _read(job.path)
        self.limits, self.folder = limits, tempfile.mkdtemp(prefix="vit-steps-")
        self.process = None if shut_in else self._start(job)
        if self.process:
            self.pid = self.process.pid
            self.hear, self.say = _own(self.process.stdout), _own(self.process.stdin)
        else:
            self._fork(text, job, seal)
        self.lines: queue.Queue = queue.Queue()
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _fork(self, text: bytes, job: Job, seal: Seal) -> None:
        """Fork twice: the first one changes its world, the second one is born into it."""
        (self.hear, say), (hear, self.say) = os.pipe(), os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            _outer(parent, text, job, self.limits, self.folder, seal, Pipes(say, hear))
        os.close(say)
        os.close(hear)

    def _start(self, job: Job) -> subprocess.Popen:
        """Where nothing can be shut in: a process and a home of its own, trusted for the rest."""
        home = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "MPLCONFIGDIR"), self.folder)
        code = "from vit_steps.lessons.grading.judge import alone; alone()"
        return subprocess.Popen(
            [sys.executable, "-P", "-c", code, json.dumps([job, self.limits])],
            env={**os.environ, **home}, cwd=self.folder, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _listen(self) -> None:
        left = MOST_TOLD
        with open(self.hear, "rb") as file:
            while left > 0:
                line = file.readline(left)
                left -= len(line)
                self.lines.put(line)
                if not line:
                    return
        self.lines.put(None)

    def answer(self, word: str) -> None:
        """Send the word without which the next verdict is none."""
        with contextlib.suppress(OSError):
            os.write(self.say, word.encode("ascii"))

    def end(self) -> None:
        """Kill it with all that it started, and wait until that is so."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not self.process:
                os.kill(self.pid, signal.SIGKILL)
            elif hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait() if self.process else os.waitpid(self.pid, 0)
        self.thread.join(timeout=10)  # the pipe ends when the last one is dead
        os.close(self.say)
        shutil.rmtree(self.folder, ignore_errors=True)


def _own(stream: IO) -> int:
    """A descriptor of our own, which nobody else closes."""
    with stream:
        return os.dup(stream.fileno())


def _outer(
    parent: int, text: bytes, job: Job, limits: Limits, folder: str, seal: Seal, pipes: Pipes
) -> NoReturn:
    try:
        jail._die_with(parent)
        inner = jail.enter(limits, folder, pipes)
        if inner:
            os.close(pipes.say)
            os.close(pipes.hear)
            os.waitpid(inner, 0)
        else:
            os.environ.update(HOME="/home/student", TMPDIR="/tmp", MPLCONFIGDIR="/tmp")
            run(text, job, seal, pipes)
    except BaseException as error:
        _tell_broken(pipes.say, error)
    finally:
        os._exit(0)


def _tell_broken(say: int, error: BaseException) -> None:
    words = str(error)[:300] or type(error).__name__
    with contextlib.suppress(OSError):
        os.write(say, (json.dumps({"broken": words}) + "\n").encode())


def _read(path: str) -> bytes:
    with open_file(path) as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    return text


def alone() -> None:
    """Run one trial in this process, which was started for it, and leave it."""
    job, limits = json.loads(sys.argv[-1])
    job, limits, pipes = Job(*job), Limits(*limits), Pipes(os.dup(1), os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    try:
        with contextlib.suppress(ImportError):
            jail.hold(limits._replace(processes=4096))
        run(_read(job.path), job._replace(skip=tuple(job.skip)), Seal(), pipes)
    except BaseException as error:
        _tell_broken(pipes.say, error)
    os._exit(0)


def watch(trial: Trial, end: float) -> Told:
    """Listen until a trial is over, or has to be ended."""
    messages, verdicts, asked, word = [], {}, None, ""
    ended = "it was not done in time"
    begun = looked = time.monotonic()
    while (now := time.monotonic()) < end and now < begun + trial.limits.seconds:
        try:
            line = trial.lines.get(timeout=0.2)
        except queue.Empty:
            if now > looked + LOOK and _too_much(trial):
                ended = "it takes too much memory"
                break
            looked = time.monotonic() if now > looked + LOOK else looked
            continue
        message = _parsed(line)
        if message is None:
            ended = "" if line == b"" else "it writes where only verdicts are told"
            break
        begun = now
        messages.append(message)
        if "asks" in message:
            asked, word = message["asks"], ""
        elif "done" in message and asked == message["done"] and not word:
            word = secrets.token_hex(16)
            trial.answer(word)
        elif "graded" in message and word and message.get("word") == word and message["graded"] == asked:
            verdicts[asked], asked, word = message, None, ""
    trial.end()
    return Told(messages, verdicts, ended)


def _parsed(line: bytes | None) -> dict | None:
    try:
        message = json.loads(line) if line else None
    except (ValueError, RecursionError):
        return {}  # a notebook wrote it; it says nothing
    return message if isinstance(message, dict) else ({} if line else None)


def _too_much(trial: Trial) -> bool:
    """Whether the machine has no memory left, or all processes of a trial together take too much."""
    try:
        free = next(
            line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvail")
        )
    except (OSError, StopIteration):
        return False
    if int(free.split()[1]) * 1024 < SPARE:
        return True
    # One that is not shut in shares its world with the whole machine: of it only its own memory is counted.
    most, below = 1.5 * trial.limits.memory, [trial.pid] if trial.process else [*_below(trial.pid)]
    # What forks share is counted in each of them at first, which is quick; then, where it matters, once.
    return sum(map(_resident, below)) > most and sum(map(_share, below)) > most


def _below(pid: int) -> Iterator[int]:
    """The processes of a trial: they share the world of the one that its first fork started."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        world = os.readlink(f"/proc/{child}/ns/pid")
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/pid") == world:
                    yield int(name)


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _share(pid: int) -> int:
    """Bytes of memory that are a process's own, and its share of what it has with others."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return 0


def judge(job: Job, limits: Limits, seal: Seal | None, *, shut_in: bool) -> dict[str, Any]:
    """Grade one notebook; what does not end is left out, and the rest is tried again.

    Returns:
        ``lesson``, ``verdicts`` (by exercise), ``notes``, and ``refused`` where nothing could be graded.
    """
    end, verdicts, notes = time.monotonic() + limits.total, {}, []
    lesson, refused = job.lesson, None
    while True:
        told = watch(Trial(job, limits, seal, shut_in), end)
        verdicts |= told.verdicts
        refused = next(
            (each[word] for each in told.messages for word in ("refused", "broken") if word in each), None
        )
        lesson = next((each["ready"] for each in told.messages if "ready" in each), lesson)
        job, more = _next(job, told, verdicts, notes)
        if refused or not more or time.monotonic() > end:
            break
    if not refused and time.monotonic() > end and not told.verdicts:
        refused = f"it was not done within {limits.total:g} s"
    elif not refused and not verdicts:
        refused = told.ended or None
    notes += [note for note in _notes(told.messages) if note not in notes]
    return {"lesson": lesson, "verdicts": verdicts, "notes": notes, "refused": refused}


def _next(job: Job, told: Told, verdicts: dict, notes: list[str]) -> tuple[Job, bool]:
    """What to try again: all but the cell, or the answer, in which the last trial was stopped."""
    last = next(
        (each for each in reversed(told.messages) if each.keys() & {"cell", "asks", "ran", "end"}), {}
    )
    skip = {*job.skip, *verdicts}
    if "end" in last or job.whole:
        return job._replace(whole=True), "end" in last and not job.whole and _misses_names(told)
    if "asks" in last and isinstance(last["asks"], str):
        words = NOT_BACK if told.ended.endswith("in time") else ENDS
        verdicts.setdefault(last["asks"], {"right": False, "line": f"wrong: {words}", "mistake": words})
        return job._replace(skip=(*skip, last["asks"])), len(skip) < 20
    if "cell" in last and isinstance(last["cell"], str) and len(skip) < 20 and last["cell"] not in skip:
        why = told.ended or "Python ended in it, or it took more memory than there is"
        notes.append(f"the cell {last['cell']} was left out: {why}")
        return job._replace(skip=(*skip, last["cell"])), True
    return job, False


def _misses_names(told: Told) -> bool:
    """Whether something was missing that a cell may have set which was left out, by ``exec`` and the like."""
    if not any(each.get("hides") for each in told.messages):
        return False
    errors = next((each["errors"] for each in told.messages if isinstance(each.get("errors"), dict)), {})
    wanting = [str(verdict.get("mistake")) for verdict in told.verdicts.values()]
    return any("NameError" in str(words) for words in (*errors.values(), *wanting))


def _notes(messages: list[dict]) -> Iterator[str]:
    for message in messages:
        for cell, error in _items(message, "errors"):
            yield f"the cell {cell} raises {error}"
        for cell, error in _items(message, "unreadable"):
            yield f"the cell {cell} is no Python: {error}"
        if isinstance(message.get("ran"), list) and message["ran"]:
            yield f"it had replaced {', '.join(map(str, message['ran'][:5]))}; graded by what was there"


def _items(message: dict, name: str) -> list[tuple[str, str]]:
    found = message.get(name)
    return (
        [(str(key)[:80], str(value)[:200]) for key, value in found.items()] if isinstance(found, dict) else []
    )


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """Let nothing out but what a result consists of, in the types that it has."""
    known = {each.id for each in EXERCISES}
    verdicts = {}
    for name, verdict in found["verdicts"].items():
        if name in known:
            mistake = verdict.get("mistake")
            verdicts[name] = {
                "right": verdict.get("right") is True,
                "line": str(verdict.get("line"))[:600],
                "mistake": None if mistake is None else str(mistake)[:600],
            }
    refused = found["refused"]
    return {
        "lesson": found["lesson"] if isinstance(found["lesson"], str) else None,
        "verdicts": verdicts,
        "notes": [str(note)[:400] for note in found["notes"][:8]],
        "refused": None if refused is None else str(refused)[:400],
    }


def warm_up() -> Seal:
    """Load what lessons load, once for all trials."""
    import importlib

    import torch

    torch.set_num_threads(1)  # a fork of many threads would wait for those it has not
    for name in (*EARLY, "vit_steps.looking.plots", "vit_steps.looking.widgets", "vit_steps.training"):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return Seal()


def main() -> None:
    """Serve: a job a line on standard input, a result a line on standard output."""
    shut_in = sys.argv[1] == "shut-in"
    seal = warm_up() if shut_in else None
    for line in sys.stdin:
        asked = json.loads(line)
        job, limits = Job(*asked["job"]), Limits(*asked["limits"])
        try:
            found = judge(job, limits, seal, shut_in=shut_in)
        except (OSError, ValueError, MemoryError) as error:
            found = {"lesson": job.lesson, "verdicts": {}, "notes": [], "refused": str(error)}
        print(json.dumps(checked(found)), flush=True)


if __name__ == "__main__":
    main()
