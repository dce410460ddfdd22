"""One source, all editions: what the cells' tags say, and what an edition keeps, turns and leaves out."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from filled_in import SOURCES, cut, exercises_of, solution
from nbclient import NotebookClient

from vit_steps.lessons.editions import command, make_edition, making
from vit_steps.lessons.editions._lessons import TAGS, names_in, stub_of, tags
from vit_steps.lessons.exercises import EXERCISES, LESSONS

each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
FOR_STUDENTS = ("student", "nbgrader", "otter")
FOLDED = re.compile(r"folded|\bthe solutions?\b|<summary>Solution|\"solution\\?\"", flags=re.I)


@pytest.fixture(scope="module")
def editions(tmp_path_factory):
    """Edition -> place -> notebook, of all lessons. What otter makes of its master, test_otter tests."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "need_otter", lambda: None)
        patch.setattr(making, "assign", lambda master: {})
        for kind in making.WAYS:
            folder = tmp_path_factory.mktemp(kind)
            paths = make_edition(kind, ["all"], folder)
            made[kind] = {
                path.relative_to(folder).as_posix(): nbformat.read(path, as_version=4)
                for path in paths
                if path.suffix == ".ipynb"
            }
    return made


def lesson_in(editions, kind, stem):
    (found,) = (each for place, each in editions[kind].items() if Path(place).stem == stem)
    return {cell.id: cell for cell in found.cells}


# What the tags say


@each_exercise
def test_an_exercise_has_a_question_a_stub_that_ends_in_its_check_and_a_solution(exercise):
    cells = SOURCES[exercise.lesson].cells
    ids = [cell["id"] for cell in cells]
    asked, stub, solved = (ids.index(exercise.cell + end) for end in ("", "-stub", "-solution"))
    assert asked < stub == solved - 1
    said = [{*TAGS} & {*tags(cells[place])} for place in (asked, stub, solved)]
    assert said == [{"exercise"}, {"stub"}, {"solution"}]
    call = ast.parse(stub_of(cells[stub]).call).body[0].value
    assert call.func.id == exercise.check.__name__
    assert [each.id for each in call.args] == [*exercise.names]


@pytest.mark.parametrize("stem", SOURCES)
def test_nothing_else_is_tagged_as_an_exercise(stem):
    lesson = SOURCES[stem]
    for tag, end in (("exercise", ""), ("stub", "-stub"), ("solution", "-solution")):
        found = [cell["id"] for cell in lesson.cells if tag in tags(cell)]
        assert found == [exercise.cell + end for exercise in lesson.exercises]


@pytest.mark.parametrize("stem", SOURCES)
def test_what_speaks_of_solutions_is_tagged(stem):
    """Not of the solutions of an equation: of ours there are not many."""
    for cell in SOURCES[stem].cells:
        speaks = re.search(r"(?<!many )\bsolutions?\b", cell["source"], flags=re.I)
        assert bool(speaks) == bool({"solution", "tells-solution"} & {*tags(cell)}), cell["id"]


@pytest.mark.parametrize("stem", LESSONS)
def test_what_uses_an_answer_is_tagged(stem):
    lesson = SOURCES[stem]
    answers = {name for exercise in lesson.exercises for name in exercise.names}
    for cell in lesson.cells:
        if cell["cell_type"] == "code" and "stub" not in tags(cell):
            uses = bool(answers & names_in(cell["source"]))
            assert uses == ("needs-solution" in tags(cell)), cell["id"]


def test_pages_and_slides_are_the_same_without_the_tags(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "tools")
    import export

    def drawn(stem, keep):
        lesson = export.Lesson(export.NOTEBOOKS / f"{stem}.ipynb")
        for cell in lesson.notebook.cells:
            if not keep and "tags" in cell.metadata:
                cell.metadata["tags"] = [tag for tag in cell.metadata.tags if tag not in TAGS]
        code = [cell for cell in lesson.notebook.cells if cell.cell_type == "code"]
        env, stacks = export.environment(), export.deck.stacks(lesson.notebook)
        page = env.get_template("deck.html.j2").render(lesson=lesson, stacks=stacks)
        return page, lesson.sections, [*map(export.deck.shows_code, code)]

    assert drawn("2_cls_token", keep=True) == drawn("2_cls_token", keep=False)


# Editions without solutions


def lines_of_answers(stem):
    """What stands in a solution, and in nothing that a student may see."""
    lesson = SOURCES[stem]
    seen = "\n".join(cell["source"] for cell in lesson.cells if "solution" not in tags(cell))
    for exercise in lesson.exercises:
        for line in solution(exercise).splitlines():
            if len(line.strip()) > 12 and line.strip() not in seen:
                yield line.strip()


@pytest.mark.parametrize("stem", LESSONS)
def test_students_are_given_no_solution_anywhere_in_the_file(editions, stem):
    (found,) = (each for place, each in editions["student"].items() if Path(place).stem == stem)
    text = json.dumps(found, ensure_ascii=False)
    answers = [*lines_of_answers(stem)]
    assert len(answers) >= 3
    for line in answers:
        assert json.dumps(line, ensure_ascii=False)[1:-1] not in text, line


@pytest.mark.parametrize("kind", FOR_STUDENTS)
@pytest.mark.parametrize("stem", LESSONS)
def test_no_edition_without_solutions_mentions_one(editions, kind, stem):
    cells = lesson_in(editions, kind, stem)
    assert not any(id.endswith("-solution") for id in cells)
    for cell in cells.values():
        if cell.cell_type == "markdown":
            assert not FOLDED.search(cell.source), cell.id


@pytest.mark.parametrize("stem", LESSONS)
def test_students_get_everything_else_as_it_is(editions, stem):
    given = lesson_in(editions, "student", stem)
    for cell in SOURCES[stem].cells:
        if not {"solution", "tells-solution", "needs-solution"} & {*tags(cell)}:
            assert given[cell["id"]].source == cell["source"]
            if cell["cell_type"] == "code":
                assert given[cell["id"]].execution_count == cell["execution_count"]
                assert len(given[cell["id"]].outputs) == len(cell["outputs"])


def test_what_was_said_beside_a_word_of_solutions_stays(editions):
    source = lesson_in(editions, "student", "5_classification")["exercises"].source
    said = SOURCES["5_classification"].cell("exercises")["source"]
    assert said.startswith(source)
    assert source.endswith("The check below it names your mistake, so try things.")


# The teacher's


@each_exercise
def test_the_teacher_sees_the_stub_filled_and_the_mistakes_beside_it(editions, exercise, capsys):
    cells = lesson_in(editions, "teacher", exercise.lesson)
    namespace = {}
    exec(cells["imports"].source, namespace)
    exec(cells[f"{exercise.cell}-stub"].source, namespace)
    assert capsys.readouterr().out.splitlines()[-1].startswith("right: ")
    assert cells[f"{exercise.cell}-stub"].outputs == []
    known = cells[f"{exercise.cell}-known"].source
    assert known.startswith(f"**{exercise.points} points.**")
    assert all(f"- {words}\n" in known for words in exercise.mistakes)


@pytest.mark.parametrize("stem", LESSONS)
def test_the_teacher_reads_of_no_fold_and_of_no_empty_stub(editions, stem):
    for cell in lesson_in(editions, "teacher", stem).values():
        if cell.cell_type == "markdown":
            assert "folded" not in cell.source
            assert "not yet" not in cell.source


# Links, outputs, doors


@pytest.mark.parametrize("kind", making.WAYS)
def test_links_lead_to_lessons_of_the_edition_or_are_none(editions, kind):
    links = 0
    for place, notebook in editions[kind].items():
        for cell in notebook.cells:
            for target in re.findall(r"\]\(([^)#:]+\.ipynb)", cell.source):
                there = Path(place).parent.joinpath(target)
                assert there.as_posix() in editions[kind] or _plain(there) in editions[kind], target
                links += 1
    assert links >= 8


def _plain(path):
    parts = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def test_a_link_to_a_lesson_that_is_not_in_the_edition_is_text(tmp_path):
    (path,) = make_edition("student", ["2"], tmp_path)
    last = nbformat.read(path, as_version=4).cells[-1].source
    assert last == "Before: 1 · Patch embedding · Next: 3 · Position embedding: where a patch came from"


@pytest.mark.parametrize(("outputs", "kept"), [("as usual", True), ("keep", True), ("clear", False)])
def test_outputs_are_kept_or_cleared(tmp_path, outputs, kept):
    (path,) = make_edition("student", ["2"], tmp_path, outputs=outputs)
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in cells) == kept
    assert any(cell.execution_count for cell in cells) == kept


@pytest.mark.parametrize("kind", making.WAYS)
def test_every_notebook_is_valid(editions, kind):
    for notebook in editions[kind].values():
        nbformat.validate(notebook)
        ids = [cell.id for cell in notebook.cells]
        assert len({*ids}) == len(ids)


def test_a_lesson_begins_with_doors_where_they_are_asked_for(tmp_path):
    addresses = {"install": "git+https://example.org/a/b", "repository": "https://github.com/a/b"}
    (path,) = make_edition("student", ["real_vits"], tmp_path, **addresses)
    title, links, install, *_ = nbformat.read(path, as_version=4).cells
    assert title.source.startswith("# B")
    assert "https://colab.research.google.com/github/a/b/blob/main/beyond/real_vits.ipynb" in links.source
    assert '"git+https://example.org/a/b"' in install.source
    with pytest.raises(ValueError, match="repository must be an address"):
        make_edition("student", ["2"], tmp_path, repository="here")


# Grading, from inside a notebook


def test_an_answer_is_graded_by_a_package_that_is_imported_afresh(tmp_path):
    here = Path(__file__)
    paths = os.pathsep.join(map(str, (here.parents[2], here.parent, here.parents[1])))
    # What lies in the working directory is not what grades.
    run = subprocess.run(
        [sys.executable, here.with_name("graded_afresh.py")],
        **{"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": paths}, "capture_output": True, "text": True},
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert [*found] == [exercise.id for exercise in EXERCISES]
    for exercise in EXERCISES:
        said = found[exercise.id]
        assert said["right"] is None
        assert said["mistake"].startswith("wrong: ")
        assert said["nothing"].startswith("not yet: ")
        assert "borrowed" not in said or "write it yourself" in said["borrowed"]


# Laying


def test_what_somebody_changed_is_never_written_over(tmp_path):
    first, second = make_edition("student", ["1", "2"], tmp_path)
    before = first.read_bytes()
    make_edition("student", ["1", "2"], tmp_path, outputs="clear")  # ours: may be replaced
    assert first.read_bytes() != before
    second.write_text("{}")
    cleared = first.read_bytes()
    with pytest.raises(FileExistsError, match=r"2_cls_token.ipynb is not as it was laid there: force"):
        make_edition("student", ["1", "2"], tmp_path)
    assert (first.read_bytes(), second.read_text()) == (cleared, "{}")
    make_edition("student", ["1", "2"], tmp_path, force=True)
    assert first.read_bytes() == before


# The command


def test_the_command_lays_an_edition_and_names_its_files(tmp_path, capsys):
    assert command.main(["student", "2", "1_patch_embedding", "--out", str(tmp_path / "made")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        str(tmp_path / "made" / name) for name in ("1_patch_embedding.ipynb", "2_cls_token.ipynb")
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["student", "six"],
            "lessons must be numbers from 1 to 5, names such as 2_cls_token, or all, got 'six'",
        ),
        (["pupil", "1"], "argument EDITION: invalid choice: 'pupil'"),
        (["nbgrader", "real_vits"], "real_vits has no exercise for nbgrader to grade"),
        (["student", "2", "--install", "-r x"], "install must be one line that begins with no dash"),
        (["student", "2", "--branch", "b", "--repository", "x"], "repository must be an address"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit) as left:
        command.main([*words, "--out", str(tmp_path / "made")])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_file_in_the_folders_place_and_a_changed_one_are_named(tmp_path, capsys):
    (tmp_path / "made").write_text("notes")
    with pytest.raises(SystemExit):
        command.main(["student", "2", "--out", str(tmp_path / "made")])
    assert "made is a file, a folder was wanted" in capsys.readouterr().err
    (path,) = make_edition("student", ["2"], tmp_path)
    path.write_text("mine")
    with pytest.raises(SystemExit):
        command.main(["student", "2", "--out", str(tmp_path)])
    assert "2_cls_token.ipynb is not as it was laid there: --force writes over it" in capsys.readouterr().err


def test_a_missing_grader_says_which_extra_brings_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vit_steps.lessons.editions._otter.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        command.main(["otter", "2", "--out", str(tmp_path / "made")])
    assert 'not installed: pip install "vit-steps[grading]"' in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


# Running. All other cells are those of the lessons, which nbval runs.


SAID = ("text", "ename", "evalue")


def run(cells, folder):
    """Run cells as Run All does, but on after an error; give what each printed or raised."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell) for cell in cells])
    NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=True).execute(cwd=folder)
    return {
        cell.id: " ".join(" ".join(output.get(key, "") for key in SAID) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


@pytest.mark.parametrize("kind", ["student", "teacher", "nbgrader"])
def test_an_edition_runs_and_grades_whom_it_should(tmp_path, kind):
    arranged = making.WAYS[kind].arrange(cut(SOURCES["5_classification"]))
    said = run(arranged, tmp_path)
    assert {id: each for id, each in said.items() if "Error" in each} == {}
    stubs = [said[f"{id}-stub"] for id in exercises_of("5_classification")]
    assert all(each.startswith("not yet" if kind == "student" else "right: ") for each in stubs)
    answered = "the package's ViT" if kind == "student" else "your MyViT"
    assert f"answered by {answered}" in said["pad-run"]


def test_a_cell_that_needs_an_answer_does_not_stop_where_there_is_none(tmp_path):
    lesson = cut(SOURCES["5_classification"])
    cells = [
        cell | {"source": "def no(:"} if "stub" in tags(cell) else cell for cell in making.student(lesson)
    ]
    said = run(cells, tmp_path)
    assert [id for id, each in said.items() if "Error" in each] == [
        f"{id}-stub" for id in exercises_of("5_classification")
    ]
    assert "not yet: there is no function" in said["pad-run"]
    assert "the package's ViT" in said["pad-run"]
