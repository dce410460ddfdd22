"""The rules for cells: what nbval does not see, since it compares text and never a picture or an order."""

import ast
import copy
import importlib
import importlib.util
import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[2]
STEPS = ("patch_embedding", "cls_token", "position_embedding", "encoder", "classification")
NAMES = [f"{number}_{step}" for number, step in enumerate(STEPS, start=1)]
EXCURSIONS = ["a_looking_inside", "real_vits"]
MEGABYTE = 2**20


def path_of(name: str) -> Path:
    return ROOT / "notebooks" / ("beyond" if name in EXCURSIONS else "") / f"{name}.ipynb"


def read(name: str):
    return nbformat.read(path_of(name), as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell) -> list:
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def draws(cell) -> bool:
    return "show_figure(" in cell.source


@pytest.fixture(params=[*NAMES, *EXCURSIONS])
def notebook(request):
    return read(request.param)


def test_the_five_lessons_and_the_excursions_and_no_others():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == NAMES
    assert sorted(path.stem for path in (ROOT / "notebooks" / "beyond").glob("*.ipynb")) == EXCURSIONS


@pytest.mark.parametrize("name", NAMES)
def test_one_stem_in_three_places(name):
    stem = name[2:]
    assert (ROOT / "vit_steps" / f"{stem}.py").exists()
    assert (ROOT / "tests" / f"test_{stem}.py").exists()


def test_the_notebook_is_valid(notebook):
    nbformat.validate(notebook)


def test_every_cell_has_run_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_cell_stores_an_error_or_a_warning(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error", cell.id
            assert output.get("name") != "stderr", cell.id


def test_every_figure_is_there_with_words_for_those_who_cannot_see_it(notebook):
    assert any(map(draws, code_cells(notebook)))
    for cell in code_cells(notebook):
        assert len(pictures(cell)) >= draws(cell), f"{cell.id} has lost its picture"
        for picture in pictures(cell):
            alt = picture.metadata["image/png"]["alt"]
            assert len(alt.split()) >= 6, f"{cell.id}: the alternative text says too little: {alt}"
            assert picture.data["text/plain"].strip("'") == alt


def test_a_sentence_stands_below_every_figure(notebook):
    for cell, below in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if pictures(cell):
            assert below is not None, cell.id
            assert below.cell_type == "markdown", f"{cell.id}: nothing says how to read the figure"
            assert len(below.source.split()) >= 8, below.id


def test_no_cell_is_longer_than_twenty_lines(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 20, cell.id


def test_no_cell_hides_its_result_behind_a_semicolon(notebook):
    for cell in code_cells(notebook):
        assert not cell.source.rstrip().endswith(";"), cell.id


def test_nothing_is_said_to_a_linter_where_a_student_reads(notebook):
    for cell in notebook.cells:
        assert not re.search(r"#\s*(noqa|type: ?ignore|fmt:|ruff:)", cell.source), cell.id


def test_ids_are_slugs(notebook):
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for name in ids:
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name), name
        assert not re.fullmatch(r"[0-9a-f]{8}", name), f"{name} was drawn by a machine"


def headings(notebook) -> list[int]:
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```", "", cell.source, flags=re.S)
            found += [len(match) for match in re.findall(r"^(#+) ", text, flags=re.M)]
    return found


def test_headings_go_down_one_level_at_a_time(notebook):
    levels = headings(notebook)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(level <= before + 1 for before, level in pairwise(levels))


@pytest.mark.parametrize("name", [*NAMES, *EXCURSIONS])
def test_a_lesson_is_small_enough_for_git(name):
    assert path_of(name).stat().st_size < MEGABYTE


def test_no_path_of_a_machine(notebook):
    text = nbformat.writes(notebook)
    pictureless = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"(?<![\w.:/])/(home|Users|root|tmp|work|mnt|opt|var|usr)/|[A-Z]:\\\\", pictureless)


def imported(cell) -> list[ast.stmt]:
    return [
        node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, (ast.Import, ast.ImportFrom))
    ]


def test_imports_stand_in_one_cell_and_exist(notebook):
    with_imports = [cell for cell in code_cells(notebook) if imported(cell)]
    assert [cell.id for cell in with_imports] == ["imports"]
    for node in imported(with_imports[0]):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vit_steps"):
            module = importlib.import_module(node.module)
            for name in node.names:
                # Of a folder its modules can be named, too.
                assert hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}"), name.name


def test_a_lesson_shows_live_source_and_compares(notebook):
    code = "\n".join(cell.source for cell in code_cells(notebook))
    assert "show_source(" in code
    assert "compare(" in code


def test_a_lesson_opens_and_closes_like_the_others(notebook):
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    assert re.match(r"# [1-5A-Z] · \w", first)
    assert "You will be able to" in first
    is_excursion = first[2].isalpha()
    assert is_excursion or "plot_the_way(" in "".join(cell.source for cell in notebook.cells[:3])
    recap = next(cell.source for cell in notebook.cells if cell.source.startswith("## What you have seen"))
    assert len(re.findall(r"^\d\. ", recap.partition("**Try it**")[0], flags=re.M)) == 5
    assert ".ipynb)" in last


SOLUTION = re.compile(
    r'<details class="solution"><summary>Solution</summary>\n\n.*?```python\n(.*?)```.*</details>', flags=re.S
)


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_is_folded_away_runs_only_when_it_is_copied_and_is_right(name, capsys, monkeypatch):
    """It is text, so that Run All grades the reader; here it is run as if a reader had copied it."""
    cells = {cell.id: cell for cell in read(name).cells}
    solutions = [each for each in cells if each.endswith("-solution")]
    assert len(solutions) == len([each for each in cells if each.endswith("-stub")]) >= 3
    monkeypatch.chdir(ROOT / "notebooks")
    for each in solutions:
        assert cells[each].cell_type == "markdown"
        (program,) = SOLUTION.findall(cells[each].source)
        stub = cells[each.replace("-solution", "-stub")]
        assert "not yet" in "".join(output.get("text", "") for output in stub.outputs)
        check = stub.source[stub.source.index("_ = check_") :]
        with plt.rc_context():  # the lesson's style is not for other tests
            exec(f"{cells['imports'].source}\n{program}\n{check}", {})
        assert capsys.readouterr().out.splitlines()[-1].startswith("right: "), each


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_is_on_the_slides_and_its_solution_is_not(name):
    cells = {cell.id: cell.metadata.get("slideshow", {}).get("slide_type") for cell in read(name).cells}
    for stub in [each for each in cells if each.endswith("-stub")]:
        exercise = stub.removesuffix("-stub")
        assert cells[exercise] in ("slide", "subslide"), exercise
        assert cells[stub] in (None, "subslide"), stub
        assert cells[f"{exercise}-solution"] == "skip", exercise


@pytest.mark.parametrize("name", [*NAMES, *EXCURSIONS])
def test_links_between_lessons_lead_somewhere(name):
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
                assert (path_of(name).parent / target).exists(), target


def test_nothing_of_the_run_is_stored(notebook):
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    assert not any("execution" in cell.metadata for cell in notebook.cells)


@pytest.fixture(scope="module")
def execute():
    """The module behind `make execute`."""
    spec = importlib.util.spec_from_file_location("execute", ROOT / "tools" / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_stored_lesson_is_as_execute_writes_it(notebook, execute):
    assert nbformat.writes(execute.normalise(copy.deepcopy(notebook))) == nbformat.writes(notebook)


def test_what_a_run_leaves_behind_is_dropped_and_widgets_are_numbered(execute):
    model = {"application/vnd.jupyter.widget-view+json": {"model_id": "ab" * 16}, "text/plain": "cd" * 16}
    cell = nbformat.v4.new_code_cell("1", metadata={"execution": {"started": "now"}, "tags": ["kept"]})
    cell.outputs = [nbformat.v4.new_output("display_data", model)]
    lesson = execute.normalise(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}}))
    assert "widgets" not in lesson.metadata
    assert lesson.cells[0].metadata == {"tags": ["kept"]}
    data = lesson.cells[0].outputs[0].data
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == "0" * 32
    assert data["text/plain"] == "0" * 31 + "1"


@pytest.mark.parametrize(("changed", "made_again"), [(0, {"timed", "drawn"}), (1, {"drawn"})])
def test_what_was_timed_is_kept_until_it_or_what_was_timed_before_changes(
    execute, tmp_path, changed, made_again
):
    cells = [
        nbformat.v4.new_code_cell("import time; print(time.perf_counter_ns())", id=name)
        for name in ("timed", "drawn")
    ]
    for cell in cells:
        cell.metadata["tags"] = ["nbval-ignore-output"]
    path = tmp_path / "timed.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)

    def stored() -> dict[str, str]:
        execute.execute(path)
        return {cell.id: cell.outputs[0].text for cell in nbformat.read(path, as_version=4).cells}

    first = stored()
    assert stored() == first
    lesson = nbformat.read(path, as_version=4)
    lesson.cells[changed].source += "  # changed"
    nbformat.write(lesson, path)
    second = stored()
    assert {name for name in first if second[name] != first[name]} == made_again


def test_a_lesson_that_stops_is_left_as_it_was(execute, tmp_path, capsys):
    path = tmp_path / "broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    before = path.read_bytes()
    assert execute.main([str(path)]) == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().err
