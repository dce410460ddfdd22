"""The page at_work.html: its numbers against Python, its words, and what each hand, key and question does."""

import re
from decimal import ROUND_HALF_UP, Decimal
from functools import cache

import lab_driver
import pytest
import torch

from vit_steps import self_attention
from vit_steps.data import load_digits_images
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.training import digits_model, load_checkpoint

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

from at_work_hands import fetch, kinds_at, logits, opened, pin, reset, sentence

TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def one_page(browser, address):
    with opened(browser, address, reduced_motion="reduce") as page:
        yield page


@pytest.fixture
def at_work(one_page):
    """The page as it opens: what an earlier test chose is undone."""
    reset(one_page)
    return one_page


@cache
def model():
    return load_checkpoint().double().requires_grad_(False)


def image_of(page):
    return torch.tensor(page.evaluate("at_work.state.image"), dtype=torch.float64)[None, None]


def encode(tokens, after=lambda tokens, block: tokens):
    """The blocks one by one, and the logits; ``after`` may change what a block gave."""
    states = [after(tokens, 0)]
    for number, block in enumerate(model().blocks, start=1):
        states.append(after(block(states[-1]), number))
    return states, model().head(model().norm(states[-1])[:, 0])


def embed(image):
    trace = model().trace(image)
    return trace.with_position


def near(given, wanted):
    return (torch.tensor(given, dtype=torch.float64) - wanted).abs().max() <= TOLERANCE


# ---- numbers ----


def test_the_page_is_small_and_its_model_is_the_one_that_ships(at_work, address):
    assert address.stat().st_size <= 1_500_000
    images = load_digits_images("test")[0][:12].double()
    ask = "(images) => images.map((image) => at_work.trace(image, at_work.model()).logits)"
    assert near(at_work.evaluate(ask, images.tolist()), model()(images))


def test_examples_are_read_as_they_are_labelled_but_for_the_hard_one(at_work):
    says = []
    for button in at_work.locator("#examples button").all():
        button.click()
        says.append(int(re.search(r"says (\d)", at_work.inner_text("#says"))[1]))
    assert says[:10] == [*range(10)]
    labels = at_work.evaluate("at_work.EXAMPLES.map((example) => [example.label, example.answer])")
    assert says[10] == labels[10][1] != labels[10][0]
    hard = at_work.get_by_role("button", name="A hard one")
    assert hard.get_attribute("aria-label").endswith(
        f"a {labels[10][0]} that the model takes for a {says[10]}"
    )


def test_what_is_shown_is_python_s_trace(at_work):
    trace, found = model().trace(image_of(at_work)), fetch(at_work, "at_work.state.seen")
    for name in ("patches", "with_cls", "with_position", "encoded", "logits"):
        assert near(found[name], getattr(trace, name)[0]), name
    assert near([block["weights"] for block in found["blocks"]], trace.attention[0])


def test_the_head_of_the_tour_looks_where_ink_is():
    images = load_digits_images("test")[0].double()
    looks = model().trace(images).attention[:, 0, 2, 0, 1:]
    ink = images.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).mean(dim=4).flatten(1)
    seen = (looks * ink).sum(dim=1) / looks.sum(dim=1)
    assert seen.mean() > 1.8 * ink.mean()


# ---- where a number comes from, in words ----


def number(value):
    """As JavaScript writes it: a tie, such as 2 / 16, goes away from zero."""
    text = str(Decimal(float(value)).quantize(Decimal("0.01"), ROUND_HALF_UP))
    return ("0.00" if text == "-0.00" else text).replace("-", "−")


def bracket(value):
    return f"({number(value)})" if number(value).startswith("−") else number(value)


def test_a_token_s_number_is_told(at_work):
    pin(at_work, "tokens", 6, 11)
    kernel, bias = model().patch_embed.proj.weight[11].flatten(), model().patch_embed.proj.bias[11]
    patch = image_of(at_work)[0, 0, 2:4, 2:4].flatten()
    parts = [f"{number(pixel)} · {bracket(weight)}" for pixel, weight in zip(patch, kernel, strict=True)]
    token = model().trace(image_of(at_work)).patches[0, 5, 11]
    told = (
        f"Number 12 of the token of patch 6 (row 2, column 2): {' + '.join(parts)} + bias {bracket(bias)} = "
    )
    assert sentence(at_work) == told + number(token)


def test_a_position_is_told(at_work):
    pin(at_work, "positions", 4, 63)
    trace, place = model().trace(image_of(at_work)), model().pos_embed[0, 4, 63]
    sums = f"{number(trace.with_cls[0, 4, 63])} + {bracket(place)} = {number(trace.with_position[0, 4, 63])}"
    assert sentence(at_work).startswith(
        f"Patch 4 (row 1, column 4) is told where it is: number 64 becomes {sums}."
    )


def test_a_weight_and_its_score_are_told(at_work):
    at_work.locator("#blocks").get_by_label("3").check(force=True)
    at_work.locator("#heads").get_by_label("2").check(force=True)
    pin(at_work, "attention", 0, 7)
    states, _ = encode(embed(image_of(at_work)))
    block = model().blocks[2]
    query, key, _ = block.attn.qkv(block.norm1(states[2])).unflatten(2, (3, 4, 16)).unbind(2)
    scores = (query[0, 0, 1] * key[0, :, 1]).sum(dim=1) / 4
    weight = scores.softmax(dim=0)[7]
    told = (
        f"In block 3, head 2, the CLS token looks at patch 7 (row 2, column 3) with weight {number(weight)}"
        f" = e{number(scores[7])} / sum of escore = {number(scores[7].exp())} / {number(scores.exp().sum())}."
        f" The score: q · k / √16 = {number(4 * scores[7])} / 4.00 = {number(scores[7])}."
    )
    assert sentence(at_work) == told


def test_the_mean_of_the_heads_is_told(at_work):
    at_work.locator("#heads").get_by_label("mean").check(force=True)
    pin(at_work, "attention", 3, 9)
    heads = model().trace(image_of(at_work)).attention[0, 0, :, 3, 9]
    assert f"with weight {number(heads.mean())}, the mean of the heads" in sentence(at_work)
    assert f"({' + '.join(map(number, heads))}) / 4." in sentence(at_work)


def test_what_attention_and_the_mlp_added_is_told(at_work):
    at_work.locator("#blocks").get_by_label("2").check(force=True)
    pin(at_work, "stream", 16, 3)
    states, _ = encode(embed(image_of(at_work)))
    block = model().blocks[1]
    attended = self_attention(block.norm1(states[1]), block.attn.qkv, block.attn.proj, 4)[0]
    had, looked, now = (tensor[0, 16, 3] for tensor in (states[1], attended, states[2]))
    told = f"came into block 2 as {number(had)}. Attention added {bracket(looked)}, "
    assert told + f"the MLP {bracket(now - had - looked)}: {number(now)}." in sentence(at_work)
    assert sentence(at_work).startswith("Number 4 of the token of patch 16 (row 4, column 4)")


def test_a_logit_is_told_after_each_block(at_work):
    states, _ = encode(embed(image_of(at_work)))
    for after, when in ((0, "Before the first block"), (2, "After block 2"), (4, "After block 4")):
        pin(at_work, "answer", 5, after)
        scores = model().head(model().norm(states[after])[0, 0])
        share = 100 * scores.softmax(dim=0)[5]
        bias = model().head.bias[5]
        told = f"its logit is {number(scores[5] - bias)} + bias {bracket(bias)} = {number(scores[5])},"
        assert sentence(at_work).startswith(f"{when}, the CLS token says 5 with {share:.1f} %: {told}")
        assert ("here it reads early" in sentence(at_work)) == (after < 4)


def test_a_pixel_is_told(at_work):
    pin(at_work, "patches", 6, 3)
    pixel = image_of(at_work)[0, 0, 3, 5]
    assert sentence(at_work) == (
        "Patch 7 (row 2, column 3) is four pixels, laid in a row. Number 4 of them is the pixel in row 4, "
        f"column 6 of the picture: {number(pixel)}, from 0 (no ink) to 1."
    )


@pytest.mark.parametrize("kind", kinds_at())
def test_vectors_are_drawn_and_the_code_that_ran_is_folded_beside(at_work, kind):
    canvas, step = kinds_at()[kind]
    pin(at_work, canvas, 2, 1)
    assert at_work.locator("#origin svg rect").count() > 8
    folded = at_work.locator(".why details")
    assert not folded.locator("pre").first.is_visible()
    folded.locator("summary").click()
    script, python = folded.locator("pre").all_inner_texts()
    assert step in script
    assert f"def {step}(" in python
    folded.locator("summary").click()


# ---- what if ----


def ask(page, *questions):
    for question in questions:
        page.click(f"#if-{question}")


def test_shuffled_patches(at_work):
    ask(at_work, "shuffle")
    order = at_work.evaluate("at_work.state.on.shuffle")
    assert sorted(order) == [*range(16)]
    patches = image_of(at_work).unfold(2, 2, 2).unfold(3, 2, 2).flatten(2, 3)[:, :, order]
    shuffled = patches.unflatten(2, (4, 4)).permute(0, 1, 2, 4, 3, 5).reshape(1, 1, 8, 8)
    assert near(logits(at_work), model()(shuffled))


def test_without_positions_shuffling_changes_nothing(at_work):
    ask(at_work, "positions")
    blind = model().trace(image_of(at_work)).with_cls
    without = encode(blind)[1]
    assert near(logits(at_work), without)
    ask(at_work, "shuffle")
    assert near(logits(at_work), without)
    assert "Shuffling alone changes nothing now" in at_work.inner_text("#told")
    assert "the answer moves by 0.00" in at_work.inner_text("#told")


def test_a_dropped_token(at_work):
    pin(at_work, "tokens", 7, 0)
    assert at_work.inner_text("#if-drop") == "patch 7 were missing?"
    ask(at_work, "drop")
    tokens = embed(image_of(at_work))
    assert near(logits(at_work), encode(torch.cat([tokens[:, :7], tokens[:, 8:]], dim=1))[1])
    pin(at_work, "attention", 2, 7)
    assert sentence(at_work) == "Patch 7 (row 2, column 3) is not here: it was dropped before block 1."
    pin(at_work, "attention", 2, 6)
    assert "looks at patch 6" in sentence(at_work)
    assert "NaN" not in sentence(at_work)


@pytest.mark.parametrize("block", [1, 3, 4])
def test_a_swapped_cls_token(at_work, block):
    at_work.get_by_label("with digit").select_option("8")
    at_work.get_by_label("after block").select_option(str(block))
    other = torch.tensor(at_work.evaluate("at_work.EXAMPLES[8].pixels"), dtype=torch.float64) / 16
    theirs = encode(embed(other.reshape(1, 1, 8, 8)))[0][block][:, :1]

    def swap(tokens, number):
        return torch.cat([theirs, tokens[:, 1:]], dim=1) if number == block else tokens

    assert near(logits(at_work), encode(embed(image_of(at_work)), swap)[1])
    before, after = re.findall(r"(?:Before|After): (\d)", at_work.inner_text("#told"))
    assert (before, after) == ("3", "8" if block == 4 else after)
    assert block > 1 or after == "3", "the CLS token has hardly read anything"


def test_without_the_division_softmax_is_harder(at_work):
    pin(at_work, "attention", 0, 5)
    ask(at_work, "division")
    tokens = embed(image_of(at_work))
    for block in model().blocks:
        query, key, value = (
            block.attn.qkv(block.norm1(tokens)).unflatten(2, (3, 4, 16)).permute(2, 0, 3, 1, 4)
        )
        mixed = (query @ key.mT).softmax(dim=-1) @ value
        tokens = tokens + block.attn.proj(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.norm2(tokens))
    assert near(logits(at_work), model().head(model().norm(tokens)[:, 0]))
    after, before = map(int, re.findall(r"(\d+) %(?= on the token| before)", at_work.inner_text("#told")))
    assert after > before
    assert "not divided" in sentence(at_work)


def test_the_trap_is_blind(at_work):
    ask(at_work, "trap")
    first = logits(at_work)
    alone = encode(embed(image_of(at_work)).transpose(0, 1))[1][:1]
    assert near(first, alone)
    at_work.click("#clear")
    at_work.wait_for_function("!at_work.state.image.flat().some(Boolean)")
    assert near(logits(at_work), alone)


def test_before_and_after_stand_side_by_side_and_all_is_undone(at_work):
    assert not at_work.locator("#outcome").is_visible()
    ask(at_work, "positions", "division")
    assert at_work.locator("#pairs rect").count() == 20
    said = at_work.inner_text("#told")
    assert re.match(r"Before: 3 \(9\d %\)\. After: \d \(\d+ %\)\. ", said)
    assert at_work.locator("[aria-pressed=true]").count() == 2
    at_work.click("#undo")
    assert at_work.locator("[aria-pressed=true]").count() == 0
    assert not at_work.locator("#outcome").is_visible()


# ---- the twin ----


def test_the_twin_is_drawn_as_a_fresh_model_is(at_work):
    at_work.get_by_label("untrained twin").check(force=True)
    assert at_work.inner_text("#says").startswith("The twin says")
    twin, wanted = fetch(at_work, "at_work.model()"), digits_model(patch_size=2, depth=4).double()
    for name, ours in (
        ("pos_embed", twin["pos_embed"]),
        ("blocks.1.attn.qkv.weight", twin["blocks"][1]["attn"]["qkv"]["weight"]),
        ("blocks.3.mlp.fc1.weight", twin["blocks"][3]["mlp"]["fc1"]["weight"]),
        ("head.weight", twin["head"]["weight"]),
        ("patch_embed.proj.weight", twin["patch_embed"]["proj"]["weight"]),
        ("norm.weight", twin["norm"]["weight"]),
        ("blocks.2.mlp.fc2.bias", twin["blocks"][2]["mlp"]["fc2"]["bias"]),
    ):
        given, theirs = torch.tensor(ours, dtype=torch.float64), wanted.state_dict()[name]
        assert given.std().item() == pytest.approx(theirs.std().item(), rel=0.15, abs=1e-9), name
        assert given.mean().item() == pytest.approx(theirs.mean().item(), abs=0.1), name
    assert not near(logits(at_work), model()(image_of(at_work)))


def test_the_rollout_chooses_the_patch_to_drop_when_none_is_chosen(at_work):
    pin(at_work, "answer", 3, 4)
    reached = attention_rollout(model().trace(image_of(at_work)).attention)[0, 0, 1:]
    assert at_work.inner_text("#if-drop") == f"patch {1 + reached.argmax().item()} were missing?"
