"""The list of mutants that nothing can kill, and how the table is judged; the mutants are tried by hand."""

import ast

import pytest
from mutants import (
    HERE,
    MODULES,
    Outcome,
    Survivor,
    file_of_tests,
    first_line,
    flat,
    judge,
    path_of,
    read_equivalent,
    row,
)

LISTED = read_equivalent()


@pytest.mark.parametrize("survivor", LISTED, ids=lambda survivor: f"{survivor.module}: {survivor.mutant}")
def test_every_listed_mutant_is_of_a_line_that_is_there_and_has_a_reason(survivor):
    assert survivor.module in MODULES
    path = HERE.parent / path_of(survivor.module)
    owner, _, function = survivor.function.rpartition(".")
    line = first_line(str(path), owner or None, function)
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    last = next(node.end_lineno for node in nodes if getattr(node, "lineno", 0) == line)
    lines = path.read_text(encoding="utf-8").splitlines()[line - 1 : last]
    assert survivor.original in flat(lines)
    assert survivor.original != survivor.mutant
    assert len(LISTED[survivor]) > 20


@pytest.mark.parametrize("module", MODULES)
def test_every_module_and_its_tests_are_found(module):
    assert (HERE.parent / path_of(module)).exists()
    assert (HERE.parent / file_of_tests(module)).exists()


DEAD = Survivor("vit", "ViT.forward", "a + b", "a - b")
SAME = Survivor("vit", "ViT.trace", "a * 1", "a / 1")


def outcomes(killed, *survivors):
    return [
        *[Outcome("vit", "killed")] * killed,
        *(Outcome("vit", "survived", 7, survivor) for survivor in survivors),
    ]


def test_a_survivor_must_be_listed_and_what_is_listed_must_survive():
    assert [*judge(["vit"], outcomes(99, SAME), {SAME: "one"})] == []
    assert [*judge(["vit"], outcomes(99, DEAD), {})] == ["vit_steps/vit.py:7: survived: a + b  ->  a - b"]
    assert [*judge(["vit"], outcomes(99), {SAME: "one"})] == [
        "equivalent_mutants.csv lists a mutant that does not survive: vit, ViT.trace, a * 1, a / 1"
    ]
    assert [*judge(["encoder", "vit"], [Outcome("encoder", "killed"), *outcomes(1)], {})] == []


def test_what_is_listed_still_counts_as_alive():
    assert [*judge(["vit"], outcomes(19, SAME), {SAME: "one"})] == []
    assert [*judge(["vit"], outcomes(18, SAME), {SAME: "one"})] == [
        "vit: 18 of 19 mutants killed, 95 % are asked for"
    ]
    assert [*judge(["vit"], [], {})] == ["vit: 0 of 0 mutants killed, 95 % are asked for"]


def test_the_table_counts_each_module_and_all():
    both = [*outcomes(3, SAME), Outcome("encoder", "timeout")]
    assert row("vit", both).split() == ["vit", "4", "3", "0", "1", "75.00"]
    assert row("encoder", both).split() == ["encoder", "1", "1", "1", "0", "100.00"]
    assert row("all", both).split() == ["all", "5", "4", "1", "1", "80.00"]
