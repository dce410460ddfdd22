"""Build the lessons' pages and open them from their folder, in a browser that must not ask the network."""

import importlib
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parent.parent.parent
LESSONS = sorted(
    path.stem for part in ("", "beyond/") for path in (ROOT / "notebooks").glob(f"{part}*.ipynb")
)
ALL_AWAKE = "[...document.querySelectorAll('[data-live]')].every((widget) => widget.matches('.awake'))"


def build_once(temporary: Path) -> Path:
    """What `make site` writes, slides and all: the first worker that asks builds it, the others wait."""
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary
    out = shared / "site"
    with FileLock(shared / "site.lock"):
        if not out.exists():
            command = [sys.executable, str(ROOT / "tools" / "export.py"), "site", "--out", str(out)]
            subprocess.run(command, check=True, timeout=300)
    return out


def build_at_work(folder: Path) -> Path:
    """Only the one page, in this process: that takes a second, and all pages take many."""
    sys.path.insert(0, str(ROOT / "tools"))
    export, at_work = map(importlib.import_module, ("export", "at_work"))
    page = at_work.page(export.environment())
    (folder / "at_work.html").write_text(page, encoding="utf-8")
    return folder / "at_work.html"


@contextmanager
def visitor(browser, folder: Path):
    """Gives a function that opens a page; what a page asks of the network, or complains of, is a failure."""
    contexts, faults = [], []

    def refuse(route):
        faults.append(f"asked for {route.request.url[:80]}")
        route.abort()

    def go(name, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}} | options)
        contexts.append(context)
        context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), refuse)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        page.goto((folder / f"{name}.html").as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_function(ALL_AWAKE)
        return page

    try:
        yield go
    finally:
        for context in contexts:
            context.close()
    assert faults == []
