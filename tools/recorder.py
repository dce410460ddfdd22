"""Run a lesson's cells in this process without drawing, and keep every number that they print, unrounded.

A cell is rewritten before it runs: what stands in an f-string or in print() passes through a recorder, which
notes the number and how it is written, and leaves a mark in the text. Marks that reach what nbval compares
say which numbers the reader sees; others went into a picture.
"""

import ast
import io
import operator
import re
from contextlib import redirect_stderr
from numbers import Real

SEEN = re.compile(r"⟪(\d+)⟫|⟬")  # around a number: its place among the notes, and its end
BAR = re.compile(r" *\d+%\|")  # a progress bar writes itself otherwise where no browser listens
LIMITS = {"Lt": operator.lt, "LtE": operator.le, "Gt": operator.gt, "GtE": operator.ge}
NAME = "recorder_of_numbers"


def number_of(value) -> float | None:
    """The one floating-point number that a value is, if it is one."""
    if hasattr(value, "item") and getattr(value, "size", None) is not None:
        count = value.numel() if hasattr(value, "numel") else value.size
        value = value.item() if count == 1 else None
    return float(value) if isinstance(value, Real) and not isinstance(value, (int, bool)) else None


class Rounded(float):
    """A number that round() has made: it shows itself with its mark, in a list as well."""

    text: str

    def __new__(cls, value: float, text: str):
        """Of a rounded value and of its text with the mark."""
        new = super().__new__(cls, value)
        new.text = text
        return new

    def __repr__(self) -> str:
        return self.text


class Recorder:
    """Notes numbers in the order in which they are written: {"how": ".2f", "value": 0.123456}."""

    def __init__(self):
        self.notes: list[dict] = []

    def note(self, how: str, value: float, text: str) -> str:
        """Keep a number, and give back its text with the mark."""
        self.notes.append({"how": how, "value": value})
        return f"⟪{len(self.notes) - 1}⟫{text}⟬"

    def formatted(self, value, spec: str, conversion: str):
        """What stands between braces in an f-string."""
        number = None if isinstance(value, Rounded) else number_of(value)
        how = spec if spec and not conversion else "exact"
        value = {"r": repr, "s": str, "a": ascii, "": lambda same: same}[conversion](value)
        if number is not None:
            return self.note(how, number, format(value, spec))
        if isinstance(value, str) and SEEN.search(value):
            bare = SEEN.sub("", value)
            return format(bare, spec).replace(bare, value)
        return format(value, spec)

    def argument(self, value):
        """What is given to print() as it is: every digit of a number is shown."""
        number = None if isinstance(value, Rounded) else number_of(value)
        return value if number is None else self.note("exact", number, str(value))

    def rounded(self, value, *digits):
        """What round() gives: the edge is that of the rounding."""
        made = round(value, *digits)
        if number_of(value) is None or not digits:
            return made
        return Rounded(made, self.note(f"round {digits[0]}", number_of(value), repr(made)))

    def limit(self, left, right, name: str) -> bool:
        """A comparison inside of print(): how far it is from turning over."""
        if all(number_of(side) is not None or isinstance(side, int) for side in (left, right)):
            self.notes.append({"how": "limit", "value": float(left) - float(right), "seen": True})
        return LIMITS[name](left, right)

    def compared(self, compare, *args, **options):
        """compare() of the package prints a line, and a difference where two results differ."""
        agreement = compare(*args, **options)
        if options["tol"]:
            self.notes.append(
                {"how": "within", "value": agreement.max_abs_diff / options["tol"], "seen": True}
            )
        if not agreement.ok:
            self.notes.append({"how": ".2g", "value": agreement.max_abs_diff, "seen": True})
        return agreement


class Rewriter(ast.NodeTransformer):
    """Sends through the recorder what a cell formats, prints, rounds and compares."""

    def __init__(self):
        self.printing = 0

    def call(self, method: str, *args: ast.expr, keywords=()) -> ast.Call:
        """The expression that calls a method of the recorder."""
        function = ast.Attribute(ast.Name(NAME, ast.Load()), method, ast.Load())
        return ast.Call(function, list(args), list(keywords))

    def visit_FormattedValue(self, node):  # noqa: D102
        self.printing += 1
        self.generic_visit(node)
        self.printing -= 1
        conversion = ast.Constant("" if node.conversion == -1 else chr(node.conversion))
        shown = self.call("formatted", node.value, node.format_spec or ast.Constant(""), conversion)
        return ast.FormattedValue(shown, -1, None)

    def visit_Call(self, node):  # noqa: D102
        name = node.func.id if isinstance(node.func, ast.Name) else None
        self.printing += name == "print"
        self.generic_visit(node)
        self.printing -= name == "print"
        if name == "print":
            node.args = [
                each if isinstance(each, (ast.Starred, ast.Constant)) else self.call("argument", each)
                for each in node.args
            ]
        if name == "round":
            return self.call("rounded", *node.args)
        if name == "compare":
            return self.call("compared", node.func, *node.args, keywords=node.keywords)
        return node

    def visit_Compare(self, node):  # noqa: D102
        self.generic_visit(node)
        name = type(node.ops[0]).__name__
        if not self.printing or len(node.ops) > 1 or name not in LIMITS:
            return node
        return self.call("limit", node.left, node.comparators[0], ast.Constant(name))


def run_cell(source: str, namespace: dict) -> dict:
    """What a cell writes, as nbval compares it, and the numbers in it."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()  # display() writes into its publisher, and without one to standard output
    recorder = namespace[NAME] = Recorder()
    tree = ast.fix_missing_locations(Rewriter().visit(ast.parse(source)))
    with redirect_stderr(io.StringIO()), capture_output(stderr=False) as captured:
        _execute(tree, namespace)
    marked = [captured.stdout, *(each.data.get("text/plain", "") for each in captured.outputs)]
    for place in SEEN.findall("".join(marked)):
        if place:
            recorder.notes[int(place)]["seen"] = True
    seen = [{"how": note["how"], "value": note["value"]} for note in recorder.notes if "seen" in note]
    return {"text": compared(SEEN.sub("", text) for text in marked), "numbers": seen}


def _execute(tree: ast.Module, namespace: dict) -> None:
    """As a kernel does: the value of a last expression is displayed."""
    from IPython.display import display

    *_, last = [None, *tree.body]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "<cell>", "exec"), namespace)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)
        if value is not None:
            display(value)


def stored_text(cell: dict) -> list[str]:
    """What a notebook keeps of a cell: its standard output first, then the text of what it displays."""
    out = [each for each in cell["outputs"] if each.get("name") == "stdout"]
    shown = [each["data"].get("text/plain", "") for each in cell["outputs"] if "data" in each]
    return compared(["".join("".join(each["text"]) for each in out), *map("".join, shown)])


def compared(texts) -> list[str]:
    return [text for text in texts if text and not BAR.match(text)]
