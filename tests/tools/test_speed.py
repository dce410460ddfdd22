"""The benchmark's own arithmetic, on times that are made up; nothing here is timed."""

import csv
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks import speed


def test_ratios_are_to_ours_and_the_goal_is_held_against_the_fastest_other():
    rows = list(speed.compared("part", "case", {"vit_steps": 10.0, "slow": 30.0, "fast": 11.0}, "1.05"))
    assert [(row.who, row.figure, row.ratio) for row in rows] == [
        ("vit_steps", 10.0, 1.0),
        ("slow", 30.0, 3.0),
        ("fast", 11.0, 1.1),
        ("fastest other", 11.0, 1.1),
    ]
    assert rows[-1].goal == "1.05: met"
    *_, last = speed.compared("part", "case", {"vit_steps": 10.0, "fast": 10.4}, "1.05")
    assert last.goal == "1.05: missed"


def test_all_run_equally_often_in_turns():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "abc"}
    medians = speed.in_turns(runs, speed.Budget(0.0, 3, 5))
    assert list(medians) == ["a", "b", "c"]
    assert calls == list("abc" + "abc" + "bca" + "cab")


def test_the_multiplications_are_those_of_the_model():
    """Counted by torch on the model itself, which does not see into fused attention."""
    from torch.utils.flop_counter import FlopCounterMode

    model = speed.ViT(**speed.SIZES["Ti/16"]._replace(image_size=(64, 64), depth=3)._asdict()).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 3, 64, 64))
    attention = 2 * (2 * 17**2 * 192) + 2 * 17 * 192
    assert counter.get_total_flops() / 2 + attention == speed.cost_of(4, depth=3)


def test_slopes_are_powers():
    assert speed.slope_of((4, 17.0**2), (8, 65.0**2)) == pytest.approx(2)


def test_the_first_time_and_what_is_never_reached():
    curve = [(1.0, 0.96), (2.0, 0.975), (3.0, 0.97)]
    assert speed.first_time(curve, 0.97) == 2.0
    assert speed.first_time(curve, 0.99) == math.inf
    assert speed.digits_row("case", "who", [2.0, 6.0, 4.0], 2.0).ratio == 2.0
    assert "not reached" in speed.digits_row("case", "who", [math.inf, math.inf, 4.0], 2.0).goal


def test_a_training_step_moves_every_parameter():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    before = [parameter.clone() for parameter in model.parameters()]
    speed.training_step_of(model, torch.rand(2, 3, 2, 2))()
    assert model.training
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_table_is_written_whole_and_keeps_what_other_parts_found(tmp_path):
    def written():
        return [(line["part"], line["figure"], line["ratio"]) for line in csv.DictReader(path.open())]

    path = tmp_path / "speed.csv"
    speed.write([speed.Row("trace", "case", "who", 1.23456, "ms", None, "goal")], path)
    assert written() == [("trace", "1.235", "")]
    speed.write([speed.Row("models", "case", "who", 2.0, "ms", 0.5)], path)
    speed.write([speed.Row("trace", "case", "who", 3.0, "ms", 1.0)], path)
    assert written() == [("models", "2", "0.5"), ("trace", "3", "1")]
    assert [each.name for each in tmp_path.iterdir()] == ["speed.csv"]


def test_the_readme_quotes_the_table():
    table = {(line["case"], line["who"]): line for line in csv.DictReader(speed.TABLE.open())}
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    _, _, rest = readme.partition("| forward and training step | ours, ms | ")
    names, _, *lines = rest.partition("\n\n")[0].splitlines()
    assert len(lines) == len(speed.CASES) * 2
    for line in lines:
        case, ours, *ratios = (cell.strip() for cell in line.strip("|").split("|"))
        assert float(ours) == pytest.approx(float(table[case, "vit_steps"]["figure"]), rel=5.01e-3)
        for name, ratio in zip(names.strip(" |").split(" | "), ratios, strict=True):
            assert (ratio == "–") == ((case, name) not in table)
            if ratio != "–":
                assert float(ratio) == pytest.approx(float(table[case, name]["ratio"]), abs=5.01e-3)
