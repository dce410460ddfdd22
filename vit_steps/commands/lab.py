"""``vit-steps lab FOLDER``: lay the lessons there, and open JupyterLab on them."""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from vit_steps.commands.course import lay_or_refuse

SETTINGS = Path(__file__).resolve().parent / "jupyterlab_settings"
EXAMPLES = """examples:
  the lessons, in a folder that is made where there is none, in a browser
    vit-steps lab ~/vit
  on a server: the address with its token is printed; any other option is JupyterLab's own
    vit-steps lab ~/vit --no-browser --port=9000
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``vit-steps lab``: become JupyterLab, or, where a system can't, wait for it.

    Returns:
        What JupyterLab gives. What is refused leaves with 2, and says why.
    """
    parser = _parser()
    options, theirs = parser.parse_known_args(arguments)
    for needed in ("jupyterlab", "anywidget"):
        if importlib.util.find_spec(needed) is None:
            raise ModuleNotFoundError(f"No module named {needed!r}", name=needed)
    folder = Path(options.folder).expanduser()
    if not options.as_it_is:
        lay_or_refuse(parser, options.folder)
    elif not folder.is_dir():
        parser.error(f"there is no folder {options.folder}")
    return run([sys.executable, "-m", "jupyterlab", *jupyter_options(folder), *theirs])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vit-steps lab",
        description="Lay the lessons into a folder and open them. What you changed is never overwritten.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", help="where to; made where there is none")
    parser.add_argument("--as-it-is", action="store_true", help="lay nothing, open what is there")
    return parser


def jupyter_options(folder: Path) -> list[str]:
    """What JupyterLab is started with, so that it opens the first lesson of a folder."""
    first = next((found for where in ("", "notebooks/") for found in folder.glob(f"{where}1_*.ipynb")), None)
    opened = [f"--LabApp.default_url=/lab/tree/{first.relative_to(folder).as_posix()}"] if first else []
    settings = f"--LabApp.app_settings_dir={SETTINGS}"
    return ["--log-level=WARN", "--allow-root", f"--ServerApp.root_dir={folder.resolve()}", settings, *opened]


def run(command: list[str]) -> int:
    """Become the command; where a system can't, wait for it, and leave Ctrl-C to it."""
    os.environ.setdefault("PYTHONUTF8", "1")
    # The lessons' tensors are small: more threads only wait for each other, and on a server every kernel
    # would take as many as there are cores, however many students share them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if os.name == "nt":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return subprocess.call(command)
    os.execv(command[0], command)
