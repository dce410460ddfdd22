"""The page on which a Vision Transformer works: one file, which holds the model and asks no network.

Its parts lie in ``pages/at_work/``; the five steps are ``vit_steps/vit.js``, as they are.
"""

import ast
import base64
import inspect
import re
import textwrap
from pathlib import Path

import jinja2
from markupsafe import Markup

import vit_steps
from vit_steps.data import load_digits_images
from vit_steps.looking.widgets.base import HERE as WIDGETS
from vit_steps.looking.widgets.base import script_of
from vit_steps.training import SHIPPED, load_checkpoint, read_notes

FOLDER = Path(__file__).parent / "pages" / "at_work"
# In the order in which each needs what stands before it.
PARTS = ("dom", "experiments", "state", "pad", "grids", "charts", "origins", "whatif", "tour", "page")
# Of the test digits, one for each label that is easily read, and one that the model reads wrongly.
EXAMPLES = (24, 16, 25, 2, 52, 28, 12, 37, 29, 8, 91)


def page(env: jinja2.Environment) -> str:
    """The whole page, as HTML."""
    model = load_checkpoint()
    test = load_digits_images("test")[1]
    sizes = {"size": model.image_size, "dim": model.config["dim"], "depth": model.config["depth"]}
    return env.get_template("at_work/page.html.j2").render(
        **sizes,
        heads=model.config["num_heads"],
        parameters=f"{sum(each.numel() for each in model.parameters()):,}",
        right=round(read_notes()["test_accuracy"] * len(test)),
        style=text(FOLDER / "page.css"),
        dark=text(FOLDER / "dark.css"),
        theme=text(FOLDER.parent / "assets" / "theme.js"),
        weights=Markup(base64.b64encode(SHIPPED.read_bytes()).decode()),
        data={"examples": examples(model), "python": sources()},
        script=Markup(script()),
    )


def text(path: Path) -> Markup:
    return Markup(path.read_text(encoding="utf-8"))


def script() -> str:
    """All of the page's JavaScript as one module: the steps, the pen, the parts of the page."""
    parts = [FOLDER / f"{name}.js" for name in PARTS]
    return script_of(WIDGETS / "ink.js", *parts)


def examples(model: vit_steps.ViT) -> list[dict]:
    """Digits to choose from: grey in sixteenths, as scanned, with their label and the model's answer."""
    images, labels = load_digits_images("test")
    return [
        {
            "pixels": (16 * images[place]).flatten().int().tolist(),
            "label": labels[place].item(),
            "answer": model(images[place : place + 1]).argmax().item(),
        }
        for place in EXAMPLES
    ]


def sources() -> dict[str, str]:
    """The Python of every step that vit.js has, without docstrings: it stands beside the JavaScript."""
    exported = re.findall(r"^export (?:const|function) (\w+)", script_of(exports=True), flags=re.MULTILINE)
    steps = {name: getattr(vit_steps, name) for name in exported if hasattr(vit_steps, name)}
    return {name: bare(inspect.unwrap(step)) for name, step in steps.items()}


def bare(function) -> str:
    """A function from its ``def`` on, without its docstring: what it does."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    lines = source.splitlines()
    head = lines[definition.lineno - 1 : definition.body[0].lineno - 1]
    return "\n".join(head + lines[definition.body[1].lineno - 1 :])
