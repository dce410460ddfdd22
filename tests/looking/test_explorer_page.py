"""The page of the explorer, read as a file: what it keeps, how far that is from the truth, what it refuses.

What it draws, says and does with keys is tested in tests/browser.
"""

import base64
import re
from io import BytesIO

import explorer_pages as pages
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vit_steps.looking import _page_data, attribution, explorer_page
from vit_steps.looking.attention_maps import attention_rollout

PAGE = explorer_page.explorer_page
GRID = (3, 4)
PHOTO = pages.photograph(24, 32)


def page_of(trace, *, num_prefix=1, photo=PHOTO, box=None, grid=GRID, title="a page", **more):
    box = (0, 0, photo.shape[1], photo.shape[0]) if box is None else box
    return PAGE(photo, box, grid, trace, num_prefix=num_prefix, title=title, **more)


def shown(trace, num_prefix, num_cls):
    return [*range(num_cls), *range(num_prefix, trace.attention.shape[-1])]


def promised(sentence):
    """By how much it says that a weight is off at most: of the row's brightest patch, and of all."""
    return [float(number) / 100 for number in re.findall(r"([\d.e-]+) %", sentence)]


def check_promises(page, trace, num_prefix, num_cls, map_=0):
    """Every weight that is kept is as near to the true one as the page says."""
    data, some = pages.data_of(page), shown(trace, num_prefix, num_cls)
    heads = trace.attention[0][..., some, :][..., some]
    true = {"heads": heads, "mean": heads.mean(dim=1)}
    true["rollout"] = attention_rollout(trace.attention)[0][some][:, some]
    said = {line.split(":")[0]: line for line in pages.sentences(page)}
    names = {"Single heads": "heads", "Mean of heads": "mean", "Rollout": "rollout"}
    checked = 0
    for name, map_name in names.items():
        if map_name not in data["tables"]:
            continue
        wanted = true[map_name] if data["kept"][map_name] == "all" else true[map_name][..., :1, :]
        wanted = wanted.flatten(0, -2).double().numpy()
        apart = abs(pages.rows_of(data, map_name, map_) - wanted)
        of_largest, of_all = promised(said[name])
        assert apart.max() <= of_all
        assert (apart[:, num_cls:].max(axis=1) / wanted[:, num_cls:].max(axis=1)).max() <= of_largest
        assert apart.max() > of_all / 100 or of_all < 0.002, "it promises far less than it keeps"
        checked += 1
    return checked


# ---- what is kept ----


@pytest.mark.parametrize(
    ("num_prefix", "class_token", "num_cls"), [(1, True, 1), (0, True, 0), (3, True, 1), (2, False, 0)]
)
@pytest.mark.parametrize("sharp", [0.2, 3.0])
def test_all_rows_are_kept_and_as_near_as_the_page_says(num_prefix, class_token, num_cls, sharp):
    trace, control = (
        pages.made_up(3, 2, GRID, num_prefix=num_prefix, sharp=sharp, seed=seed) for seed in (0, 1)
    )
    page = page_of(trace, num_prefix=num_prefix, class_token=class_token, control=control)
    data = pages.data_of(page)
    assert data["kept"]["heads"] == data["kept"]["mean"] == data["kept"]["rollout"] == "all"
    assert data["tokens"] == num_cls + 12
    assert data["names"] == ["in the model", "in the control"]
    for map_, each in enumerate((trace, control)):
        assert check_promises(page, each, num_prefix, num_cls, map_) == 3
    assert ("registers" in " ".join(pages.sentences(page))) == (num_prefix - num_cls > 0)


@pytest.mark.parametrize("num_prefix", [0, 1])
@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (80_000, {"heads": "all", "mean": "all", "rollout": "all"}),
        (24_000, {"heads": "cls", "mean": "all", "rollout": "all"}),
        (10_000, {"heads": "cls", "rollout": "all"}),
        (0, {"rollout": "cls"}),
    ],
)
def test_the_less_room_there_is_the_less_is_kept_and_the_page_says_so(monkeypatch, num_prefix, room, kept):
    trace = pages.made_up(4, 6, (8, 8), num_prefix=num_prefix, sharp=1.5)
    make = lambda: page_of(trace, num_prefix=num_prefix, grid=(8, 8))  # noqa: E731
    monkeypatch.setattr(_page_data, "MOST_OF_ALL", 0)
    monkeypatch.setattr(explorer_page, "LIMIT", 0)
    least = len(make().encode())
    monkeypatch.setattr(explorer_page, "LIMIT", least + room)
    page = make()
    assert len(page.encode()) <= least + room
    wanted = {name: which for name, which in kept.items() if num_prefix or which == "all"}
    data = pages.data_of(page)
    assert {name: which for name, which in data["kept"].items() if name != "answer"} == wanted
    assert check_promises(page, trace, num_prefix, num_prefix) == len(wanted)
    assert ("heads" in data["maps"]) == bool({"heads", "mean"} & {*wanted})
    assert "likeness" in data["maps"]


def test_a_vit_b_of_224_pixels_is_at_most_three_megabytes():
    trace = pages.made_up(12, 12, (14, 14), dim=768, sharp=2.0)
    page = page_of(trace, grid=(14, 14), photo=pages.photograph(224, 300), box=(38, 0, 262, 224))
    assert 1_500_000 < len(page.encode()) <= 3_000_000
    assert pages.data_of(page)["kept"]["heads"] == "all"


def test_of_1370_tokens_the_rows_of_cls_are_kept():
    """As of a model of 518 pixels with patches of 14."""
    page = page_of(pages.made_up(2, 3, (37, 37), dim=64, sharp=1.5), grid=(37, 37))
    data = pages.data_of(page)
    assert len(page.encode()) <= 3_000_000
    assert (data["kept"]["heads"], data["kept"]["rollout"]) == ("cls", "all")


def test_likeness_is_kept_in_components_and_as_near_as_the_page_says():
    trace = pages.made_up(1, 1, (8, 8), num_prefix=2, dim=96)
    low = torch.randn(65, 5, generator=torch.Generator().manual_seed(3)) @ torch.randn(5, 96)
    for tokens, dim in ((trace.encoded, None), (torch.cat([low[:1], low])[None], 8)):
        page = page_of(trace._replace(encoded=tokens), num_prefix=2, grid=(8, 8), behind_norm=True)
        data, line = pages.data_of(page), next(each for each in pages.sentences(page) if "Likeness" in each)
        wanted = F.normalize(tokens[0, [0, *range(2, 66)]].double(), dim=1)
        apart = abs(pages.cosines_of(data) - (wanted @ wanted.T).numpy()).max()
        assert apart <= float(re.search(r"at most ([\d.e-]+) from", line)[1]) <= 0.011
        assert "behind the final norm" in line
        number = len(pages.numbers_of(data["directions"], "<i2")) // 65
        assert f"from {number} components of 96" in line
        assert dim is None or number == dim
        assert data["limits"][0] == pytest.approx((wanted @ wanted.T)[1:, 1:].min().item(), abs=0.011)


# ---- the maps ----


@pytest.mark.parametrize(
    "kind",
    [
        {"pool": "mean", "class_token": False},
        {"pool": "mean_all"},
        {"pool": "attention", "class_token": False},
        {"pool": "mean", "num_registers": 2},
    ],
)
def test_the_answers_rollout_is_the_one_of_the_way_it_is_read(kind):
    model = pages.small(**kind)
    trace = pages.seen_by(model)
    page = page_of(
        trace, num_prefix=model.num_prefix, pool=model.pool, class_token=model.config["class_token"]
    )
    torch.manual_seed(0)
    wanted = attribution.answer_rollout(model, torch.rand(1, 3, 12, 16))[0].numpy()
    data = pages.data_of(page)
    assert data["maps"][data["chosen"][0]] == "answer"
    np.testing.assert_allclose(pages.rows_of(data, "answer")[0, -12:], wanted, atol=wanted.max() / 400)
    if trace.pooling is not None:
        probe = trace.pooling[0, :, 0].numpy()
        np.testing.assert_allclose(pages.rows_of(data, "pooling")[:, -12:], probe, atol=probe.max() / 400)


@pytest.mark.parametrize(("pool", "rows"), [("cls+mean", (0, 3)), ("cls+register", (0, 1))])
def test_of_two_vectors_that_are_read_the_mean_is_drawn(pool, rows):
    model = pages.small(pool=pool, num_registers=2)
    trace = pages.seen_by(model)
    page = page_of(trace, num_prefix=3, pool=pool)
    rolled = attention_rollout(trace.attention)[0]
    second = rolled[3:].mean(dim=0) if pool == "cls+mean" else rolled[1]
    wanted = ((rolled[0] + second) / 2)[3:].numpy()
    np.testing.assert_allclose(pages.rows_of(pages.data_of(page), "answer")[0, 1:], wanted, atol=0.002)


def test_it_opens_on_the_rollout_of_cls():
    data = pages.data_of(page_of(pages.seen_by(pages.small())))
    assert (data["maps"][data["chosen"][0]], data["query"]) == ("rollout", 0)
    assert data["chosen"][1:3] == [2, 0]


def test_a_scale_is_cut_where_one_patch_dazzles():
    trace = pages.made_up(1, 1, (10, 10), sharp=0.1)
    assert pages.data_of(page_of(trace, grid=(10, 10)))["chosen"][3] == 0
    trace.attention[..., 7] = 0.5
    assert pages.data_of(page_of(trace, grid=(10, 10)))["chosen"][3] == 1


# ---- the file ----


@pytest.mark.parametrize(("height", "width"), [(3000, 2000), (40, 400), (6, 8), (1, 1)])
def test_a_photograph_keeps_its_shape_and_the_box_its_place(height, width):
    box = (0.25 * width, 0.5 * height, 0.75 * width, height)
    data = pages.data_of(page_of(pages.made_up(1, 1, GRID), photo=pages.photograph(height, width), box=box))
    picture = Image.open(BytesIO(base64.b64decode(data["picture"])))
    assert max(picture.size) == min(1024, max(height, width))
    assert picture.width / picture.height == pytest.approx(width / height, rel=0.01)
    assert data["box"] == pytest.approx(
        [0.25 * picture.width, 0.5 * picture.height, 0.75 * picture.width, picture.height]
    )


def test_a_small_photograph_is_kept_exactly():
    data = pages.data_of(page_of(pages.made_up(1, 1, GRID)))
    assert (np.asarray(Image.open(BytesIO(base64.b64decode(data["picture"])))) == PHOTO).all()


def test_a_page_asks_no_network_and_is_the_same_each_time():
    page = page_of(pages.made_up(2, 2, GRID), answers=[("a cat", 0.7), ("a dog", 0.2)])
    assert page == page_of(pages.made_up(2, 2, GRID), answers=[("a cat", 0.7), ("a dog", 0.2)])
    assert not re.search(r"https?:|\bimport\s|\bfetch\(|XMLHttp|<link|src=", page)
    assert "default-src 'none'" in page
    assert "a cat" in page
    assert "export" not in page.split('<script type="module">')[1]


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a & $b"]
)
def test_names_are_text(name):
    page = page_of(pages.made_up(1, 1, GRID), title=name, answers=[(name, 1.0)])
    assert name not in page
    assert page.count("<script") == 2


def test_half_precision_and_gradients_are_no_obstacle():
    plain = pages.made_up(2, 2, GRID, num_prefix=2, pooling=True)
    parts = [None if part is None else part.bfloat16() for part in plain]
    half = type(plain)(*parts)
    again = type(plain)(*[None if part is None else part.float().requires_grad_() for part in half])
    first, second = (pages.data_of(page_of(each, num_prefix=2)) for each in (half, again))
    for name in first["tables"]:
        np.testing.assert_allclose(pages.rows_of(first, name), pages.rows_of(second, name), atol=1e-6)


# ---- doors ----

SEEN = pages.made_up(2, 2, GRID)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(photo=PHOTO[..., 0], box=(0, 0, 32, 24)), r"photograph must have the axes .*\(24, 32\)"),
        (dict(photo=PHOTO[:0], box=(0, 0, 32, 24)), r"photograph must have the axes .*\(0, 32, 3\)"),
        (
            dict(box=(0, 0, 33, 24)),
            r"box must lie in the photograph, 0 to 32 and 0 to 24, got \(0, 0, 33, 24\)",
        ),
        (
            dict(trace=SEEN._replace(attention=torch.rand(2, 2, 2, 13, 13))),
            r"trace.attention must have the axes \(1 depth heads tokens tokens\), got shape \(2, 2, 2, 13",
        ),
        (dict(box=(9, 0, 9, 24)), "box must lie in the photograph"),
        (dict(box=(0, 0, float("nan"), 24)), "each of box .* must be finite, got nan"),
        (
            dict(grid=(4, 4)),
            r"trace.attention has 13 tokens, num_prefix 1 \+ grid rows 4 \* grid cols 4 is 17",
        ),
        (dict(trace=SEEN._replace(encoded=SEEN.encoded[:, 1:])), "trace.encoded must have the axes"),
        (dict(trace=SEEN._replace(attention=SEEN.attention[:, :0])), "trace.attention is empty"),
        (dict(trace=SEEN._replace(attention=SEEN.attention / 0)), "trace.attention holds NaN or infinity"),
        (
            dict(trace=SEEN._replace(attention=SEEN.attention - 1)),
            r"trace.attention must hold values in \[0, 1\]",
        ),
        (dict(control=pages.made_up(1, 2, GRID)), "trace.attention has shape .*, control.attention has"),
        (dict(control=pages.made_up(2, 2, GRID, pooling=True)), "control and trace must both have pooling"),
        (dict(pool="attention"), "pool is 'attention', and trace has no pooling"),
        (
            dict(pool="cls", class_token=False),
            "pool 'cls' reads a CLS token, num_prefix is 1, class_token Fal",
        ),
        (dict(pool="max"), "pool must be one of cls, mean"),
        (dict(answers=[("a", 2.0)]), "probabilities of answers must hold values"),
    ],
)
def test_a_bad_value_is_named(change, message, doors_only):
    with pytest.raises(ValueError, match=message):
        page_of(**{"trace": SEEN} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(photo=PHOTO.astype(np.float32)), "photograph must hold 8-bit numbers, uint8, got float32"),
        (dict(box=(0, 0, 32)), r"box must be \(left, top, right, bottom\), got \(0, 0, 32\)"),
        (dict(box=(0, 0, "32", 24)), "each of box .* must be a number, got '32'"),
        (dict(trace=SEEN.attention), "trace must be a Trace, not Tensor"),
        (dict(trace=SEEN._replace(attention=None)), "trace.attention must be a torch.Tensor, not NoneType"),
        (dict(title=3), "title must be a str, not int"),
        (dict(answers=["a"]), r"answers must be pairs \(label, probability\)"),
    ],
)
def test_a_wrong_type_is_named(change, message, doors_only):
    with pytest.raises(TypeError, match=message):
        page_of(**{"trace": SEEN} | change)
