"""What both graders share: the code that grades an answer, as safe from the notebook around it as can be.

A notebook can rename a check, or change the package that it has imported. So the code stands on names of its
own, and imports the package afresh: what the notebook did to its copy is laid aside meanwhile, and a
``vit_steps`` that lies beside the notebook is not found. The answer itself comes from the notebook, and runs
in its process: who wants to betray can still change torch, or Python. ``vit-steps grade`` runs each notebook
in a process of its own.
"""

from textwrap import indent

from vit_steps.lessons.exercises import Exercise

GRADING = '''\
def {name}(answers):
    """Hold what was answered against a check that this notebook has not touched."""
    import os
    import sys

    ours = [name for name in sys.modules if name.partition(".")[0] == "vit_steps"]
    laid_aside, places = {{name: sys.modules.pop(name) for name in ours}}, sys.path[:]
    sys.path[:] = [place for place in places if place not in ("", ".", os.getcwd())]
    try:
        from vit_steps.lessons import {check} as check
        from vit_steps.lessons import grade

        found = grade(check, *answers)
    except BaseException as stopped:
        raise AssertionError(f"wrong: your answer ends in {{type(stopped).__name__}}") from None
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "vit_steps"]:
            del sys.modules[name]
        sys.modules.update(laid_aside)
        sys.path[:] = places
    assert found.right is True, found.message
'''


def grading_function(exercise: Exercise, name: str) -> str:
    """A function (answers) that raises AssertionError, with the mistake's sentence, unless they are right."""
    return GRADING.format(name=name, check=exercise.check.__name__)


def grading_test(exercise: Exercise, name: str) -> str:
    """The same as one function of the notebook's names, as otter's tests are."""
    inner = indent(grading_function(exercise, "hold"), "    ")
    given = ", ".join(f"env.get({each!r})" for each in exercise.names)
    return f"def {name}(env):\n{inner}\n    hold([{given}])\n".replace("'", '"')
