"""Drive a real browser, and in it a real JupyterLab with a real kernel."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from vit_steps.commands.lab import jupyter_options

NO_PLAYWRIGHT = "no playwright, so nothing is opened in a browser: pip install playwright"
NO_CHROMIUM = "no Chromium, so nothing is opened in a browser: apt-get install chromium"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
TOKEN = "lessons"
IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
WAITING = f"{PROMPTS}.some((prompt) => prompt.textContent.includes('*'))"
# What JupyterLab itself writes to the console when a page closes or a debugger is not asked in time.
LAB_COMPLAINS = ("WebSocket", "debugger state")


def missing() -> str:
    """What keeps us from opening a browser, and how to get it; nothing when all is there."""
    if importlib.util.find_spec("playwright") is None:
        return NO_PLAYWRIGHT
    return "" if chromium() else NO_CHROMIUM


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield started
        started.close()


@contextmanager
def lab(folder: Path):
    """Serve a folder as ``vit-steps lab`` does; the user's own settings and trust are kept apart."""
    port, home, places = _free_port(), folder / ".jupyter", places_of(folder)
    command = [sys.executable, "-m", "jupyterlab", *jupyter_options(folder), "--no-browser"]
    command += ["--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={TOKEN}"]
    _switch_autosave_off(Path(places["JUPYTERLAB_SETTINGS_DIR"]))
    with open(home / "log", "a") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | places)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api", server, log.name)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def places_of(folder: Path) -> dict[str, str]:
    """The environment in which Jupyter keeps settings and signatures beside the notebooks of a folder."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    return {name: str(folder / ".jupyter" / name.lower()) for name in names}


def open_notebook(page, address: str, name: str) -> None:
    page.goto(f"{address}/lab/tree/{name}?token={TOKEN}&reset")
    page.wait_for_selector(IDLE, timeout=180_000)
    page.wait_for_selector('#jp-main-statusbar :text("| Idle")', timeout=180_000)


def run_all(page, timeout: int = 180_000) -> None:
    """Restart the kernel, run every cell, and wait until none is left to run."""

    def ask() -> None:
        page.click('.lm-MenuBar-item:has-text("Run")')
        page.click('.lm-Menu-item[data-command="runmenu:restart-and-run-all"]')

    _run(page, ask, timeout)


def run_above(page, cell, timeout: int = 180_000) -> None:
    """Restart the kernel, run all cells above one of words, and wait until none is left to run."""

    def ask() -> None:
        cell.scroll_into_view_if_needed()
        cell.click(position={"x": 4, "y": 4})
        _command(page, "Restart Kernel and Run up to Selected Cell", "notebook:restart-and-run-to-selected")

    _run(page, ask, timeout)


def _command(page, words: str, command: str) -> None:
    page.keyboard.press("Control+Shift+C")
    page.fill(".lm-CommandPalette-input >> visible=true", words)
    page.click(f'.lm-CommandPalette-item[data-command="{command}"]')


def _run(page, ask, timeout: int) -> None:
    for _ in range(3):  # a kernel that is still on its way swallows the command
        ask()
        page.click(".jp-Dialog button.jp-mod-accept")
        if _came(page, WAITING, 20_000):  # the numbers of a stored lesson are those of an earlier run
            break
    # Cells far below are drawn late, so they cannot be counted before the last one has run.
    page.wait_for_function(f"!{WAITING}", timeout=timeout)
    page.wait_for_selector(IDLE, timeout=timeout)


def trust(page, notebook: Path) -> None:
    """Sign the notebook, as a reader does who has looked through it; JupyterLab saves it, too."""
    _command(page, "Trust Notebook", "notebook:trust")
    with _written(page, notebook):
        page.click(".jp-Dialog button.jp-mod-accept")
    page.wait_for_selector('.jp-StatusItem-trust[title^="Notebook trusted"]')


def save(page, notebook: Path) -> None:
    page.click('.lm-MenuBar-item:has-text("File")')
    with _written(page, notebook):
        page.click('.lm-Menu-item[data-command="docmanager:save"]')


@contextmanager
def _written(page, notebook: Path):
    """Wait until the notebook is on the disk: a second save that overtakes the first ends in a dialog."""
    before = notebook.stat().st_mtime_ns
    yield
    for _ in range(600):
        if notebook.stat().st_mtime_ns != before and _is_whole(notebook):
            break
        page.wait_for_timeout(100)
    else:
        raise RuntimeError(f"JupyterLab did not save {notebook.name}")
    page.wait_for_selector("#jp-main-statusbar :text('Saving started')", state="detached")


def _is_whole(notebook: Path) -> bool:
    try:
        return bool(json.loads(notebook.read_text(encoding="utf-8")))
    except ValueError:  # half of it is still to come
        return False


def ours(complaints: list[str]) -> list[str]:
    """What the browser complained about, without what JupyterLab does to itself."""
    return [words for words in complaints if not any(theirs in words for theirs in LAB_COMPLAINS)]


def _switch_autosave_off(settings: Path) -> None:
    plugin = settings / "@jupyterlab" / "docmanager-extension"
    plugin.mkdir(parents=True, exist_ok=True)
    (plugin / "plugin.jupyterlab-settings").write_text('{"autosave": false}')


def _came(page, condition: str, timeout: int) -> bool:
    from playwright.sync_api import TimeoutError

    try:
        page.wait_for_function(condition, timeout=timeout)
    except TimeoutError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(address: str, server: subprocess.Popen, log: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}?token={TOKEN}")
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"JupyterLab did not start:\n{Path(log).read_text()[-2000:]}")
