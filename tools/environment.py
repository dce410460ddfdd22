"""Make .venv whole: called by every target of the Makefile, and done in a blink when there is nothing to do.

It is written for any Python 3.6 and newer, so that one which is too old can say so, and with the standard
library alone, since nothing is installed yet. A stamp is written last: an environment without it was
interrupted half-way, and is made again from nothing. One setup at a time works in a folder: a second waits.

``tools/environment.py lab`` and ``tools/environment.py test`` are `make lab` and `make test` on a system
without make; options go on to JupyterLab or pytest. ``tools/environment.py measure`` adds what measures the
project itself, ``graders`` adds nbgrader and otter; each asks the network only once.
"""

import contextlib
import errno
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

OLDEST, NEWEST = (3, 11), (3, 14)  # the newest Python that the pinned torch is built for
VENV = ".venv"
LOCK = ".venv.lock"
STAMP = os.path.join(VENV, "vit-steps-ready")
# What is fetched when it is first asked for: the extra of pyproject.toml, and what it is.
LATER = {
    "measure": ("measure", "what measures the project"),
    "graders": ("grading", "nbgrader and otter, for the editions made for them"),
}
LOG = os.path.join(VENV, "install.log")
PYTHON = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
COMMANDS = {
    "lab": "vit_steps lab --as-it-is .",
    "test": "pytest --nbval -n 2 --dist loadscope --no-loadscope-reorder",
}
AGAIN = "run the same command again"
NOT_FOUND = re.compile(r"satisfies the requirement (\S+) .*\(from versions: (.*)\)")
FULL = re.compile("no space left|quota exceeded|Errno 28]|WinError 112]", re.I)
NO_NETWORK = re.compile("connection|could not fetch|resolv|timed out|proxy|unreachable", re.I)
NO_TRUST = re.compile("certificate|SSLError", re.I)


class SetupError(Exception):
    """What went wrong, in one line, and what to do about it."""


def main(verb="", *options):
    if verb not in ("", *LATER, *COMMANDS):
        raise SetupError(f"{verb!r} is none of lab, test, measure and graders.")
    if sys.version_info < OLDEST:
        raise SetupError(why_too_old())
    wanted = fingerprint()
    if not is_ready(verb, wanted):
        with alone():
            set_up(verb, wanted)
    if verb in COMMANDS:
        run([os.path.abspath(PYTHON), "-m", *COMMANDS[verb].split(), *options])


def is_ready(verb, wanted):
    stamps = (STAMP, stamp_of(verb)) if verb in LATER else (STAMP,)
    return os.path.exists(PYTHON) and all(read(stamp) == wanted for stamp in stamps)


def set_up(verb, wanted):
    """Nothing is taken for granted: while this one waited, another setup may have done it all."""
    if not is_ready("", wanted):
        make_venv()
        say("Installing torch, JupyterLab and the rest (a minute or more, about 2 GB on disk) ...\n")
        install("lab,test")
        write(STAMP, wanted)
        say("The environment is ready.\n")
    if not is_ready(verb, wanted):
        extra, what = LATER[verb]
        say(f"Installing {what} ...\n")
        install(f"lab,test,{extra}")
        write(stamp_of(verb), wanted)


def stamp_of(verb):
    return os.path.join(VENV, f"vit-steps-{verb}-ready")


def run(command):
    """Become the command; where a system can't, wait for it, and leave Ctrl-C to it."""
    os.environ.setdefault("PYTHONUTF8", "1")
    # As in vit_steps/commands/lab.py, which says why.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if os.name == "nt":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)


def fingerprint():
    """Everything that decides what is installed; the folder too, since an environment cannot be moved."""
    digest = hashlib.sha256(os.getcwd().encode())
    for name in ("pyproject.toml", "constraints.txt", os.path.join("tools", "environment.py")):
        with open(name, "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()


def read(path):
    try:
        with open(path) as source:
            return source.read()
    except OSError:
        return None


@contextlib.contextmanager
def alone():
    """Hold this folder's lock. The system lets go of it when a process dies: no dead one blocks for ever."""
    with open(LOCK, "a") as lock:
        os.set_inheritable(lock.fileno(), True)  # pip holds it too, should it outlive this process
        if not take(lock):
            say("Another setup is at work in this folder: waiting for it ...\n")
        while not take(lock):
            time.sleep(0.3)
        yield


def take(lock):
    """Whether the lock is ours now; where a disk knows no locks, there is nothing to wait for."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def make_venv():
    if os.path.exists(PYTHON) and os.path.exists(STAMP):
        os.remove(STAMP)  # whole, but of another day: pip brings it up to date
        return
    if os.path.exists(VENV):
        say("An earlier setup was interrupted: starting it again.\n")
        shutil.rmtree(VENV)
    say(f"Making a virtual environment in {VENV} ...\n")
    command = [sys.executable, "-m", "venv", VENV]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if made.returncode:
        raise SetupError(why_no_venv(made.stdout))


def install(extras):
    """Install the package and what it needs with pip, on one line that says how far it is.

    Wheels only: where there is none, that is said at once, and not after an hour of compiling.
    """
    command = [os.path.abspath(PYTHON), "-m", "pip", "install", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["-c", "constraints.txt", "-e", f".[{extras}]"]
    with open(LOG, "w", encoding="utf-8") as log:
        returned, lines = follow(command, log)
    if returned:
        raise SetupError(why_pip_failed(lines))


def follow(command, log):
    lines, found = [], 0
    # In the environment, not as an option: the pip that this pip starts for hatchling reads it, too. Without
    # a retry there would be no warning that tells why there was nothing to be found.
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "errors": "replace"}
    options["env"] = dict(os.environ, PIP_RETRIES="2")
    with subprocess.Popen(command, close_fds=False, **options) as pip:
        try:
            for line in pip.stdout:
                log.write(line)
                lines.append(line.strip())
                found += line.startswith("Collecting")
                show_progress(f"{found} packages | {line.strip()}")
        except BaseException:
            pip.kill()  # or it would go on without anybody who waits for it
            raise
    show_progress("")
    return pip.returncode, lines


def why_too_old():
    wanted, here = (".".join(map(str, version[:2])) for version in (OLDEST, sys.version_info))
    return f"Python {wanted} or newer is needed, this is {here} ({sys.executable}). {another_python()}"


def another_python():
    """Name a Python that would do: the newest that answers here, if there is one."""
    how = r"py -{} tools\environment.py ..." if os.name == "nt" else "make PYTHON=python{} ..."
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = f"python3.{minor}"
        if shutil.which(name) and not subprocess.call([name, "-c", ""], stderr=subprocess.DEVNULL):
            return "There is one here: " + how.format(f"3.{minor}")
    return "Install one and name it: " + how.format(f"3.{NEWEST[1]}")


def why_no_venv(said):
    """Say why there is no environment: venv's own words are the same for a full disk and a missing part."""
    for part in ("venv", "ensurepip"):
        if importlib.util.find_spec(part) is None:
            package = "python{}.{}-venv".format(*sys.version_info)
            return (
                f"Python could not make a virtual environment, it came without {part}: "
                f"on Debian and Ubuntu apt install {package}, then {AGAIN}."
            )
    full = full_folder()
    return why_full(full) if full else f"Python could not make a virtual environment ({said.strip()[-200:]})."


def why_pip_failed(lines):
    errors = [line for line in lines if line.startswith("ERROR")] + lines[-1:] or ["pip said nothing"]
    if any(FULL.search(line) for line in lines):
        return why_full(full_folder() or VENV)
    not_found = next(filter(None, map(NOT_FOUND.search, lines)), None)
    # An index that can't be reached is an index without versions to pip: its warnings tell the two apart.
    unreached = not_found[2] == "none" if not_found else any(map(NO_NETWORK.search, errors))
    if unreached and any(map(NO_TRUST.search, lines)):
        return (
            "The packages could not be downloaded: the certificate of their server is not trusted here. "
            f"A proxy, or a clock that is wrong? (pip's own words are in {LOG}.) Mend it and {AGAIN}."
        )
    if unreached and any(map(NO_NETWORK.search, lines)):
        return f"The packages could not be downloaded. Is there a network? When there is, {AGAIN}."
    if not_found:
        package = not_found[1].replace("==", " ")
        return f"There is no {package} for this machine: {why_no_build(Machine.here())}"
    return f"pip could not install the packages: {errors[0]} (the rest is in {LOG}). Mend it and {AGAIN}."


def full_folder():
    """The folder that takes no 64 MB more, or None: tried, since a quota shows in no number of free bytes."""
    for folder in (".", tempfile.gettempdir()):
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                for _ in range(64):
                    probe.write(bytes(1_000_000))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return folder
    return None


def why_full(folder):
    return (
        f"The disk is full, or your share of it, at {os.path.abspath(folder)}. "
        f"About 2 GB are needed: make room and {AGAIN}."
    )


class Machine(NamedTuple):
    """What decides which wheels there are."""

    python: tuple
    bits: int
    system: str  # sys.platform
    processor: str
    release: tuple  # of macOS, or of Linux's glibc
    translated: bool = False  # a program for Intel processors on Apple silicon

    @classmethod
    def here(cls):
        """Ask the system."""
        mac = sys.platform == "darwin"
        release = platform.mac_ver()[0] if mac else platform.libc_ver()[1]
        numbers = tuple(map(int, re.findall(r"\d+", release)[:2]))
        asked = ["sysctl", "-n", "sysctl.proc_translated"]
        translated = mac and subprocess.run(asked, stdout=subprocess.PIPE).stdout.strip() == b"1"
        bits = 64 if sys.maxsize > 2**32 else 32
        processor = platform.machine().lower()
        return cls(sys.version_info[:2], bits, sys.platform, processor, numbers, translated)


def why_no_build(at):
    """Say which of a machine's properties leaves it without wheels, and what would do instead."""
    if at.python > NEWEST:
        here, oldest, newest = ("{}.{}".format(*version) for version in (at.python, OLDEST, NEWEST))
        return f"Python {here} is too new for it, {oldest} to {newest} would do. {another_python()}"
    if at.bits == 32:
        return "this Python is made for 32 bits. Install the 64-bit one."
    if at.system == "darwin":
        return why_no_mac(at)
    if at.system == "win32":
        known = "Windows on ARM is left out. Linux on ARM is not: WSL has one, or take another machine."
        return known if "arm" in at.processor else unknown(at)
    if at.system == "linux" and at.release < (2, 28):
        return "a Linux with glibc 2.28 or newer is needed (Alpine has another C library)."
    return unknown(at)


def why_no_mac(at):
    if at.translated:
        return (
            "this Python is made for Intel's processors, this Mac has Apple's. Install the one for Apple's."
        )
    if at.processor == "x86_64":
        return "Macs with an Intel processor are left out. Take another machine, or a Jupyter on a server."
    if at.release and at.release < (14,):
        here = ".".join(map(str, at.release))
        return f"macOS 14 or newer is needed, this is {here}."
    return unknown(at)


def unknown(at):
    python = "{}.{}".format(*at.python)
    return (
        f"the package index has none for Python {python} on {at.system} {at.processor}. "
        f"Does PIP_INDEX_URL or pip's configuration name an index of your own? (pip's words are in {LOG}.)"
    )


def write(path, text):
    with open(path, "w") as target:
        target.write(text)


def show_progress(text):
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        say("\r\033[K" + text[:width])


def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    try:
        main(*sys.argv[1:])
    except SetupError as error:
        sys.exit(f"vit-steps: {error}")
    except OSError as error:
        sys.exit(f"vit-steps: {why_full('.') if FULL.search(str(error)) else error}")
    except KeyboardInterrupt:
        sys.exit("\nvit-steps: stopped. Run the same command again to go on.")
