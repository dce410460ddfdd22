"""Open the page at work, point at its tables, read what it knows."""

import json
from contextlib import contextmanager
from pathlib import Path

KINDS = {  # of number: the table that shows it, and a step whose code is shown with it
    "patch": ("patches", "image2patches"),
    "token": ("tokens", "prepend_cls"),
    "position": ("positions", "add_position"),
    "weight": ("attention", "attention_weights"),
    "stream": ("stream", "encoder_block"),
    "answer": ("answer", "classify"),
}
RESET = """
async () => {
  document.getElementById("tour-skip").click();
  document.getElementById("undo").click();
  document.querySelector("[name=model][value=trained]").click();
  document.querySelector("#blocks input").click();
  document.querySelectorAll("#heads input")[3].click();
  document.getElementById("rub").checked = false;
  at_work.state.pinned = { kind: "weight", row: 0, col: 5 };
  document.querySelectorAll("#examples button")[3].click();
  document.activeElement.blur();
  window.scrollTo(0, 0);
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
}
"""
# Where a cell of a table lies, at whatever size; a few frames after a scroll, since a finger
# that comes earlier is felt where the page was.
PLACE = """
async ({ canvas, row, col, down }) => {
  const table = document.getElementById(canvas);
  const stood = window.scrollY;
  table.scrollIntoView({ block: "center", behavior: "instant" });
  for (let frame = 0; frame < 3 && window.scrollY !== stood; frame++)
    await new Promise(requestAnimationFrame);
  const { left, top, width } = table.getBoundingClientRect();
  const { box, width: drawn } = at_work.grids[canvas];
  const [x, y, wide, high] = box(row, col);
  return [left + ((x + wide / 2) * width) / drawn, top + ((y + high * down) * width) / drawn];
}
"""


def kinds_at() -> dict[str, tuple[str, str]]:
    return KINDS


@contextmanager
def opened(browser, address: Path, **options):
    """The page in a window of its own; what it asks of the network, or complains of, is a failure."""
    faults = []
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}} | options)
    context.route(lambda url: not url.startswith("file:"), lambda route: faults.append(route.request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("request", lambda request: request.url != address.as_uri() and faults.append(request.url[:80]))
    page.goto(address.as_uri())
    page.wait_for_function("window.at_work?.state.seen")
    try:
        yield page
    finally:
        context.close()
    assert faults == []


def reset(page) -> None:
    page.evaluate(RESET)


def place(page, canvas: str, row: int, col: int, down: float = 0.5) -> tuple[float, float]:
    """In the middle of a cell, or elsewhere between its top, 0, and its bottom, 1."""
    return tuple(page.evaluate(PLACE, {"canvas": canvas, "row": row, "col": col, "down": down}))


def pin(page, canvas: str, row: int, col: int, down: float = 0.5) -> None:
    page.mouse.click(*place(page, canvas, row, col, down))
    page.mouse.move(1, 1)


def sentence(page) -> str:
    return page.text_content("#sentence")


def fetch(page, expression: str) -> dict:
    """As JSON: a large object number by number takes seconds."""
    return json.loads(page.evaluate(f"JSON.stringify({expression})"))


def logits(page) -> list[list[float]]:
    return [page.evaluate("at_work.state.seen.logits")]
