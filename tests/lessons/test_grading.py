"""A class's notebooks are graded, whatever they do: what each heard is in the table, and nothing gets out."""

import ast
import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from class_of_sixty import Listener, state_of
from handed_in import (
    HARM,
    NOT_YET,
    Submission,
    hand_in,
    harmful,
    no_notebooks,
    not_as_expected,
    peaceful,
    solutions,
    with_stubs,
    written,
)

import vit_steps
from vit_steps import lessons
from vit_steps.lessons import _verdict, encoder
from vit_steps.lessons.grading import command, jail, judge, report
from vit_steps.lessons.grading.hand_ins import find_hand_ins
from vit_steps.lessons.grading.jail import Limits
from vit_steps.lessons.grading.notebook import read_program
from vit_steps.lessons.grading.report import Row
from vit_steps.lessons.grading.seal import Seal

LESSON = "2_cls_token"
MEMORY = 2**29
held = pytest.mark.skipif(
    jail.why(Limits()) is not None, reason=f"no process can be shut in: {jail.why(Limits())}"
)


def rows_in(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def temporary_files_of_its_own(tmp_path, monkeypatch):
    """What is left there was left by this test."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)


def grade(folder, out, *more):
    options = ["--workers", "2", "--seconds", "4", "--memory", "0.5", *more]
    assert command.main([str(folder), "--out", str(out), *options]) == 0
    return rows_in(out)


# The whole of it


@held
def test_what_does_harm_is_graded_and_does_none(tmp_path):
    folder, listener = tmp_path / "class", Listener()
    files = [each for each in no_notebooks(LESSON) if each.student != "long output"]
    submissions = [*peaceful(LESSON), *harmful(LESSON, folder, listener.port, MEMORY), *files]
    assert len(HARM) > 25
    hand_in(folder, submissions)
    before = state_of(folder)
    rows = grade(folder, tmp_path / "class.csv")
    assert not_as_expected(rows, submissions) == []
    assert state_of(folder) ^ before == set()
    assert listener.knocks == 0
    page = (tmp_path / "class.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" not in page or "could not be graded" in page
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "class",
        "class.csv",
        "class.html",
        "temporary",
    ]


@held
def test_what_was_replaced_is_named(tmp_path):
    (patched,) = [each for each in harmful(LESSON, tmp_path, 0, 0) if each.student == "replaces torch"]
    hand_in(tmp_path / "class", [patched])
    (first, *_) = grade(tmp_path / "class", tmp_path / "class.csv")
    assert first["note"].startswith("it had replaced ")
    assert "torch.isclose" in first["note"]


@held
def test_ctrl_c_keeps_what_is_graded_and_the_same_command_goes_on(tmp_path):
    text = with_stubs(LESSON, solutions(LESSON), outputs=False)
    expected = dict.fromkeys(solutions(LESSON))
    slow = with_stubs(LESSON, {"2a": "import time\ndef add_registers(*_):\n    time.sleep(3)"}, outputs=False)
    submissions = [Submission(f"student {n}", written(text), expected) for n in range(3)]
    submissions.append(Submission("student 9", written(slow), dict.fromkeys(expected, NOT_YET)))
    hand_in(tmp_path / "class", submissions)
    arguments = [tmp_path / "class", "--out", tmp_path / "class.csv", "--workers", "1", "--memory", "0.5"]
    run = subprocess.Popen(
        [sys.executable, "-m", "vit_steps.lessons.grading", *arguments], stderr=subprocess.PIPE, text=True
    )
    partial = tmp_path / "class.partial"
    until(lambda: partial.exists() and partial.read_text().count("\n") == 3)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=30) == 130
    assert "the same command goes on from here" in run.stderr.read()
    run.stderr.close()
    assert not (tmp_path / "class.csv").exists()
    partial.write_text(partial.read_text() + '["cut sho')
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        ask = command.Worker._ask
        patch.setattr(
            command.Worker, "_ask", lambda self, each: asked.append(each.student) or ask(self, each)
        )
        rows = grade(tmp_path / "class", tmp_path / "class.csv", "--seconds", "20")
    assert asked == ["student 9"]
    assert not_as_expected(rows, submissions) == []


def until(is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


@held
def test_a_worker_that_is_killed_takes_its_notebook_along_and_nothing_else(tmp_path):
    marker = "import time\ndef add_registers(*_):\n    time.sleep(60)"
    text = with_stubs(LESSON, {"2a": marker}, outputs=False)
    hand_in(
        tmp_path / "class", [Submission("one", written(text), None), Submission("two", written(text), None)]
    )
    killed = []

    def kill_the_first(self, *_):
        process = start(self)
        if not killed:
            killed.append(process.pid)
            subprocess.Popen(
                [sys.executable, "-c", f"import os, time; time.sleep(9); os.kill({process.pid}, 9)"]
            )
        return process

    start = command.Worker._start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.Worker, "_start", kill_the_first)
        rows = grade(tmp_path / "class", tmp_path / "class.csv", "--workers", "1", "--seconds", "8")
    assert {row["line"] for row in rows if row["student"] == "one"} == {
        "not graded: the worker that graded it broke off"
    }
    assert {row["right"] for row in rows if row["student"] == "two"} == {"no"}


def test_where_nothing_can_be_shut_in_it_is_said_and_trust_is_asked_for(tmp_path, monkeypatch, capsys):
    hand_in(tmp_path / "class", [*peaceful(LESSON)][:2])
    monkeypatch.setattr(jail, "why", lambda limits: "plan9 has no namespaces")
    with pytest.raises(SystemExit) as stopped:
        command.main([str(tmp_path / "class"), "--out", str(tmp_path / "class.csv")])
    assert stopped.value.code == 2
    assert "plan9 has no namespaces; this system lets no process be shut in" in capsys.readouterr().err
    rows = grade(tmp_path / "class", tmp_path / "class.csv", "--trust", "--seconds", "60")
    assert not_as_expected(rows, [*peaceful(LESSON)][:2]) == [], rows


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="asks root to become somebody else")
def test_somebody_who_is_not_root_shuts_in_as_well(tmp_path):
    code = "from vit_steps.lessons.grading import jail; print(jail.why(jail.Limits()))"
    somebody = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "--inh-caps=-all"]
    python = [*somebody, "--ambient-caps=-all", sys.executable, "-B", "-c"]
    if subprocess.run([*python, "pass"], capture_output=True).returncode:
        pytest.skip("this Python lies where nobody but root may read it")
    environment = {**os.environ, "PYTHONPATH": str(Path(vit_steps.__file__).parents[1]), "HOME": "/tmp"}
    run = subprocess.run([*python, code], capture_output=True, text=True, env=environment, cwd="/")
    assert run.stdout.strip() in ("None", "unshare: Operation not permitted"), run.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--out", "a.csv"], "there is no folder nowhere"),
        ([".", "--out", "a.txt"], "--out must end in .csv, got a.txt"),
        ([".", "--out", "a.csv"], "holds no notebook"),
        ([".", "--out", "a.csv", "--seconds", "0"], "--seconds must lie between 0 and 3600, got 0"),
        ([".", "--out", "a.csv", "--memory", "nan"], "--memory must lie between 0.25 and 1024 GB, got nan"),
        ([".", "--out", "a.csv", "--workers", "0"], "--workers must lie between 1 and 256, got 0"),
    ],
)
def test_what_is_refused_is_named(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert words in capsys.readouterr().err


# Whose notebook it is


def test_a_notebook_per_student_a_folder_per_student_and_what_nbgrader_collects(tmp_path):
    for name in (
        "a/anna.ipynb",
        "a/bo_1_patch_embedding.ipynb",
        "a/4_encoder - Carla.ipynb",
        "a/Dora Maar/3_position_embedding.ipynb",
        "a/Dora Maar/.ipynb_checkpoints/3_position_embedding-checkpoint.ipynb",
        "a/notes.txt",
        "b/submitted/eve/2_cls_token/2_cls_token.ipynb",
        "b/source/2_cls_token/2_cls_token.ipynb",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "a/linked").symlink_to(tmp_path / "b")
    assert [(each.student, each.lesson) for each in find_hand_ins(tmp_path / "a")] == [
        ("Carla", "4_encoder"),
        ("Dora Maar", "3_position_embedding"),
        ("anna", None),
        ("bo", "1_patch_embedding"),
    ]
    for folder in ("b", "b/submitted"):
        assert [(each.student, each.lesson) for each in find_hand_ins(tmp_path / folder)] == [("eve", LESSON)]


# What of it runs


def program_of(*sources, lesson=None):
    cells = [{"cell_type": "code", "id": f"cell-{n}", "source": each} for n, each in enumerate(sources)]
    return read_program(json.dumps({"cells": cells}).encode(), lesson)


def run(program, needed=True):
    namespace = {}
    for statement in program.needed() if needed else program.statements:
        exec(statement.code, namespace)
    return namespace


def test_only_what_an_answer_uses_runs():
    program = program_of(
        "import torch\nfrom torch import *",
        "looked = 1 / 0",
        "tokens = 1 / 0  # what a function calls its own is another thing",
        "SIZE = 3\nscale = [0]",
        "scale[0] = 2\nscale.append(5)\nprint(SIZE)\nassert False",
        "def half(tokens):\n    inner = lambda: SIZE\n    return tokens * scale[0] * inner()",
        "def pool_patches(tokens, num_prefix):\n    return [half(each) for each in tokens]\n"
        "_ = check_pool_patches(pool_patches)",
    )
    assert program.lesson == LESSON
    namespace = run(program)
    assert namespace["pool_patches"]([1, 2], 0) == [6, 12]
    assert namespace["scale"] == [2, 5]
    assert not {"looked", "tokens", "_"} & namespace.keys()


def test_checks_magic_and_other_languages_are_left_out():
    program = program_of(
        "%matplotlib inline\n!pip install nothing\ntorch.cat?\nfor _ in range(2):\n    %time 1\nreached = 1",
        "%%time\nreached = reached + 1",
        "%%bash\nrm -rf /",
        "right = check_reached(reached) or lessons.check_reached(reached)",
        lesson=LESSON,
    )
    namespace = run(program, needed=False)
    assert (namespace["reached"], namespace["right"]) == (2, False)
    assert program.unreadable == {}


def test_a_cell_that_is_no_python_leaves_the_others():
    program = program_of(
        "def reached(:\n    pass", "\x00", "pool_patches = 3", "(" * 300 + ")" * 300, lesson=LESSON
    )
    assert {*program.unreadable} == {"cell-0", "cell-1", "cell-3"}
    assert program.unreadable["cell-0"] == "SyntaxError, line 1"
    assert run(program)["pool_patches"] == 3


@pytest.mark.parametrize(
    "lesson", [each.stem for each in sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))]
)
def test_of_a_lesson_the_imports_and_the_answers_run_and_it_is_known_without_its_name(lesson):
    program = read_program(with_stubs(lesson, solutions(lesson)))
    assert program.lesson == lesson
    own = {statement.cell for statement in program.needed() if not statement.always}
    stubs = {f"{each.cell}-stub" for each in program.exercises}
    # Lesson 2's third solution tries itself out, and lesson 3's, too: what they need for it runs with them.
    assert stubs <= own
    assert len(program.needed()) < 40


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"cells": 3}', b"\xff\xfe", b"[" * 10**6, b'{"cells": [1]}']
)
def test_what_is_no_notebook_is_refused(text):
    with pytest.raises(ValueError, match=r"^(it is no notebook|no lesson can be told)"):
        read_program(text)


# What the checks stand on


def test_what_is_replaced_is_put_back_and_named():
    seal = Seal()
    assert seal.mend() == []
    kept = torch.isclose, _verdict.find_fault, dict(encoder.POOL_ZOO)
    torch.isclose = torch.equal
    _verdict.find_fault = None
    encoder.POOL_ZOO.clear()
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    mode = torch.utils._device.DeviceContext("meta")
    mode.__enter__()
    assert {*seal.mend()} >= {
        "torch.isclose",
        "vit_steps.lessons._verdict.find_fault",
        "vit_steps.lessons.encoder.POOL_ZOO",
    }
    assert (torch.isclose, _verdict.find_fault, dict(encoder.POOL_ZOO)) == kept
    assert torch.ones(1).device.type == "cpu"
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
    assert seal.mend() == []


def test_a_kind_of_tensor_of_the_answers_own_is_compared_as_numbers():
    class Agreeing(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function.__name__ in ("isclose", "detach", "to", "to_dense", "__invert__"):
                return args[0]
            return super().__torch_function__(function, types, args, kwargs or {})

    wrong = lambda tokens, num_prefix: torch.zeros(2, 8).as_subclass(Agreeing)  # noqa: E731
    assert lessons.grade(lessons.check_pool_patches, wrong).right is False


# Table and page


def row(student="anna", exercise="2a", right="no", mistake="", line="", **more):
    fields = {
        "lesson": LESSON,
        "points": 3 * (right == "yes"),
        "of": 3,
        "note": "",
        "file": f"{student}.ipynb",
    }
    return Row(
        **{
            "student": student,
            "exercise": exercise,
            "right": right,
            "mistake": mistake,
            "line": line,
            **fields,
            **more,
        }
    )


def test_mistakes_are_counted_and_the_sentence_says_the_most_frequent():
    rows = [row(f"s{n}", mistake="the registers are missing") for n in range(23)]
    rows += [row(f"t{n}", mistake="the patches are missing") for n in range(7)]
    rows += [row(f"u{n}", right="yes") for n in range(25)] + [row(f"v{n}", mistake=NOT_YET) for n in range(4)]
    rows += [row("w", right="", line="not graded: it is no notebook: no JSON")]
    (counted,) = report.count(rows)
    assert (counted.handed_in, counted.right, counted.missing, counted.ungraded) == (60, 25, 4, 1)
    assert [*counted.mistakes] == ["the registers are missing", "the patches are missing"]
    assert report.sentence(counted) == (
        "25 of 60 are right, 4 gave no answer; 2 different mistakes were made. "
        "Most often, 23 of 60 heard: “the registers are missing”."
    )


def test_nothing_in_the_table_is_a_formula_and_nothing_on_the_page_is_markup(tmp_path):
    evil = "=HYPERLINK(1)", "<img src=x onerror=alert(1)>", "@x", "-1"
    report.write_csv(tmp_path / "a.csv", [row(each, mistake=each, line=each, note=each) for each in evil])
    for line in rows_in(tmp_path / "a.csv"):
        assert not line["student"].startswith(("=", "@", "-"))
        assert not line["mistake"].startswith(("=", "@", "-"))
    report.write_page(
        tmp_path / "a.html", [row(each, mistake=each, line=each, note=each) for each in evil], evil[1]
    )
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 4


def test_the_modules_of_the_room_can_be_imported_where_there_is_no_fork_and_no_limit(monkeypatch):
    for name in ("judge", "trial", "jail", "command"):
        source = Path(jail.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        top = [node for node in ast.parse(source).body if isinstance(node, ast.Import)]
        assert not {alias.name for node in top for alias in node.names} & {"resource", "fcntl", "pwd"}
        importlib.import_module(f"vit_steps.lessons.grading.{name}")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_trial_that_is_not_shut_in_answers_for_its_own_memory_alone():
    """It shares its world with the whole machine, as soon as it has a child."""
    code = "import subprocess; subprocess.run(['sleep', '60'])"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        until(lambda: Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text())
        trial = judge.Trial.__new__(judge.Trial)
        trial.pid, trial.process, trial.limits = child.pid, child, Limits(memory=2**28)
        assert not judge._too_much(trial)
        assert len([*judge._below(child.pid)]) > 2
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
