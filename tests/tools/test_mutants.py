"""The list of mutants that nothing can kill, and how the table is judged; the mutants are tried by hand."""

import ast

import pytest
from mutants import (
    HERE,
    MODULES,
    Outcome,
    Survivor,
    first_line,
    flat,
    hangs_behind_door,
    judge,
    path_of,
    read_equivalent,
    row,
    unhang,
)
from mutants import tests_of as files_of  # by its own name pytest would take it for a test

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
    assert all((HERE.parent / path).exists() for path in files_of(module))


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


def test_what_nothing_can_kill_does_not_count():
    assert [*judge(["vit"], outcomes(2, SAME), {SAME: "one"})] == []
    assert [*judge(["vit"], outcomes(18, DEAD), {SAME: "one"})][-1] == (
        "vit: 18 of 19 mutants killed, 95 % are asked for"
    )
    assert [*judge(["vit"], [], {})] == ["vit: 0 of 0 mutants killed, 95 % are asked for"]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_file_and_tests_to_answer_to(module):
    assert (HERE.parent / path_of(module)).exists()
    assert files_of(module)


STEP = '''
from vit_steps.doors import door


@door("height is a multiple of patch_size",
      "width is, too")  # why
def cut(image, patch_size=2):
    """Cut."""
    return image + patch_size


@door
@other
def stays(): ...


class ViT:
    @door()
    def forward(self, image):
        return image
    def trace(self): ...

    @property
    def door(self): ...


@door
def last():
    return 1'''

HUNG = '''
from vit_steps.doors import door




def cut(image, patch_size=2):
    """Cut."""
    return image + patch_size
cut = door('height is a multiple of patch_size', 'width is, too')(cut)

@door
@other
def stays(): ...


class ViT:

    def forward(self, image):
        return image
    forward = door()(forward)
    def trace(self): ...

    @property
    def door(self): ...



def last():
    return 1
last = door(last)
'''


def test_a_door_is_hung_below_its_function_so_that_mutmut_sees_the_function():
    assert unhang(STEP) == HUNG
    assert unhang(HUNG) == HUNG


@pytest.mark.parametrize(
    "path", sorted((HERE.parent / "vit_steps").rglob("*.py")), ids=lambda path: path.stem
)
def test_with_its_doors_below_a_module_is_the_same_module(path):
    """The same statements in the same order, and each function at its own line."""
    before = path.read_text(encoding="utf-8")
    after = unhang(before)
    lines = {node.name: node.lineno for node in ast.parse(after).body if isinstance(node, ast.FunctionDef)}
    for node in ast.parse(before).body:
        if isinstance(node, ast.FunctionDef):
            assert lines[node.name] == node.lineno
    assert not [node for node in ast.walk(ast.parse(after)) if hangs_behind_door(node)]


def test_the_table_counts_each_module_and_all():
    both = [*outcomes(3, SAME), Outcome("encoder", "timeout")]
    assert row("vit", both).split() == ["vit", "4", "3", "0", "1", "75.00"]
    assert row("encoder", both).split() == ["encoder", "1", "1", "1", "0", "100.00"]
    assert row("all", both).split() == ["all", "5", "4", "1", "1", "80.00"]
