# ruff: noqa: E501 (one line for each wrong input)
"""look: each view held against what it is made of, by other ways, for each way to pool."""

import sys
from io import BytesIO
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from vit_steps import ViT
from vit_steps.data import load_digits_images
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.attribution import answer_attention, answer_rollout
from vit_steps.looking.look import look
from vit_steps.looking.removal import removal_curve
from vit_steps.pretrained import Preprocess, load_pretrained, save_hugging_face
from vit_steps.training import load_checkpoint

HALF = (0.5, 0.5, 0.5)
SIZES = dict(image_size=(12, 8), patch_size=4, dim=8, depth=3, num_heads=2, mlp_dim=12, num_classes=7)
PREPROCESS = Preprocess(size=(12, 8), mean=HALF, std=HALF)
KINDS = {
    "cls": {},
    "registers": {"num_registers": 2},
    "mean": {"pool": "mean"},
    "mean without CLS": {"pool": "mean", "class_token": False},
    "mean of all": {"pool": "mean_all", "num_registers": 1},
    "probe": {"pool": "attention", "class_token": False},
    "probe beside CLS": {"pool": "attention"},
    "cls and register": {"pool": "cls+register", "num_registers": 1},
    "cls and mean": {"pool": "cls+mean", "num_registers": 1, "final_norm": "pooled"},
    "rotary": {"position": "rotary"},
}
TWO_VECTORS = ("cls and register", "cls and mean")
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind="cls", **more):
    torch.manual_seed(0)
    model = ViT(**SIZES | KINDS[kind] | more).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def photograph(width=20, height=30):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def pixels():
    return PREPROCESS(Image.fromarray(photograph()))


@pytest.fixture
def seen():
    return look((made(), PREPROCESS), photograph())


# ---- the views ----


@every_kind
def test_it_begins_with_the_rollout_as_the_answer_reads_it(kind):
    model = made(kind)
    found = look((model, PREPROCESS), photograph())
    if kind in TWO_VECTORS:
        with torch.no_grad():
            rollout = attention_rollout(model.trace(pixels()).attention)
        expected = rollout[0, 0, model.num_prefix :]
        assert "of which this map says nothing" in found.view.words
    else:
        with torch.no_grad():
            expected = answer_rollout(model, pixels())[0]
    torch.testing.assert_close(found.view.map, expected.reshape(3, 2))
    assert found.grid == (3, 2)
    assert found.view.map.sum().item() + found.view.hidden == pytest.approx(1, abs=1e-5)
    assert found.view.control is None
    assert found.view.place is None


@every_kind
@pytest.mark.parametrize(("layer", "head"), [(0, None), (1, 1), (-1, 0)])
def test_attention_of_a_block_is_the_rows_that_are_read(kind, layer, head):
    """By a loop over the rows, each counted as the token it belongs to is counted."""
    model = made(kind)
    with torch.no_grad():
        trace = model.trace(pixels())
    chosen = [head] if head is not None else [0, 1]
    first = model.num_prefix
    count = {"mean": dict.fromkeys(range(first, first + 6), 1 / 6)}.get(model.pool, {0: 1.0})
    if model.pool == "mean_all":
        count = dict.fromkeys(range(first + 6), 1 / (first + 6))
    if model.pool == "attention":
        probe = (trace.pooling[0, 0, 0] + trace.pooling[0, 1, 0]) / 2
        count = {first + patch: probe[patch].item() for patch in range(6)}
    expected = torch.zeros(6)
    for token, share in count.items():
        for each in chosen:
            expected += share / len(chosen) * trace.attention[0, layer, each, token, first:]
    found = look((model, PREPROCESS), photograph()).attention(layer=layer, head=head)
    torch.testing.assert_close(found.view.map, expected.reshape(3, 2))
    assert f"in block {layer % 3 + 1} of 3" in found.view.words
    assert ("mean of 2 heads" if head is None else f"head {head + 1} of 2") in found.view.words


@pytest.mark.parametrize("kind", ["cls", "registers", "probe", "probe beside CLS"])
def test_without_a_block_it_is_where_the_answer_is_looked_for(kind):
    model = made(kind)
    with torch.no_grad():
        expected = answer_attention(model, pixels())[0]
    found = look((model, PREPROCESS), photograph()).attention()
    torch.testing.assert_close(found.view.map, expected.reshape(3, 2))
    assert ("the probe looks, behind 3 blocks" in found.view.words) == ("probe" in kind)


def test_one_head_of_a_probe():
    model = made("probe")
    with torch.no_grad():
        pooling = model.trace(pixels()).pooling
    found = look((model, PREPROCESS), photograph()).attention(head=1)
    torch.testing.assert_close(found.view.map, pooling[0, 1].reshape(3, 2))


@every_kind
def test_likeness_is_the_cosine_of_the_tokens_that_the_head_gets(kind):
    model, heard = made(kind), []
    model.norm.register_forward_hook(lambda _, __, tokens: heard.append(tokens))
    found = look((model, PREPROCESS), photograph()).likeness(2, 1)
    patches = heard[-1][0, model.num_prefix :].detach()
    cosines = [torch.cosine_similarity(patches[5], patch, dim=0) for patch in patches]
    torch.testing.assert_close(found.view.map, torch.stack(cosines).reshape(3, 2))
    assert found.view.map[2, 1].item() == pytest.approx(1, abs=1e-6)
    assert found.view.place == (2, 1)
    assert "in row 3, column 2" in found.view.words


def test_a_pixel_belongs_to_the_patch_that_covers_it(seen):
    """The photograph of 20 x 30 becomes 8 x 12, whole: a patch covers 10 x 10 pixels."""
    assert seen.box == (0, 0, 20, 30)
    assert [seen.patch_at(*place) for place in ((0, 0), (9, 9), (10, 9), (9, 10), (19, 29))] == [
        *[(0, 0), (0, 0), (0, 1), (1, 0), (2, 1)]
    ]


# ---- the untrained twin ----


@pytest.mark.parametrize("kind", ["cls", "probe", "cls and mean", "rotary"])
def test_the_control_is_the_same_model_freshly_drawn(kind):
    model = made(kind)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    found = look((model, PREPROCESS), photograph(), control=True, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    twin = ViT(**model.config).eval()
    expected = look((twin, PREPROCESS), photograph())
    torch.testing.assert_close(found.view.control, expected.view.map)
    torch.testing.assert_close(found.likeness(0, 1).view.control, expected.likeness(0, 1).view.map)
    by_head = dict(layer=1, head=0)
    torch.testing.assert_close(
        found.attention(**by_head).view.control, expected.attention(**by_head).view.map
    )
    other = look((model, PREPROCESS), photograph(), control=True)
    assert not torch.allclose(other.view.control, expected.view.map, atol=1e-6)
    torch.testing.assert_close(other.view.map, found.view.map)


def test_the_twin_turns_its_tokens_as_the_model_does():
    model = made("rotary")
    for block in model.blocks:
        block.attn.angles.mul_(3)
    found = look((model, PREPROCESS), photograph(), control=True)
    torch.manual_seed(0)
    twin = ViT(**model.config).eval()
    for block in twin.blocks:
        block.attn.angles.mul_(3)
    torch.testing.assert_close(found.view.control, look((twin, PREPROCESS), photograph()).view.map)


# ---- the answer ----


def test_the_answers_are_the_most_probable_classes_by_name():
    model, names = made(), [f"class {letter}" for letter in "abcdefg"]
    found = look((model, PREPROCESS, names), photograph())
    with torch.no_grad():
        shares = model(pixels())[0].softmax(dim=0)
    order = shares.argsort(descending=True)[:5].tolist()
    assert [name for name, _ in found.answers] == [names[place] for place in order]
    assert [share for _, share in found.answers] == pytest.approx(shares[order].tolist())
    numbered = look((model, PREPROCESS), photograph())
    assert [name for name, _ in numbered.answers] == [str(place) for place in order]


def test_without_a_head_there_is_no_answer_and_no_panel_for_one():
    found = look((made(num_classes=0), PREPROCESS), photograph())
    assert found.answers == ()
    assert "answer" not in str(found)
    assert [ax.get_title("left") for ax in found.draw().axes][1:] == ["the map", ""]  # and the scale


def test_names_that_are_not_one_for_each_class_are_refused():
    with pytest.raises(ValueError, match="number of labels 2 is not logits classes 7"):
        look((made(), PREPROCESS, ["a", "b"]), photograph())


# ---- what a model may be, and a photograph ----


def test_a_folder_what_was_loaded_of_it_and_a_pair_are_the_same(tmp_path):
    plain = made(image_size=(8, 8), num_classes=2)
    preprocess = Preprocess(size=(8, 8), mean=HALF, std=HALF)
    save_hugging_face(plain, tmp_path / "hub", labels=["cat", "dog"], preprocess=preprocess)
    looks = [
        look(model, photograph())
        for model in (
            tmp_path / "hub",
            str(tmp_path / "hub"),
            load_pretrained(tmp_path / "hub"),
            (plain, preprocess),
        )
    ]
    for each in looks[1:]:
        torch.testing.assert_close(each.view.map, looks[0].view.map)
    assert {name for name, _ in looks[0].answers} == {"cat", "dog"}


def test_a_photograph_may_come_in_many_ways(tmp_path):
    photo = photograph()
    Image.fromarray(photo).save(tmp_path / "p.png")
    colours = torch.from_numpy(photo).permute(2, 0, 1) / 255
    ways = [
        tmp_path / "p.png",
        str(tmp_path / "p.png"),
        Image.fromarray(photo),
        photo,
        colours,
        colours[None],
    ]
    looks = [look((made(), PREPROCESS), way) for way in ways]
    for each in looks:
        assert np.array_equal(each.photograph, photo)
        torch.testing.assert_close(each.view.map, looks[0].view.map)
    assert [each.name for each in looks] == ["p.png", "p.png"] + 4 * ["the photograph"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_looks_in_its_own_precision(dtype):
    found = look((made().to(dtype), PREPROCESS), photograph())
    assert found.trace.attention.dtype == dtype
    torch.testing.assert_close(
        found.view.map, look((made(), PREPROCESS), photograph()).view.map, atol=0.02, rtol=0
    )


REFUSED = [
    (lambda: dict(model=3), TypeError, "model must be a name, a path, or (model, preprocess, labels), not int"),
    (
        lambda: dict(model=made()),
        TypeError,
        "model must be a name, a path, or (model, preprocess, labels), not a ViT without its preprocess",
    ),
    (lambda: dict(model=(made(), None)), TypeError, "the second of model must be a Preprocess, not NoneType"),
    (
        lambda: dict(model=(made(), Preprocess(size=(8, 8), mean=HALF, std=HALF))),
        ValueError,
        "model was made for 12 x 8 pixels, its preprocess makes 8 x 8",
    ),
    (
        lambda: dict(model=(made(), Preprocess(size=(12, 8), mean=(0.5,), std=(0.5,)))),
        ValueError,
        "model was made for 3 channels, its preprocess makes 1",
    ),
    (
        lambda: dict(model=(made().to("meta"), PREPROCESS)),
        ValueError,
        "model is on the meta device: it holds no numbers",
    ),
    (lambda: dict(photo=photograph()[0, 0]), ValueError, "photo as an array must have 8 bits, (height, width, 3) or (height, width), got uint8 (3,)"),
    (lambda: dict(photo=photograph() / 255), ValueError, "photo as an array must have 8 bits, (height, width, 3) or (height, width), got float64 (30, 20, 3)"),
    (lambda: dict(photo=torch.rand(2, 8, 8)), ValueError, "photo as a tensor must have the axes (channels height width), one or three channels, got shape (2, 8, 8)"),
    (lambda: dict(photo=7 * torch.ones(3, 8, 8)), ValueError, "photo must hold values in [0, 1], got 7 to 7"),
    (lambda: dict(photo="no.png"), FileNotFoundError, "there is no picture no.png"),
    (lambda: dict(photo=2), TypeError, "photo must be a path, a PIL image, an array or a tensor, not int"),
    (lambda: dict(control=1), TypeError, "control must be a bool, not int"),
    (lambda: dict(seed=-1), ValueError, "seed must be at least 0, got -1"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "message"), REFUSED)
@pytest.mark.usefixtures("doors_only")
def test_what_is_wrong_is_said(wrong, error, message):
    with pytest.raises(error) as caught:
        look(**{"model": (made(), PREPROCESS), "photo": photograph()} | wrong())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.attention(layer=3), "layer 3 is out of range: the model has 3 blocks"),
        (lambda found: found.attention(layer=-4), "layer -4 is out of range: the model has 3 blocks"),
        (lambda found: found.attention(head=2), "head 2 is out of range: the model has 2 heads"),
        (lambda found: found.likeness(3, 0), "row 3 is out of range: the model has 3 rows of patches"),
        (lambda found: found.likeness(0, 2), "col 2 is out of range: the model has 2 columns of patches"),
        (lambda found: found.likeness(-1, 0), "row must be at least 0, got -1"),
        (lambda found: found.patch_at(20, 0), "across must be at most 19, got 20"),
        (lambda found: found.patch_at(0, 30), "down must be at most 29, got 30"),
        (lambda found: found.save("map.jpg"), "path must end in .png or .html, got 'map.jpg'"),
    ],
)
def test_what_the_model_does_not_have_is_refused_with_both_numbers(seen, ask, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        ask(seen)
    assert str(caught.value) == message


def test_what_was_cropped_away_has_no_patch():
    found = look((made(), PREPROCESS), photograph(40, 30))  # 20 of 40 are kept, 10 to 30
    assert found.box == (10, 0, 30, 30)
    with pytest.raises(ValueError, match=r"^across 9 was cropped away: the model got 10\.0 to 30\.0$"):
        found.patch_at(9, 3)
    assert found.patch_at(10, 3) == (0, 0)
    assert found.patch_at(29, 3) == (0, 1)
    with pytest.raises(ValueError, match="across 30 was cropped away"):
        found.patch_at(30, 3)


# ---- what is shown ----


def test_jupyter_gets_a_picture_with_words(seen):
    data, metadata = seen._repr_mimebundle_(include=None, exclude=None)
    assert data["text/plain"] == metadata["image/png"]["alt"] == str(seen) == repr(seen)
    picture = Image.open(BytesIO(data["image/png"]))
    assert 0 < metadata["image/png"]["width"] < picture.width


def test_the_words_say_what_the_picture_shows():
    found = look((made(), PREPROCESS, list("abcdefg")), photograph(40, 30), control=True)
    row, col = divmod(found.view.map.argmax().item(), 2)
    said = str(found)
    assert said.startswith(
        "the photograph, 40 x 30 pixels. The model got of the photograph 10 to 30 across and 0 to 30 down. "
        "From which patches the CLS token was drawn: rollout through 3 blocks: most "
        f"in row {row + 1}, column {col + 1}, {found.view.map.max():.1%}, where an even share is 16.7%; half of it in "
    )
    assert f"{found.view.hidden:.1%} on tokens without a place, which are not shown" in said
    assert "Beside it an untrained twin, same scale: most in row" in said
    assert f"The answer: {found.answers[0][0]} {found.answers[0][1]:.1%}, " in said
    assert "cosines from" in str(found.likeness(0, 0))


def test_a_picture_is_written_whole_and_over_the_old_one(seen, tmp_path):
    (tmp_path / "map.PNG").write_bytes(b"old")
    seen.save(tmp_path / "map.PNG")
    assert Image.open(tmp_path / "map.PNG").text["Description"] == str(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["map.PNG"]


def test_a_page_gets_all_that_it_needs(monkeypatch, tmp_path):
    """The page itself is the explorer's; here is what it is given."""
    given = {}

    def explorer_page(photograph, box, grid, trace, **more):
        given.update(photograph=photograph, box=box, grid=grid, trace=trace, **more)
        return "<html>ü</html>"

    double = ModuleType("vit_steps.looking.explorer_page")
    double.explorer_page = explorer_page
    monkeypatch.setitem(sys.modules, "vit_steps.looking.explorer_page", double)
    model = made("registers")
    found = look((model, PREPROCESS), photograph(40, 30), control=True)
    found.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<html>ü</html>"
    assert np.array_equal(given["photograph"], photograph(40, 30))
    assert given["box"] == (10, 0, 30, 30)
    assert (given["grid"], given["num_prefix"]) == ((3, 2), 3)
    assert (given["pool"], given["class_token"], given["behind_norm"]) == ("cls", True, True)
    assert (given["answers"], given["title"]) == (found.answers, "the photograph")
    with torch.no_grad():
        tokens = model.norm(found.trace.encoded)
    torch.testing.assert_close(given["trace"].encoded, tokens)
    assert given["trace"].attention is found.trace.attention
    assert given["control"].attention is found.control.attention
    assert not torch.allclose(given["control"].encoded, tokens)


# ---- why it begins with the rollout ----


def test_the_view_it_begins_with_passes_the_deletion_test():
    """On the model that ships: half of the patches, the least of the map first, may go, and it still reads."""
    model, (images, labels) = load_checkpoint(), load_digits_images("test")
    preprocess = Preprocess(size=(8, 8), mean=(0.0,), std=(1.0,))
    first = look((model, preprocess), images[0]).view.map.flatten()
    with torch.no_grad():
        ranking = answer_rollout(model, images)
    torch.testing.assert_close(first, ranking[0], atol=1e-3, rtol=0)  # a picture has 255 levels, a digit 16
    kept = removal_curve(model, images, labels, ranking.argsort(dim=1))[8]
    chance = removal_curve(model, images, labels, torch.rand(ranking.shape).argsort(dim=1))[8]
    assert kept > chance + 0.2


@every_kind
def test_a_page_can_be_made_of_each_kind(kind, tmp_path):
    found = look((made(kind), PREPROCESS), photograph(40, 30), control=True)
    found.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert found.answers[0][0] in page
    assert len(page) < 3_000_000
