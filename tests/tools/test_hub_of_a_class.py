"""The hub's page shows the file that is run; what measures it is held against numbers that we know."""

import asyncio
import csv
import importlib
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))

import hub  # noqa: E402
import hub_client  # noqa: E402
import hub_memory  # noqa: E402

RAN = hub_client.Ran


def run(coroutine):
    """Run it in a thread of its own: a browser test may have left a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@pytest.fixture
def pages():
    return importlib.import_module("hub_page"), importlib.import_module("export").environment()


def test_the_page_shows_the_configuration_that_is_run(pages):
    page, env = pages
    html = page.page(env, [], ROOT / "nowhere.csv")
    assert page.RECIPE == hub_client.RECIPE
    bare = html.replace("</span>", "")
    assert 'href="assets/jupyterhub_config.py"' in html
    assert "SimpleLocalProcessSpawner" in bare
    assert "It has not been measured yet" in html


def test_what_was_measured_is_a_table_on_the_page(pages, tmp_path):
    page, env = pages
    with open(tmp_path / "hub.csv", "w", newline="") as file:
        table = csv.DictWriter(file, hub.COLUMNS)
        table.writeheader()
        table.writerow({**dict.fromkeys(hub.COLUMNS, "?"), "users": 30, "pss_gb": 9.75})
    html = page.page(env, [], tmp_path / "hub.csv")
    assert "<tr><td>30</td>" in html
    assert "<td>9.75</td></tr>" in html
    assert "not been measured" not in html


def configured(monkeypatch, tmp_path):
    """The recipe as a hub reads it, with traitlets' own configuration."""
    from traitlets.config import Config

    monkeypatch.setenv("VIT_HOMES", str(tmp_path))
    names = {"get_config": lambda config=Config(): config}
    exec(compile(hub_client.RECIPE.read_text(), "jupyterhub_config.py", "exec"), names)
    return names


def test_the_recipe_limits_threads_and_gives_everybody_a_home(monkeypatch, tmp_path):
    c = configured(monkeypatch, tmp_path)["c"]
    assert c.Spawner.environment["OMP_NUM_THREADS"] == "1"
    assert c.SimpleLocalProcessSpawner.home_dir_template == str(tmp_path / "{username}")
    assert any("cull_idle_timeout" in each for each in c.Spawner.args)


def test_the_recipe_lays_the_lessons_before_a_server_starts(monkeypatch, tmp_path):
    names = configured(monkeypatch, tmp_path)
    (tmp_path / "ann").mkdir()
    monkeypatch.setitem(names, "PYTHON", Path(sys.executable).parent)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run(names["lay_lessons"](SimpleNamespace(user=SimpleNamespace(name="ann"))))
    assert (tmp_path / "ann" / "vit" / "1_patch_embedding.ipynb").exists()
    (tmp_path / "bob").touch()
    with pytest.raises(RuntimeError, match="could not be laid into"):
        run(names["lay_lessons"](SimpleNamespace(user=SimpleNamespace(name="bob"))))


# ---- what measures it ----


def test_a_lesson_is_run_up_to_its_last_cell_without_what_needs_weights():
    cells = hub_client.code_cells(ROOT / "notebooks" / "5_classification.ipynb", hub.LAST)
    assert [cells[0][0], cells[-1][0]] == ["imports", "train-fit"]
    assert "fit(model, train, valid" in cells[-1][1]
    whole = hub_client.code_cells(ROOT / "notebooks" / "1_patch_embedding.ipynb", None)
    assert len(whole) > 20


def test_what_two_processes_share_counts_once(tmp_path):
    for pid, pss in ((1, 600), (2, 400)):
        (tmp_path / str(pid)).mkdir()
        lines = f"Rss:  9999 kB\nPss:  {pss} kB\nPss_Anon:  9 kB\nSwap: 7 kB\nSwapPss:  {pid} kB\n"
        (tmp_path / str(pid) / "smaps_rollup").write_text(lines)
    assert sum(hub_memory.pss(pid, tmp_path) for pid in (1, 2)) == 1024 * (600 + 1 + 400 + 2)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["python", "-m", "ipykernel_launcher", "-f", "x.json"], "kernels"),
        (["python", "/srv/vit/bin/jupyterhub-singleuser"], "servers"),
        (["node", "configurable-http-proxy"], "hub"),
        (["python", "/srv/vit/bin/jupyterhub", "-f", "config.py"], "hub"),
    ],
)
def test_a_process_is_known_by_its_command_line(command, part):
    assert hub_memory.part_of(command) == part


def test_the_most_is_kept_with_its_parts_of_that_moment():
    memory = hub_memory.Memory()
    memory.take(Counter(hub=1, servers=2, kernels=5), 2)
    memory.take(Counter(hub=2, servers=3, kernels=1), 3)
    assert (memory.total, memory.kernels) == (8, 3)
    assert memory.parts == {"hub": 1, "servers": 2, "kernels": 5}


def test_a_row_has_medians_the_worst_and_the_name_of_the_slowest_cell():
    def student(server, train):
        cells = [RAN(hub.LESSON, "a", 2.0, False), RAN(hub.LESSON, "b", 3.0, True)]
        return hub.Student(
            server,
            [*cells, RAN(hub.TRAINING, "imports", 1.0, False), RAN(hub.TRAINING, hub.LAST, train, False)],
        )

    memory = hub_memory.Memory(total=3 * 10**9, kernels=2)
    row = hub.as_row(3, 300, 99.96, [student(1, 4), student(2, 9), student(6, 5)], memory)
    assert row.keys() == {*hub.COLUMNS}
    wanted = dict(wall_s=100.0, server_start_s=2, lesson_1_s=5, training_s=5, training_worst_s=9, failed=3)
    assert {name: row[name] for name in wanted} == wanted
    assert (row["slowest_cell"], row["slowest_cell_s"], row["pss_gb"]) == (
        "5_classification, train-fit",
        9,
        3,
    )


def test_students_come_within_the_time_that_is_given(monkeypatch):
    asked = []

    async def note(hub, number, delay):
        asked.append((number, delay))

    monkeypatch.setattr(hub, "one_student", note)
    run(hub.one_class(None, 4, 300))
    assert asked == [(1, 0), (2, 100), (3, 200), (4, 300)]
    asked.clear()
    run(hub.one_class(None, 1, 300))
    assert asked == [(1, 0)]


class Kernel:
    """A websocket that answers in its own order, with messages of others between."""

    def __init__(self, *answers):
        self.answers = answers

    async def write_message(self, text):
        asked = json.loads(text)["header"]["msg_id"]
        self.said = iter(
            None
            if each is None
            else json.dumps({"parent_header": {"msg_id": of or asked}, "msg_type": kind, "content": content})
            for each in self.answers
            for of, kind, content in [each or (None, None, None)]
        )

    async def read_message(self):
        return next(self.said)


BUSY, IDLE = (None, "status", {"execution_state": "busy"}), (None, "status", {"execution_state": "idle"})
REPLY, ERROR = (None, "execute_reply", {}), (None, "error", {})


@pytest.mark.parametrize(
    ("answers", "failed"),
    [
        ([BUSY, REPLY, IDLE], False),
        ([BUSY, IDLE, REPLY], False),
        (
            [
                ("other", "execute_reply", {}),
                ("other", "status", {"execution_state": "idle"}),
                BUSY,
                IDLE,
                REPLY,
            ],
            False,
        ),
        ([BUSY, ERROR, REPLY, IDLE], True),
    ],
)
def test_a_cell_ends_when_the_kernel_answered_and_is_idle(answers, failed):
    kernel = Kernel(*answers)
    ran = run(hub_client.run_cell(kernel, "lesson", "cell", "1"))
    assert ran._replace(seconds=0) == RAN("lesson", "cell", 0, failed)
    assert list(kernel.said) == []  # it waited for both, in whichever order they came


def test_a_kernel_that_is_gone_is_said():
    with pytest.raises(RuntimeError, match="lesson, cell: the kernel is gone"):
        run(hub_client.run_cell(Kernel(BUSY, None), "lesson", "cell", "1"))
