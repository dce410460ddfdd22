"""The parts of `make portable`: numbers found in cells, their distance to an edge, and other arithmetics."""

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

TOOLS = str(Path(__file__).resolve().parents[2] / "tools")


@pytest.fixture(scope="module", autouse=True)
def _tools():
    sys.path.insert(0, TOOLS)
    yield
    sys.path.remove(TOOLS)


@pytest.fixture(scope="module")
def portable():
    return importlib.import_module("portable")


@pytest.fixture(scope="module")
def recorder():
    return importlib.import_module("recorder")


@pytest.fixture(scope="module")
def arithmetics():
    return importlib.import_module("arithmetics")


@pytest.fixture
def ran(recorder):
    """Run a cell and give back its text, and its numbers as (how, value)."""

    def run(source: str, **names):
        found = recorder.run_cell(source, {"torch": torch, **names})
        return "".join(found["text"]), [(each["how"], each["value"]) for each in found["numbers"]]

    return run


# What a cell prints, and which numbers are in it

THIRD = torch.tensor(1 / 3).item()


@pytest.mark.parametrize(
    ("source", "text", "numbers"),
    [
        ("print(f'{2 / 3:.2f}')", "0.67\n", [(".2f", 2 / 3)]),
        ("print(f'{torch.tensor(1 / 3):5.1f}!')", "  0.3!\n", [("5.1f", THIRD)]),
        ("print(f'{2 / 3:.0%} of {1234:,}')", "67% of 1,234\n", [(".0%", 2 / 3)]),
        ("digits = 3\nprint(f'{2 / 3:.{digits}f}')", "0.667\n", [(".3f", 2 / 3)]),
        ("print(f'{0.5}', f'{0.25!r}', 4)", "0.5 0.25 4\n", [("exact", 0.5), ("exact", 0.25)]),
        ("by = 0.5\nprint('moves by', by, end='')", "moves by 0.5", [("exact", 0.5)]),
        ("print([round(0.31, 1), round(0.66, 1)])", "[0.3, 0.7]\n", [("round 1", 0.31), ("round 1", 0.66)]),
        ("print(round(2.4), round(7, 1))", "2 7\n", []),
        ("say = f'{0.25:.1f}' + f'{2:02}'\nprint(f'{say:>6}|')", " 0.202|\n", [(".1f", 0.25)]),
        ("print('above:', bool(torch.tensor(0.75) > 0.5))", "above: True\n", [("limit", 0.25)]),
        ("print(f'{3 < 5}')", "True\n", [("limit", -2.0)]),
        ("print((torch.tensor([1.0, 3.0]) > 2).sum().item())", "1\n", []),
        ("f'{2 / 3:.2f}'", "'0.67'", [(".2f", 2 / 3)]),
        ("title = f'{2 / 3:.2f}'", "", []),
    ],
)  # fmt: skip
def test_a_cell_prints_what_it_prints_and_its_numbers_are_kept_unrounded(ran, source, text, numbers):
    assert ran(source) == (text, numbers)


def test_a_comparison_keeps_its_difference_in_units_of_what_it_allows(ran, capsys):
    from vit_steps import compare

    text, numbers = ran("_ = compare('a', torch.zeros(2), torch.full((2,), 0.5), tol=0.25)", compare=compare)
    assert text == "a: DIFFERENT (max |Δ| = 0.5, allowed 0.25)\n"
    assert numbers == [("within", 2.0), (".2g", 0.5)]
    assert ran("_ = compare('a', torch.zeros(2), torch.zeros(2), tol=0)", compare=compare)[1] == []


def test_functions_that_a_cell_defines_are_recorded_when_another_calls_them(recorder):
    namespace = {}
    recorder.run_cell("def say(share):\n    print(f'{share:.1f}')", namespace)
    assert recorder.run_cell("say(0.51)", namespace)["numbers"] == [{"how": ".1f", "value": 0.51}]


def test_what_a_notebook_stores_is_read_as_what_runs_is_written(recorder):
    cell = {
        "outputs": [
            {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
            {"output_type": "display_data", "data": {"text/plain": ["a map"], "image/png": ""}},
            {"output_type": "display_data", "data": {"text/plain": " 10%|#   | 1/10 [00:00<?]"}},
        ]
    }
    assert recorder.stored_text(cell) == ["a\nb\n", "a map"]
    assert recorder.run_cell("print('a')\nprint('b')\n'a map'", {})["text"] == ["a\nb\n", "'a map'"]


# How far a number is from where it would be written otherwise


@pytest.mark.parametrize(
    ("value", "how", "distance"),
    [
        (0.883512, ".3f", 0.000012),
        (97.4, "3.0f", 0.1),
        (97.5, "3.0f", 0.0),
        (0.724, ".0%", 0.001),
        (0.0712, ".2g", 0.0003),
        (-0.33, ".1f", 0.02),
        (0.314, "round 2", 0.001),
        (0.0, ".1f", 0.05),
        (1e-9, ".1f", 1e-9),  # below zero it would be -0.0
        (-0.25, "limit", 0.25),
        (0.125, "within", 0.875),
        (3.0, "exact", 0.0),
    ],
)
def test_the_edge_is_where_the_text_changes(portable, value, how, distance):
    assert portable.distance_to_edge(value, how) == pytest.approx(distance, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("how", "values", "margin"),
    [
        (".1f", (0.5125, 0.515625), 11.0),  # 0.034375 to the edge at 0.55
        (".1f", (0.54, 0.56), 0.0),
        ("exact", (0.5, 0.5), math.inf),
        ("exact", (0.5, 0.75), 0.0),
        ("within", (0.0625, 0.125), 14.0),
        ("limit", (-1.0, 1.0), 0.0),
    ],
)
def test_a_margin_is_a_distance_in_units_of_the_largest_difference(portable, how, values, margin):
    assert portable.Number("1/cell", how, values).margin == pytest.approx(margin, rel=1e-6)


@pytest.mark.parametrize(
    ("how", "values", "hangs"),
    [
        ("limit", (2.0, 4.0), False),
        ("limit", (1.0, 4.0), True),
        (".1f", (0.5125, 0.515625), False),
        (".1f", (0.5125, 0.53125), True),
        ("within", (0.0, 0.5), True),
    ],
)
def test_ten_differences_are_asked_for_and_one_of_a_claim_about_a_draw(portable, how, values, hangs):
    assert portable.Number("1/cell", how, values).hangs == hangs


def test_a_tie_has_no_margin_where_all_arithmetics_agree(portable):
    assert portable.Number("2/probe", ".0f", (97.5, 97.5)).margin < 1
    assert portable.Number("3/table", ".1f", (93.15, 93.15)).margin < portable.LEAST


@pytest.mark.parametrize(("value", "digit"), [(0.5, 2.0**-24), (0.1, 2.0**-56), (0.0, 2.0**-149)])
def test_a_number_that_a_float32_holds_counts_as_one(portable, value, digit):
    assert portable.last_digit(value) == digit


def test_the_table_begins_with_the_nearest_and_names_both_texts(portable):
    far, near = portable.Number("1/far", ".1f", (0.5, 0.5)), portable.Number("1/near", ".1f", (0.54, 0.56))
    lines = portable.table([far, near]).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1/near", "| 1/far"]
    assert "0.5/0.6 (.1f)" in lines[2]


def test_a_text_that_is_not_the_stored_one_is_named(portable, recorder, monkeypatch):
    cell = {
        "id": "run",
        "metadata": {},
        "outputs": [{"name": "stdout", "output_type": "stream", "text": "2\n"}],
    }
    ignored = {**cell, "id": "timed", "metadata": {"tags": ["nbval-skip"]}}
    monkeypatch.setattr(portable, "lessons", lambda: [Path("1_lesson.ipynb")])
    monkeypatch.setattr(portable, "code_cells", lambda path: [cell, ignored])
    same, other = {"1/run": {"text": ["2\n"]}}, {"1/run": {"text": ["3\n"]}}
    assert portable.other_texts({"own": same}) == []
    (line,) = portable.other_texts({"own": same, "threads": other})
    assert line.startswith("1/run prints another text under threads")


# Other arithmetics


def test_the_emulation_rounds_once_where_float32_rounds_at_each_step(arithmetics):
    left, right = torch.randn(8, 500), torch.randn(500, 8)
    exact = left.double() @ right.double()
    with arithmetics.Emulation():
        emulated, softmax = left @ right, left.softmax(dim=1)
    assert emulated.dtype == softmax.dtype == torch.float32
    assert torch.equal(emulated, exact.float())
    assert torch.equal(softmax, left.double().softmax(dim=1).float())
    assert not torch.equal(left @ right, emulated)


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)  # of all bits: float32 numbers are added without rounding


def test_the_emulation_adds_float64_products_in_another_order(arithmetics):
    left, right = _random(2, 6, 300), _random(2, 300, 6)
    pictures, kernel = _random(1, 300, 4, 4), _random(5, 300, 2, 2)

    def both():
        return (
            left @ right,
            F.linear(left[0], right[0].T, right[0, 0]),
            F.conv2d(pictures, kernel),
            left.mean(dim=2),
        )

    plain = both()
    with arithmetics.Emulation():
        reordered = both()
    for ours, theirs in zip(plain, reordered, strict=True):
        assert not torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_the_emulation_leaves_memory_alone_and_lets_a_gradient_through(arithmetics):
    weight = torch.randn(4, 3, requires_grad=True)
    with arithmetics.Emulation():
        loss = F.gelu(torch.randn(5, 3) @ weight.T).pow(2).sum()
        loss.backward()
        kept = weight.detach().view(12).add_(1)
    assert weight.grad.dtype == torch.float32
    assert kept.data_ptr() == weight.data_ptr()


def test_every_arithmetic_computes_with_one_thread_unless_threads_are_tried(arithmetics, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    threads = {name: arithmetics.environment(name)["OMP_NUM_THREADS"] for name in arithmetics.ENVIRONMENTS}
    assert {threads.pop("2 threads"), threads.pop("4 threads")} == {"2", "4"}
    assert set(threads.values()) == {"1"}
    assert arithmetics.environment("oneDNN off")[arithmetics.VARIABLE] == "oneDNN off"


def test_an_unknown_arithmetic_is_refused(portable, capsys):
    with pytest.raises(SystemExit):
        portable.main(["tests", "abacus"])
    assert "no such arithmetic: abacus" in capsys.readouterr().err
