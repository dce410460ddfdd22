"""Make .venv whole: called by every target of the Makefile, and done in a blink when there is nothing to do.

It is written for any Python 3, so that one which is too old can say so, and with the standard library alone,
since nothing is installed yet. A stamp is written last: an environment without it was interrupted half-way
and is made again from nothing.
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
LOG = os.path.join(VENV, "install.log")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(BIN, "python.exe" if os.name == "nt" else "python")
NO_NETWORK = re.compile(
    "connection|resolv|timed out|proxy|unreachable|no matching distribution|could not find a version", re.I
)


class SetupError(Exception):
    """What went wrong, in one line, and what to do about it."""


def main():
    if sys.version_info < OLDEST:
        raise SetupError(
            "Python %d.%d or newer is needed, this is %d.%d (%s). Install one and name it: make PYTHON=python3.12 ..."
            % (OLDEST + sys.version_info[:2] + (sys.executable,))
        )
    wanted = fingerprint()
    if os.path.exists(PYTHON) and read(STAMP) == wanted:
        return
    make_venv()
    install()
    silence_news()
    with open(STAMP, "w") as stamp:
        stamp.write(wanted)
    say("The environment is ready.\n")


def fingerprint():
    """Everything that decides what is installed, in one string; the folder too, since a venv cannot be moved."""
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
    say("Making a virtual environment in %s ...\n" % VENV)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
    if made.returncode:
        hint = "on Debian and Ubuntu: apt install python3-venv" if "ensurepip" in made.stdout else "see above"
        raise SetupError(
            "Python could not make a virtual environment (%s).%s" % (hint, "\n" + made.stderr if made.stderr else "")
        )


def install():
    """Install the package and what it needs with pip, on one line that says how far it is."""
    command = [os.path.abspath(PYTHON), "-m", "pip", "install", "--retries", "2", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "-c", "constraints.txt", "-e", ".[lab,test]"]
    say("Installing torch, JupyterLab and what else the lessons need (a minute or more, about 2 GB on disk) ...\n")
    found, lines = 0, []
    with open(LOG, "w", encoding="utf-8") as log:
        pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        for line in pip.stdout:
            log.write(line)
            lines.append(line.strip())
            found += line.startswith("Collecting")
            show_progress("%d packages | %s" % (found, line.strip()))
    show_progress("")
    if pip.wait():
        raise SetupError(why_pip_failed(lines))


def why_pip_failed(lines):
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["pip said nothing"]
    if any("No space left" in line for line in lines):
        return "The disk is full: about 2 GB are needed. Make room and run the same command again."
    if any(NO_NETWORK.search(line) for line in errors):
        return "The packages could not be downloaded: is there a network? Run the same command again when there is."
    return "pip could not install the packages: %s (all it said: %s). Run the same command again." % (errors[0], LOG)


def silence_news():
    """Keep JupyterLab from asking the network for news, and the reader for leave to do so."""
    folder = os.path.join(VENV, "etc", "jupyter", "labconfig")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "page_config.json"), "w") as config:
        config.write('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}\n')


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
        sys.exit("vit-steps: %s" % error)
    except KeyboardInterrupt:
        sys.exit("\nvit-steps: stopped. Run the same command again to go on.")
