"""Make pages of the lessons that need no kernel, no server and no network: `make site` and `make slides`.

The pages hold what the notebooks store. A folder that is there already is replaced when the new one is whole.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import at_work
import deck
import hub_page
import jinja2
import lesson_html
import nbformat
from live_widgets import live_widgets

from vit_steps.files.writing import write_folder

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, PAGES = ROOT / "notebooks", Path(__file__).parent / "pages"
ON_FRONT_PAGE = {  # the figure that stands for a lesson
    "1_patch_embedding": "photo-as-sequence",
    "2_cls_token": "photo-figure",
    "3_position_embedding": "similarity-figure",
    "4_encoder": "block-figure",
    "5_classification": "embeddings-figure",
    "a_looking_inside": "contest-figure",
    "real_vits": "components-figure",
}


@dataclass
class Lesson:
    """A notebook, and what a page wants to know of it."""

    path: Path

    @property
    def name(self) -> str:
        """As in the addresses of its pages, which lie in one folder."""
        return self.path.stem

    @property
    def is_excursion(self) -> bool:
        """Whether it lies off the way of the five."""
        return self.path.parent.name == "beyond"

    @cached_property
    def notebook(self):
        """Its cells, with what they stored."""
        return nbformat.read(self.path, as_version=4)

    @cached_property
    def live(self) -> dict[str, dict]:
        """What brings its widgets to life."""
        return live_widgets(self.notebook, self.path.parent)

    @cached_property
    def sections(self) -> list[tuple[str, str]]:
        """Anchor and title of each section."""
        return lesson_html.sections(self.notebook)

    @property
    def title(self) -> str:
        """Its first line."""
        return self.notebook.cells[0].source.partition("\n")[0].removeprefix("# ")

    @property
    def short(self) -> str:
        """The title up to its colon, for menus."""
        return self.title.partition(":")[0]

    @property
    def question(self) -> str:
        """The question that it begins with."""
        return self.sections[0][1]

    @property
    def at_work(self) -> str:
        """Where on the page ``at_work.html`` it is seen: its step, or the experiments."""
        return "#what-if" if self.is_excursion else f"#step-{self.name[0]}"

    @property
    def symbols(self) -> str:
        """The table of symbols, in the lesson that has it."""
        return "".join(cell.source for cell in self.notebook.cells if cell.id == "symbols")

    @property
    def picture(self):
        """The figure that stands for it."""
        cell = next(cell for cell in self.notebook.cells if cell.id == ON_FRONT_PAGE[self.name])
        return next(output for output in cell.outputs if lesson_html.kind(output) == "picture")


def environment() -> jinja2.Environment:
    """Templates in which every text is escaped, unless one of the filters below made HTML of it."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES), undefined=jinja2.StrictUndefined, autoescape=True
    )
    for name in (
        "words",
        "inline",
        "printed",
        "python",
        "picture",
        "without_ids",
        "kind",
        "text",
        "is_folded",
        "hides_outputs",
    ):
        env.filters[name] = getattr(lesson_html, name)
    env.filters["shows_code"] = deck.shows_code
    env.filters["seen_outputs"] = deck.outputs
    return env


def build_site(folder: Path, lessons: list[Lesson]) -> None:
    env = environment()
    write(folder / "index.html", env.get_template("index.html.j2").render(lessons=lessons, here=None))
    for before, lesson, after in zip([None, *lessons], lessons, [*lessons[1:], None], strict=False):
        page = env.get_template("lesson.html.j2").render(
            lessons=lessons, lesson=lesson, here=lesson.name, before=before, after=after
        )
        write(folder / f"{lesson.name}.html", page)
    write(folder / "at_work.html", at_work.page(env))
    write(folder / "hub.html", hub_page.page(env, lessons))
    copy_assets(folder)
    write(folder / ".nojekyll", "")  # GitHub Pages shall serve the files as they are
    build_slides(folder / "slides", lessons)


def build_slides(folder: Path, lessons: list[Lesson]) -> None:
    env = environment()
    write(folder / "index.html", env.get_template("decks.html.j2").render(lessons=lessons))
    for lesson in lessons:
        page = env.get_template("deck.html.j2").render(lesson=lesson, stacks=deck.stacks(lesson.notebook))
        write(folder / f"{lesson.name}.html", page)
    copy_assets(folder)


def copy_assets(folder: Path) -> None:
    """Copy what the pages load; bytes alone, since a checkout may be read-only and the copy must not be."""
    assets = PAGES / "assets"
    copies = {path: folder / path.relative_to(PAGES) for path in assets.rglob("*") if path.is_file()}
    copies[ROOT / "vit_steps" / "looking" / "widgets" / "widgets.css"] = folder / "assets" / "widgets.css"
    copies[ROOT / ".github" / "real_eyes.png"] = folder / "assets" / "real_eyes.png"
    for path, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def is_ours(folder: Path) -> bool:
    """Whether nothing is lost when the folder is replaced: it holds pages, or nothing at all."""
    return not folder.exists() or (folder / "index.html").exists() or not any(folder.iterdir())


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["site", "slides"])
    parser.add_argument("--out", type=Path, help="the folder to write; site or slides when left out")
    chosen = parser.parse_args(arguments)
    paths = sorted(NOTEBOOKS.glob("*.ipynb")) + sorted(NOTEBOOKS.glob("beyond/*.ipynb"))
    lessons = [Lesson(path) for path in paths]
    build = {"site": build_site, "slides": build_slides}[chosen.what]
    out = (chosen.out or ROOT / chosen.what).resolve()
    if not is_ours(out):
        parser.error(f"{out} holds other things than pages; name a new folder, or an empty one")
    write_folder(out, lambda folder: build(folder, lessons))
    print(f"{out / 'index.html'}")


if __name__ == "__main__":
    main(sys.argv[1:])
