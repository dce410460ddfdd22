"""Hands for the widgets in a notebook: each is worked by keyboard and by mouse until its picture changes."""

PICTURES = (
    """(widget) => [...widget.querySelectorAll("img, canvas")].map((p) => p.src ?? p.toDataURL()).join()"""
)
SCORES = """(widget) => [...widget.querySelectorAll("meter")].map((meter) => meter.value).join()"""
SCROLLED = "document.querySelector('.jp-WindowedPanel-outer').scrollTop"
# Cells above grow as they are drawn, a menu that closes takes the focus back, and a cell that is trusted is
# drawn anew: wait until ten frames are quiet.
SETTLE = """
async ([widget, control]) => {
  const place = () => widget.getBoundingClientRect().top;
  for (let kept = 0, frame = 0, before; kept < 10; frame++) {
    if (frame > 200 || !control.isConnected) return false;
    widget.scrollIntoView({ block: "center" });
    kept = place() === before && document.activeElement === control ? kept + 1 : 0;
    before = place();
    control.focus({ preventScroll: true });
    await new Promise(requestAnimationFrame);
  }
  return true;
}
"""


def bring(page, widget, control) -> None:
    """Scroll a widget into the middle with a control in focus, and wait until nothing moves."""
    for _ in range(10):
        widget.wait_for()
        if page.evaluate(SETTLE, [widget.element_handle(), control.element_handle()]):
            return _wait_for_another(page, widget, PICTURES, "")
    raise RuntimeError("the widget keeps neither its place nor the focus")


def slider(page, widget) -> None:
    control = widget.get_by_role("slider")
    bring(page, widget, control)
    for key in ("ArrowLeft", "ArrowRight", "Home", "End"):
        changes(page, widget, lambda key=key: page.keyboard.press(key))
    changes(page, widget, lambda: control.click(position={"x": 8, "y": 8}))


def picker(page, widget, first_key: str = "ArrowUp") -> None:
    bring(page, widget, widget.get_by_role("application"))
    for key in (first_key, "ArrowRight"):
        changes(page, widget, lambda key=key: page.keyboard.press(key))
    view, place = widget.locator("canvas").last, {"x": 20, "y": 60}
    changes(page, widget, lambda: view.hover(position=place))
    view.click(position=place)  # which must bring the keys here, too
    changes(page, widget, lambda: page.keyboard.press("ArrowRight"))


def explorer(page, widget) -> None:
    picker(page, widget, "ArrowDown")
    page.keyboard.press("c")  # the CLS token here; JupyterLab's key to copy the cell
    choose(page, widget)


def likeness(page, widget) -> None:
    picker(page, widget)
    choose(page, widget)


def choose(page, widget) -> None:
    for control in widget.get_by_role("combobox").all():
        before = control.evaluate("(control) => control.selectedIndex")
        key = "ArrowUp" if before else "ArrowDown"
        changes(page, widget, lambda control=control, key=key: control.press(key))
        changes(page, widget, lambda control=control, before=before: control.select_option(index=before))


def pad(page, widget) -> None:
    stage = widget.get_by_role("application")
    clear, rubber = widget.get_by_role("button", name="Clear the pad"), widget.get_by_label("Rub out")
    click = lambda: stage.locator("canvas").click(position={"x": 30, "y": 30})  # noqa: E731
    bring(page, widget, stage)
    for key in (" ", "ArrowDown", "ArrowRight"):
        changes(page, widget, lambda key=key: page.keyboard.press(key))
    before = widget.evaluate(SCORES)
    changes(page, widget, lambda: clear.press("Enter"))
    _wait_for_another(page, widget, SCORES, before)  # the kernel answers
    changes(page, widget, click)
    rubber.press(" ")
    changes(page, widget, click)
    rubber.click()
    changes(page, widget, click)
    changes(page, widget, clear.click)


def changes(page, widget, act) -> None:
    """Act, and wait until the widget's pictures are others; meanwhile the page must not jump."""
    before, scrolled = widget.evaluate(PICTURES), page.evaluate(SCROLLED)
    act()
    _wait_for_another(page, widget, PICTURES, before)
    assert page.evaluate(SCROLLED) == scrolled, "the page jumped"


def _wait_for_another(page, widget, look: str, before: str) -> None:
    different = f"([widget, before]) => ({look})(widget) !== before"
    page.wait_for_function(different, arg=[widget.element_handle(), before], timeout=90_000)
