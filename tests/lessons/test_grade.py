"""``grade``: what a check finds as a value, in silence, and named alike for all who make the same mistake."""

import pytest
import torch
from right_answers import EVERY_CHECK, check_sincos_1d, put_back

import vit_steps
from vit_steps import lessons


def test_a_right_answer_is_graded_in_silence(capsys):
    found = lessons.grade(lessons.check_patches2image, put_back)
    assert (found.right, found.mistake) == (True, None)
    assert found.message.startswith("right: ")
    assert capsys.readouterr().out == ""


def test_mistakes_that_differ_in_numbers_alone_have_one_name():
    shifted = [lambda table, place, by=by: by * torch.ones(2, 2) for by in (1, 2)]
    first, second = (lessons.grade(lessons.check_most_alike, answer) for answer in shifted)
    assert first.mistake == second.mistake == "your shape is another one"
    raising = [lambda *_, error=error: int(error) for error in ("a", "b")]
    first, second = (lessons.grade(lessons.check_most_alike, answer) for answer in raising)
    assert first.message != second.message
    assert first.mistake == second.mistake == "your function raises ValueError"


@pytest.mark.parametrize("check", [check for check in EVERY_CHECK if check is not check_sincos_1d])
def test_what_a_reader_prints_is_not_heard_and_a_stub_is_no_answer_yet(check, capsys):
    def loud(*_):
        print("here I am")

    assert lessons.grade(check, loud).mistake == "no answer yet"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("nonsense", [sum, lambda answer: True, vit_steps.compare])
def test_only_a_check_grades(nonsense):
    with pytest.raises(TypeError, match="check must be one of the check_ functions"):
        lessons.grade(nonsense, put_back)
