"""The checks of the exercises: the right answer passes, and a wrong one hears which mistake it is."""

import functools
import re
import sys
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from my_vits import Mine
from right_answers import (
    EVERY_CHECK,
    RIGHT,
    ROW_ENDS,
    check_sincos_1d,
    is_attention,
    is_mean,
    is_self_attention,
    most_alike_in_a_loop,
    overlap,
    pool_in_a_loop,
    put_back,
    reached_by_trying,
    rows_in_a_loop,
    sincos_in_a_loop,
)
from torch import nn
from wrong_answers import WRONG

import vit_steps
from vit_steps import (
    classify,
    image2emb_conv,
    image2emb_naive,
    image2patches,
    lessons,
    pool_mean,
    self_attention,
    weight2kernel,
)
from vit_steps.lessons import (
    classification,
    cls_token,
    encoder,
    my_vit,
    patch_embedding,
    position_embedding,
)
from vit_steps.lessons._verdict import TOLERANCE, own_random_numbers, random_tensor, watched


@pytest.fixture
def say(capsys):
    """Run a check, and hand back its verdict and the one line that it printed."""

    def run(check, *answers):
        verdict = check(*answers)
        printed = capsys.readouterr()
        assert isinstance(verdict, bool)
        assert not printed.err
        assert printed.out.count("\n") == 1
        assert printed.out.endswith("\n")
        assert printed.out.startswith("right: ") == verdict
        return verdict, printed.out.strip()

    return run


def answers_of(check, answer):
    return (lessons.check_sincos_1d, answer, ROW_ENDS) if check is check_sincos_1d else (check, answer)


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_the_right_answer_passes(say, check, answer):
    verdict, line = say(check, answer)
    assert verdict, line


def test_every_check_is_tested_and_can_be_imported_from_the_room():
    modules = (patch_embedding, cls_token, position_embedding, encoder, classification, my_vit)
    public = {name for module in modules for name in vars(module) if name.startswith("check_")}
    assert {check.__name__ for check in EVERY_CHECK} == public
    assert {name for name in lessons.__all__ if name.startswith("check_")} == public


@pytest.mark.parametrize(("check", "answer", "words"), WRONG)
def test_a_wrong_answer_hears_which_mistake_it_is(check, answer, words):
    found = lessons.grade(*answers_of(check, answer))
    assert not found.right
    assert found.message.startswith("wrong: ")
    assert words in found.message
    assert found.mistake
    assert "at [" not in found.mistake  # numbers of this one answer
    assert not found.mistake.startswith("wrong")


def test_every_check_names_two_mistakes_at_least():
    named = [check for check, _, _ in WRONG]
    assert all(named.count(check) >= 2 for check in EVERY_CHECK)


# What a reader is to write, and what would be the package's or torch's own function under another name.
YOURSELF = [
    (lessons.check_patches2image, vit_steps.patches2image, ()),
    (lessons.check_patches2image, F.fold, ()),
    (
        lessons.check_registers,
        lambda patches, cls_token, registers: vit_steps.prepend_cls(
            vit_steps.prepend_registers(patches, registers), cls_token
        ),
        (),
    ),
    (
        lessons.check_pool_patches,
        lambda tokens, num_prefix: vit_steps.pool_mean(tokens, num_prefix=num_prefix),
        (),
    ),
    (
        lessons.check_smoothed_loss,
        lambda logits, label, smoothing: F.cross_entropy(logits, label, label_smoothing=smoothing),
        (),
    ),
    (
        lessons.check_classify_by_mean,
        lambda tokens, norm, head: classify(tokens, norm, head, pool=pool_mean),
        (),
    ),
]


@pytest.mark.parametrize(("check", "function", "more"), YOURSELF)
def test_a_ready_made_function_under_another_name_is_no_answer(say, check, function, more):
    def my_own(*arguments):
        return function(*arguments)

    for answer in (function, my_own, functools.partial(function), getattr(function, "__wrapped__", function)):
        assert say(check, answer, *more)[1].startswith("wrong: your function")


def like_pool_mean(pool):
    tokens = torch.randn(2, 5, 8)
    return torch.allclose(pool(tokens), vit_steps.pool_mean(tokens))


def like_attention_weights(weights_of):
    query, key = torch.randn(2, 2, 3, 5, 4)
    return torch.allclose(weights_of(query, key), vit_steps.attention_weights(query, key), atol=1e-5)


def like(another):
    def is_the_same(attention):
        tokens, qkv, proj = torch.randn(2, 5, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        return torch.allclose(attention(tokens, qkv, proj, 4)[0], another(tokens, qkv, proj), atol=1e-5)

    return is_the_same


def by_torch(tokens, qkv, proj):
    theirs = nn.MultiheadAttention(8, 4, batch_first=True)
    theirs.in_proj_weight, theirs.in_proj_bias, theirs.out_proj = qkv.weight, qkv.bias, proj
    return theirs(tokens, tokens, tokens)[0]


@pytest.mark.parametrize(
    ("check", "answer", "name"),
    [
        (lessons.check_pool_zoo, like_pool_mean, "pool_mean"),
        (lessons.check_weights_zoo, like_attention_weights, "attention_weights"),
        (
            lessons.check_attention_zoo,
            like(lambda *all: self_attention(*all, 4)[0]),
            "self_attention",
        ),
        (lessons.check_attention_zoo, like(by_torch), "forward"),
    ],
)
def test_a_test_that_holds_the_zoo_against_the_ready_made_one_hears_it(say, check, answer, name):
    """What the members of the zoo call themselves is not held against the answer: see RIGHT."""
    assert say(check, answer) == (False, f"wrong: your function calls {name}: write it yourself")


def test_patches_are_not_counted_by_cutting_them(say):
    def cut(image_size, patch_size, stride):
        kernel = torch.ones(1, 1, patch_size, patch_size)
        tokens = image2emb_conv(torch.ones(1, 1, *image_size), kernel, stride)
        return tokens.shape[1], range(stride, patch_size)

    wanted = "wrong: your function calls image2emb_conv: write it yourself"
    assert say(lessons.check_overlap, cut) == (False, wanted)


def test_what_is_called_is_seen_by_whatever_name_and_the_profiler_stays():
    query, hook = torch.rand(1, 1, 3, 4), lambda *_: None
    attend, loss = F.scaled_dot_product_attention, nn.CrossEntropyLoss()
    sys.setprofile(hook)
    try:
        with watched([attend, F.cross_entropy, F.fold]) as called:
            attend(query, query, query)
            loss(torch.rand(2, 3), torch.tensor([0, 1]))
        assert sys.getprofile() is hook
    finally:
        sys.setprofile(None)
    assert called == ["scaled_dot_product_attention", "cross_entropy"]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(7, 8), *ROW_ENDS], "not the pair (7, 8): on the grid they are neighbours, side by side"),
        ([(0, 7)], "not the pair (0, 7): they are neighbours on the grid, one above the other"),
        ([(0, 48)], "not the pair (0, 48): on the line they are not neighbours"),
        ([*ROW_ENDS, (48, 49)], "not the pair (48, 49): the places go from 0 to 48"),
        (ROW_ENDS[:-1], "the pair (41, 42) is missing"),
        ([], "the pair (6, 7) is missing"),
        (6, "the pairs are no list such as [(0, 1), (1, 2)]"),
        ([1, 2], "the pairs are no list such as [(0, 1), (1, 2)]"),
        ("ab", "the pairs are no list such as [(0, 1), (1, 2)]"),
        (None, "not yet: your table is right, but the pairs are None"),
        ((1 / 0 for _ in range(2)), "the pairs are no list such as [(0, 1), (1, 2)]"),
    ],
)
def test_wrong_pairs_are_named(say, pairs, words):
    verdict, line = say(check_sincos_1d, sincos_in_a_loop, pairs)
    assert not verdict
    assert words in line


def test_pairs_may_be_turned_around_and_in_a_tensor(say):
    assert say(check_sincos_1d, sincos_in_a_loop, torch.tensor(ROW_ENDS).flip(1))[0]


# Answers that are no answers


def nothing(*_):
    pass


def dots(*_):
    return ...


def takes_nothing():
    pass


def broken(*_):
    raise RuntimeError("a message\nof two lines, " + 100 * "long ")


@pytest.mark.parametrize("check", EVERY_CHECK)
def test_a_stub_is_not_yet_an_answer(say, check):
    assert say(check, nothing) == (False, "not yet: your function returns None")
    assert say(check, dots) == (False, "not yet: your function returns Ellipsis")
    assert say(check, None) == (False, "not yet: there is no function, only None")


@pytest.mark.parametrize("check", EVERY_CHECK)
def test_an_answer_that_raises_is_quoted_in_one_short_line(say, check):
    verdict, line = say(check, broken)
    assert not verdict
    assert line.startswith("wrong: your function raises RuntimeError: a message of two lines, long long")
    assert len(line) < 240


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("check", EVERY_CHECK)
@pytest.mark.parametrize(
    "given",
    [
        "text",
        object(),
        {},
        [[1], [1, 2]],
        torch.zeros(3, 0),
        torch.full((), torch.nan),
        torch.ones(2, device="meta"),
        torch.ones(2).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        nothing,
    ],
    ids=lambda given: type(given).__name__,
)
def test_nonsense_is_refused_and_nothing_is_raised(say, check, given):
    assert not say(check, lambda *_: given)[0]
    if not callable(given):
        verdict, line = say(check, given)
        assert not verdict
        assert "give the function itself, without calling it" in line


def test_what_is_not_recognised_is_shown_with_its_first_difference(say):
    def all_but_one(patches, patch_size, image_size):
        image = put_back(patches, patch_size, image_size)
        image[1, 2:, 3, 5] = 7.0
        return image

    _, line = say(lessons.check_patches2image, all_but_one)
    assert re.search(
        r"for 2 images of 3 × 8 × 8, patch_size 4 your shape \(2, 3, 8, 8\) is right; "
        r"the first difference, at \[1, 2, 3, 5\]: 7, wanted -?[\d.]+$",
        line,
    )
    _, line = say(lessons.check_patches2image, lambda *_: torch.zeros(4))
    assert line.endswith("your shape is (4,), wanted (2, 3, 8, 8)")
    _, line = say(lessons.check_most_alike, lambda table, place: 8)
    assert re.search(r"for row 1 of a random table you say 8, wanted \d+$", line)


def test_a_function_of_the_wrong_number_of_arguments_is_quoted(say):
    for check in EVERY_CHECK:
        assert "() takes 0 positional arguments but" in say(check, takes_nothing)[1]


# What the checks say about themselves


TABLES = [
    (lessons.check_patches2image, patch_embedding.PATCHES2IMAGE_MISTAKES),
    (lessons.check_weight_rows, patch_embedding.WEIGHT_ROWS_MISTAKES),
    (lessons.check_registers, cls_token.REGISTERS_MISTAKES),
    (lessons.check_pool_patches, cls_token.POOL_PATCHES_MISTAKES),
    (lessons.check_reached, cls_token.REACHED_MISTAKES),
    (check_sincos_1d, position_embedding.SINCOS_1D_MISTAKES),
    (lessons.check_most_alike, position_embedding.MOST_ALIKE_MISTAKES),
    (lessons.check_swap_positions, position_embedding.SWAP_POSITIONS_MISTAKES),
    (lessons.check_smoothed_loss, classification.SMOOTHED_LOSS_MISTAKES),
    (lessons.check_classify_by_mean, classification.CLASSIFY_BY_MEAN_MISTAKES),
]


@pytest.mark.parametrize(("check", "mistakes"), TABLES)
def test_no_two_mistakes_look_the_same(say, check, mistakes):
    for words, mistake in mistakes.items():
        assert say(check, mistake) == (False, f"wrong: {words}")


def test_no_two_mistakes_about_overlap_look_the_same(say):
    for words, count in patch_embedding.OVERLAP_COUNT_MISTAKES.items():
        wrong = lambda *sizes: (count(*sizes), overlap(*sizes)[1])  # noqa: E731
        assert say(lessons.check_overlap, wrong) == (False, f"wrong: {words}")
    for words, shared in patch_embedding.OVERLAP_SHARED_MISTAKES.items():
        wrong = lambda *sizes: (overlap(*sizes)[0], shared(*sizes))  # noqa: E731
        assert say(lessons.check_overlap, wrong) == (False, f"wrong: {words}")


@pytest.mark.parametrize(
    ("check", "answer", "zoo"),
    [
        (lessons.check_pool_zoo, is_mean, encoder.POOL_ZOO),
        (lessons.check_weights_zoo, is_attention, encoder.WEIGHTS_ZOO),
        (lessons.check_attention_zoo, is_self_attention, encoder.ATTENTION_ZOO),
    ],
)
def test_each_bug_of_the_zoo_can_slip_through_alone(say, check, answer, zoo, monkeypatch):
    for words in zoo:
        asked = []

        def blind(implementation, asked=asked, words=words):
            asked.append(implementation)
            return answer(implementation) or len(asked) == 3 + list(zoo).index(words)

        assert say(check, blind) == (False, f"wrong: this slipped through your test: {words}")


@pytest.mark.parametrize("verdict", ["False", (False, True), [False], {}])
def test_what_is_not_one_verdict_is_none(say, verdict):
    words = f"wrong: your function returns {type(verdict).__name__}, wanted True or False (pool_mean)"
    assert say(lessons.check_pool_zoo, lambda pool: verdict) == (False, words)


@pytest.mark.parametrize("left_out", ["shuffle", "another image", "one patch"])
def test_each_of_the_three_experiments_is_needed(say, left_out):
    def test_of(attention):
        torch.manual_seed(0)
        tokens, qkv, proj, order = (
            torch.randn(2, 5, 8),
            nn.Linear(8, 24),
            nn.Linear(8, 8),
            [3, 0, 4, 1, 2],
        )
        image, patch = tokens.clone(), tokens.clone()
        image[1] += torch.randn(5, 8)
        patch[0, 3] += torch.randn(8)
        given = (tokens, tokens[:, order], image, patch)
        before, mixed, other, moved = (attention(each, qkv, proj, 4)[0] for each in given)
        passes = {
            "shuffle": torch.allclose(mixed, before[:, order], atol=1e-5),
            "another image": torch.allclose(other[0], before[0], atol=1e-5),
            "one patch": not torch.allclose(moved[0, 0], before[0, 0], atol=1e-5),
        }
        return all(passed for name, passed in passes.items() if name != left_out)

    assert "slipped through" in say(lessons.check_attention_zoo, test_of)[1]


def test_the_bugs_of_the_zoo_run_and_keep_the_shapes():
    query, tokens, qkv, proj = (
        torch.randn(2, 3, 5, 4),
        torch.randn(2, 5, 8),
        nn.Linear(8, 24),
        nn.Linear(8, 8),
    )
    for pool in encoder.POOL_ZOO.values():
        assert pool(tokens).shape == (2, 8)
    for weights_of in encoder.WEIGHTS_ZOO.values():
        assert weights_of(query, query).shape == (2, 3, 5, 5)
    for attention in encoder.ATTENTION_ZOO.values():
        assert attention(tokens, qkv, proj, 4)[0].shape == (2, 5, 8)


def test_the_rows_of_weight_give_the_tokens_of_image2emb_naive():
    image, weight = torch.randn(2, 3, 8, 12), torch.randn(48, 6)
    theirs = image2patches(image, 4).unflatten(2, (3, 4, 4)).permute(0, 1, 3, 4, 2).flatten(2)
    tokens = theirs @ weight[rows_in_a_loop(3, 4)]
    torch.testing.assert_close(tokens, image2emb_naive(image, 4, weight))
    torch.testing.assert_close(tokens, image2emb_conv(image, weight2kernel(weight, 3, 4), 4))


def test_a_right_answer_may_come_as_numbers_of_any_kind(say):
    assert say(lessons.check_pool_patches, lambda *given: pool_in_a_loop(*given).to_sparse())[0]
    assert say(lessons.check_pool_patches, lambda *given: pool_in_a_loop(*given).tolist())[0]
    assert say(lessons.check_pool_patches, lambda *given: pool_in_a_loop(*given).requires_grad_())[0]
    assert say(lessons.check_pool_patches, lambda *given: pool_in_a_loop(*given).numpy())[0]
    assert say(lessons.check_most_alike, lambda *given: float(most_alike_in_a_loop(*given)))[0]


def test_an_answer_by_chance_is_the_same_each_time(say):
    first = say(lessons.check_pool_patches, lambda tokens, prefix: torch.rand(2, 8))
    torch.rand(3)
    assert say(lessons.check_pool_patches, lambda tokens, prefix: torch.rand(2, 8)) == first


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_a_check_leaves_the_random_numbers_and_says_the_same_each_time(say, check, answer):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = say(check, answer)
    assert torch.equal(torch.rand(3), expected)
    torch.rand(7)
    with torch.no_grad():
        assert say(check, answer if check is not lessons.check_reached else reached_by_trying) == first


def test_no_two_mistakes_of_a_vit_look_the_same():
    with own_random_numbers():
        reference = my_vit._all_random(vit_steps.ViT(**my_vit.ODD))
    image = random_tensor(2, 3, 6, 8)
    with torch.no_grad():
        answers = [reference(image)]
        answers += [my_vit._mistaken(reference, change)(image) for change in my_vit.MY_VIT_MISTAKES.values()]
    for one, other in combinations(answers, 2):
        assert one.shape != other.shape or (one - other).abs().max() > 10 * TOLERANCE


def test_a_whole_vit_hears_how_many_digits_it_reads(say):
    verdict, line = say(lessons.check_my_vit, Mine)
    assert verdict
    right = int(re.search(r"reads (\d+) of 360 test digits \(9[89]\.\d%\)", line)[1])
    assert line.endswith(f"the package's {right}")


def test_a_class_without_an_answer_is_not_yet_one(say):
    class Empty(nn.Module):
        def __init__(self, *sizes):
            super().__init__()

        def forward(self, image):
            return None

    class Named(Mine):
        def forward(self, image):
            return None

    assert say(lessons.check_my_vit, Empty)[1] == "not yet: your ViT has no parameters"
    assert say(lessons.check_my_vit, Named)[1] == "not yet: your function returns None"
    assert (
        "give the class itself, without calling it"
        in say(lessons.check_my_vit, Mine(*my_vit.ODD.values()))[1]
    )
