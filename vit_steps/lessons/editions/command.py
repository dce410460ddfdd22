"""The command ``python -m vit_steps.lessons``: editions of the lessons, for a class."""

import argparse
import sys
from typing import get_args

from vit_steps.files.reading import shown
from vit_steps.lessons.editions.making import Kind, make_edition

EXAMPLES = """examples:
  lessons 1 and 2 without their solutions
    python -m vit_steps.lessons student 1 2 --out class
  all lessons with stubs filled, points, and the mistakes that each check names
    python -m vit_steps.lessons teacher all --out mine
  a course folder for nbgrader, and what a student gets of lesson 2
    python -m vit_steps.lessons nbgrader 1 2 3 4 5 --out course
    cd course; nbgrader generate_assignment 2_cls_token
  for otter: student/2_cls_token.ipynb to hand out, autograder/2_cls_token.zip to grade with
    python -m vit_steps.lessons otter 2 --out otter
    otter run handed_in/2_cls_token.ipynb -a otter/autograder/2_cls_token.zip
  for Colab and Binder, published at an address of yours
    python -m vit_steps.lessons student all --out . --install git+https://HOST/OWNER/NAME
        --repository https://HOST/OWNER/NAME

nbgrader and otter are installed by pip install "vit-steps[grading]".
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m vit_steps.lessons``.

    Returns:
        0 when all went well, 130 when Ctrl-C ended it. What is refused leaves with 2, and says why.
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    kind, lessons, folder = (options.pop(name) for name in ("kind", "lessons", "out"))
    try:
        made = make_edition(kind, lessons, folder, **options)
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr, flush=True)
        return 130
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        parser.error(str(error).replace("force writes over it", "--force writes over it"))
    for path in made:
        print(shown(path))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vit_steps.lessons",
        description="Make editions of the lessons for a class, all from the lessons themselves.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("kind", metavar="EDITION", choices=get_args(Kind), help=", ".join(get_args(Kind)))
    add("lessons", metavar="LESSON", nargs="+", help="1 to 5, a name such as 2_cls_token, or all")
    add("--out", required=True, metavar="FOLDER", help="where to; made where there is none")
    add("--outputs", choices=("keep", "clear"), default="as usual", help="what lessons print and draw")
    add("--install", default="", metavar="ADDRESS", help="what pip installs where the package is missing")
    add("--repository", default="", metavar="ADDRESS", help="where FOLDER is published, for links to open it")
    add("--branch", default="main", metavar="NAME", help="of the repository (main)")
    add("--hub", default="", metavar="ADDRESS", help="a JupyterHub with nbgitpuller, for one more link")
    add("--force", action="store_true", help="write over files that were changed since they were laid")
    return parser
