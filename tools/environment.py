"""Make .venv whole: called by every target of the Makefile, and done in a blink when there is nothing to do.

It is written for any Python 3.6 and newer, so that one which is too old can say so, and with the standard
library alone, since nothing is installed yet. A stamp is written last: an environment without it was
interrupted half-way, and is made again from nothing.

``tools/environment.py measure`` adds what measures the project itself, and asks the network only once.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

OLDEST = (3, 11)
VENV = ".venv"
STAMP = os.path.join(VENV, "vit-steps-ready")
MEASURE_STAMP = os.path.join(VENV, "vit-steps-measure-ready")
LOG = os.path.join(VENV, "install.log")
PYTHON = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
NO_NETWORK = re.compile(
    "connection|resolv|timed out|proxy|unreachable|no matching distribution|could not find a version", re.I
)


class SetupError(Exception):
    """What went wrong, in one line, and what to do about it."""


def main():
    if sys.version_info < OLDEST:
        wanted, here = (".".join(map(str, version[:2])) for version in (OLDEST, sys.version_info))
        raise SetupError(
            f"Python {wanted} or newer is needed, this is {here} ({sys.executable}). "
            f"Install one and name it: make PYTHON=python{wanted} ..."
        )
    wanted = fingerprint()
    if not os.path.exists(PYTHON) or read(STAMP) != wanted:
        make_venv()
        say("Installing torch, JupyterLab and the rest (a minute or more, about 2 GB on disk) ...\n")
        install("lab,test")
        configure_lab()
        write(STAMP, wanted)
        say("The environment is ready.\n")
    if "measure" in sys.argv[1:] and read(MEASURE_STAMP) != wanted:
        say("Installing what measures the project ...\n")
        install("lab,test,measure")
        write(MEASURE_STAMP, wanted)


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


def make_venv():
    if os.path.exists(PYTHON) and os.path.exists(STAMP):
        os.remove(STAMP)  # whole, but of another day: pip brings it up to date
        return
    if os.path.exists(VENV):
        say("An earlier setup was interrupted: starting it again.\n")
        shutil.rmtree(VENV)
    say(f"Making a virtual environment in {VENV} ...\n")
    made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
    if made.returncode:
        said = made.stdout + made.stderr
        hint = (
            "on Debian and Ubuntu: apt install python3-venv" if "ensurepip" in said else said.strip()[-200:]
        )
        raise SetupError(f"Python could not make a virtual environment ({hint}).")


def install(extras):
    """Install the package and what it needs with pip, on one line that says how far it is."""
    command = [os.path.abspath(PYTHON), "-m", "pip", "install", "--retries", "2", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "-c", "constraints.txt", "-e", f".[{extras}]"]
    found, lines = 0, []
    with open(LOG, "w", encoding="utf-8") as log:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        pip = subprocess.Popen(command, **options)
        for line in pip.stdout:
            log.write(line)
            lines.append(line.strip())
            found += line.startswith("Collecting")
            show_progress(f"{found} packages | {line.strip()}")
    show_progress("")
    if pip.wait():
        raise SetupError(why_pip_failed(lines))


def why_pip_failed(lines):
    again = "run the same command again"
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["pip said nothing"]
    if any("No space left" in line for line in lines):
        return f"The disk is full, about 2 GB are needed: make room and {again}."
    if any(NO_NETWORK.search(line) for line in errors):
        return f"The packages could not be downloaded. Is there a network? When there is, {again}."
    return f"pip could not install the packages: {errors[0]} (the rest is in {LOG}). Mend it and {again}."


def configure_lab():
    """No news from the network; and a saved lesson keeps its widgets when it is opened again."""
    write(
        os.path.join(VENV, "etc", "jupyter", "labconfig", "page_config.json"),
        '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}\n',
    )
    write(
        os.path.join(VENV, "share", "jupyter", "lab", "settings", "overrides.json"),
        '{"@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": true}}\n',
    )


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
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
        main()
    except SetupError as error:
        sys.exit(f"vit-steps: {error}")
    except KeyboardInterrupt:
        sys.exit("\nvit-steps: stopped. Run the same command again to go on.")
