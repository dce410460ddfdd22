"""How fast the page at_work.html is: to its first picture, and from a stroke of the pen to the next one.

    python tests/benchmarks/page_latency.py          on a machine that has nothing else to do
    python tests/benchmarks/page_latency.py --busy   with two processes that keep two cores busy

Prints and writes page_latency.csv beside this file: medians, the worst, in milliseconds. The first picture
counts from the start of the navigation, a stroke from the pen to the end of the frame that shows it.
"""

import argparse
import contextlib
import datetime
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "browser"))
import lab_driver
from offline_pages import build_at_work

from vit_steps.files.writing import write_table

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ["what", "cores", "median_ms", "worst_ms", "goal_ms", "goal", "tries", "date", "machine", "command"]
GOALS = {"first picture": 500, "stroke to picture": 50, "stroke to picture, what if": 100}
TRIES = 20
FIRST = "performance.getEntriesByName('first picture')[0].startTime"
STROKES = """
async (tries) => {
  const pad = document.getElementById("pad");
  const { left, top, width } = pad.getBoundingClientRect();
  const taken = [];
  for (let number = 0; number < tries; number++) {
    const [clientX, clientY] = [left + width * (0.2 + 0.03 * number), top + width * (0.2 + 0.02 * number)];
    const start = performance.now();
    pad.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, buttons: 1, bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // the frame is over
    taken.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 100));
  }
  return taken;
}
"""


def measure(browser, address: Path) -> dict[str, list[float]]:
    found = {name: [] for name in GOALS}
    for _ in range(TRIES):
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(address.as_uri())
        page.wait_for_function("performance.getEntriesByName('first picture').length")
        found["first picture"].append(page.evaluate(FIRST))
        page.close()
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(address.as_uri())
    page.wait_for_timeout(2000)  # the example has written itself
    found["stroke to picture"] = page.evaluate(STROKES, TRIES)
    page.click("#if-positions")
    found["stroke to picture, what if"] = page.evaluate(STROKES, TRIES)
    return found


def spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy(processes: int):
    """Keep as many cores busy."""
    spinning = [multiprocessing.Process(target=spin, daemon=True) for _ in range(processes)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.terminate()


def rows(found: dict[str, list[float]], cores: str, command: str) -> list[dict]:
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    today = datetime.date.today().isoformat()
    return [
        {
            "what": name,
            "cores": cores,
            "median_ms": f"{statistics.median(times):.1f}",
            "worst_ms": f"{max(times):.1f}",
            "goal_ms": GOALS[name],
            "goal": "met" if statistics.median(times) <= GOALS[name] else "missed",
            "tries": len(times),
            "date": today,
            "machine": machine,
            "command": command,
        }
        for name, times in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", action="store_true", help="with two processes beside it")
    is_busy = parser.parse_args().busy
    command = "python tests/benchmarks/page_latency.py" + " --busy" * is_busy
    with tempfile.TemporaryDirectory() as folder, lab_driver.browser() as browser, busy(2 * is_busy):
        found = measure(browser, build_at_work(Path(folder)))
    table = rows(found, "two busy" if is_busy else "idle", command)
    write_table(TABLE, COLUMNS, table)
    for row in table:
        print(f"{row['what']:28} {row['median_ms']:>6} ms, worst {row['worst_ms']:>6}: {row['goal']}")


if __name__ == "__main__":
    main()
