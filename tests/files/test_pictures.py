# ruff: noqa: E501 (one line for each bad picture)
"""One function opens a picture: the right pixels, upright, or a refusal that names the file, and soon."""

import io
import os
import struct
import sys
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from vit_steps.data import load_image_folder
from vit_steps.files.pictures import BadPicture, TooLarge, convert_picture, open_picture, printable
from vit_steps.pretrained.preprocess import Preprocess

SECONDS = 2.0  # for any bad picture, on a machine that does other things besides
RAMP = np.tile(np.linspace(0, 1, 256), (16, 1))  # its mean is .5


def _photo(height: int = 12, width: int = 20) -> Image.Image:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _prepared(path, size=(16, 256)) -> torch.Tensor:
    return Preprocess(size, (0.0,) * 3, (1.0,) * 3, squash=True, interpolation="nearest")(path)


# Which pixels


@pytest.mark.parametrize("name", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_mode_is_what_pillow_makes_of_it(name, mode):
    picture = _photo().convert("LA").convert("PA") if name == "PA" else _photo().convert(name)
    expected = picture.convert("RGB").convert(mode) if name == "LAB" else picture.convert(mode)
    assert np.array_equal(convert_picture(picture, mode), expected)


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_colours_that_were_multiplied_by_their_transparency_are_divided_again(mode):
    picture = Image.new(
        "LA" if mode == "La" else "RGBA", (2, 2), (100, 128) if mode == "La" else (100,) * 3 + (128,)
    )
    assert np.abs(np.asarray(convert_picture(picture.convert(mode), "RGB")).astype(int) - 100).max() <= 1


@pytest.mark.parametrize("transparency", [3, bytes(range(256))])
def test_a_palette_with_transparency_is_what_torchvision_makes_of_it(tmp_path, transparency):
    _photo().quantize(64).save(tmp_path / "a.png", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_picture(tmp_path / "a.png", "RGB")
        warnings.simplefilter("ignore")
        expected = Image.open(tmp_path / "a.png").convert("RGB")
    assert np.array_equal(found, expected)


def _pgm(levels: np.ndarray, most: int) -> bytes:
    return b"P5 %d %d %d\n" % (*levels.shape[::-1], most) + levels.astype(">u2").tobytes()


def _tiff(levels: np.ndarray, bits: int, kind: int = 1, white: int = 1) -> bytes:
    """A TIFF as plain as can be; kind 1 holds whole numbers, 2 signed ones, 3 floats."""
    height, width = levels.shape
    data = levels.tobytes()
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, white),
        (273, 8),
        (277, 1),
        (278, height),
    ]
    tags += [(279, len(data)), (339, kind)]
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags
    )
    header = b"II*\0" + struct.pack("<I", 8 + len(data)) + data
    return header + struct.pack("<H", len(tags)) + entries + bytes(4)


def _packed(levels: np.ndarray) -> np.ndarray:
    first, second = levels[:, ::2].astype(np.uint32), levels[:, 1::2].astype(np.uint32)
    three = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    return three.astype(np.uint8).reshape(len(levels), -1)


def _save(levels: np.ndarray, form: str) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(levels).save(kept, form)
    return kept.getvalue()


SIXTEEN, TWELVE = (RAMP * 65535).round().astype("<u2"), (RAMP * 4095).round().astype("<u2")
DEEP = {
    "16 bits, PNG": _save(SIXTEEN, "PNG"),
    "16 bits, TIFF": _tiff(SIXTEEN, 16),
    "16 bits, TIFF of Pillow": _save(SIXTEEN, "TIFF"),
    "16 bits, TIFF, 0 is white": _tiff(65535 - SIXTEEN, 16, white=0),
    "16 bits, PGM": _pgm(SIXTEEN, 65535),
    "12 bits, PGM": _pgm(TWELVE, 4095),
    "10 bits, PGM": _pgm((RAMP * 1023).round(), 1023),
    "floats, TIFF": _tiff(RAMP.astype("<f4"), 32, 3),
    "floats, TIFF, 0 is white": _tiff((1 - RAMP).astype("<f4"), 32, 3, white=0),
    "floats, PFM": b"Pf 256 16 -1\n" + RAMP.astype("<f4").tobytes(),
}
if features.check("jpg_2000"):
    DEEP["16 bits, JPEG 2000"] = _save(SIXTEEN, "JPEG2000")


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_deep_ramp_is_the_ramp(tmp_path, kind, channels):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ramp").write_bytes(DEEP[kind])
    expected = torch.from_numpy(RAMP[:1]).float().expand(16, 256)
    # One of 255 levels: 16 bits are cut to their higher 8, floats are rounded.
    assert (_prepared(tmp_path / "a" / "ramp")[0] - expected).abs().max() <= 1.01 / 255
    images = load_image_folder(tmp_path, size=16, channels=channels).images
    assert (images - expected[:, 120:136]).abs().max() <= 1.01 / 255


def test_twelve_bits_of_a_tiff_go_to_4095(tmp_path):
    data = _tiff(_packed(TWELVE), 12)
    width = struct.pack("<HHII", 256, 3, 1, 384)
    (tmp_path / "a").write_bytes(data.replace(width, struct.pack("<HHII", 256, 3, 1, 256)))
    assert abs(_prepared(tmp_path / "a").mean() - 0.5) < 1 / 255


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_tiff((RAMP * 255).astype("<i4"), 32, 2), "32-bit whole numbers"),
        (_tiff((RAMP * 65535).astype("<u4"), 32, 1), "32-bit whole numbers"),
        (_tiff((RAMP * 999).astype("<i2"), 16, 2), "32-bit whole numbers"),
        (
            _tiff((RAMP * 255).astype("<f4"), 32, 3),
            "floats from 0 to 255, and only 0 for black to 1 for white",
        ),
        (_tiff((RAMP - 0.5).astype("<f4"), 32, 3), "floats from -0.5 to 0.5, and only"),
        (_tiff((RAMP * np.nan).astype("<f4"), 32, 3), "floats from nan to nan, and only"),
    ],
)
def test_numbers_whose_range_nobody_says_are_refused(tmp_path, data, words):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deep.tif").write_bytes(data)
    for read in (_prepared, lambda path: load_image_folder(tmp_path, size=4)):
        with pytest.raises(ValueError, match=rf"deep\.tif.*{words}"):
            read(tmp_path / "a" / "deep.tif")


def test_pictures_that_somebody_else_opened_follow_the_same_rule():
    assert abs(_prepared(Image.fromarray(SIXTEEN)).mean() - 0.5) < 1 / 255
    assert abs(_prepared(Image.fromarray(RAMP.astype(np.float32))).mean() - 0.5) < 1 / 255
    for mode in ("I", "F"):
        with pytest.raises(ValueError, match="image cannot be read: it holds"):
            _prepared(_photo().convert("L").convert(mode))


def test_a_closed_or_damaged_picture_is_refused_by_name(tmp_path):
    _photo(300, 300).save(tmp_path / "a.jpg")
    closed = Image.open(tmp_path / "a.jpg")
    closed.close()
    whole = (tmp_path / "a.jpg").read_bytes()
    damaged = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    for picture in (closed, damaged):
        with pytest.raises(ValueError, match="image cannot be read: "):
            _prepared(picture)


# Which way is up


WAYS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # what the camera noted -> Pillow's number of the turn
PLACE = 6 + 8 + 2 + 12  # of the orientation among the bytes of EXIF


def _exif(orientation: int, order: str, kind: str = "H") -> bytes:
    """As a camera writes it: its name, the orientation, resolution, and two directories that lie elsewhere."""
    entries = [(0x010F, 2, 6, struct.pack(order + "I", 86)), (0x0112, 3 if kind == "H" else 4, 1, None)]
    entries += [
        (0x011A, 5, 1, struct.pack(order + "I", 92)),
        (0x0128, 3, 1, struct.pack(order + "H", 2) + bytes(2)),
    ]
    entries += [(tag, 4, 1, struct.pack(order + "I", 100)) for tag in (0x8769, 0x8825)]
    number = struct.pack(order + kind, orientation).ljust(4, b"\0")
    body = b"".join(struct.pack(order + "HHI", *e[:3]) + (e[3] or number) for e in entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    rest = bytes(4) + b"Camera" + struct.pack(order + "II", 72, 1) + struct.pack(order + "H", 1)
    return b"Exif\0\0" + head + body + rest + struct.pack(order + "HHI", 0x9003, 2, 4) + b"2020"


JPEG = _save(np.asarray(_photo(8, 16)), "JPEG")
UPRIGHT = Image.open(io.BytesIO(JPEG)).convert("RGB")


def _jpeg_with(exif: bytes, *, jfif: bool) -> bytes:
    start, rest = (JPEG[:20], JPEG[20:]) if jfif else (JPEG[:2], JPEG[20:])
    return start + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + rest


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(Image.Transpose(WAYS[orientation])) if orientation in WAYS else picture


def test_what_else_is_damaged_in_exif_turns_nothing_and_stops_nothing(tmp_path):
    """3,000 JPEGs; in each, bytes of EXIF are other ones, and the entry of the orientation is as it was."""
    rng, path = np.random.default_rng(0), tmp_path / "a.jpg"
    harmless = [place for place in range(16, PLACE + 110) if not PLACE <= place < PLACE + 12]
    odd = 0
    for number in range(3000):
        orientation, order = number % 8 + 1, "<>"[number // 8 % 2]
        exif = bytearray(_exif(orientation, order, "HI"[number // 16 % 2]))
        for place in rng.choice(harmless, rng.integers(1, 9)):
            if place < len(exif):
                exif[place] = rng.integers(256)
        path.write_bytes(_jpeg_with(bytes(exif), jfif=bool(number // 32 % 2)))
        expected = _turned(UPRIGHT, orientation)
        assert np.array_equal(open_picture(path, "RGB"), expected), exif
        odd += _stops_pillow(path)
    assert odd > 0  # or nothing was tried


def _stops_pillow(path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ImageOps.exif_transpose(Image.open(path))
        except Exception:
            return True
    return False


FORMS = [form for form in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") if form != "AVIF" or features.check("avif")]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", FORMS)
def test_a_picture_stands_as_pillow_would_turn_it(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    _photo().save(tmp_path / "a", form, exif=exif, **({"compression": "tiff_lzw"} if form == "TIFF" else {}))
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "a")).convert("RGB")
    assert np.array_equal(open_picture(tmp_path / "a", "RGB"), expected)


def test_an_orientation_may_stand_in_xmp_alone(tmp_path):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    _photo().save(tmp_path / "a.jpg", xmp=xmp)
    expected = _turned(Image.open(tmp_path / "a.jpg"), 6)
    assert np.array_equal(open_picture(tmp_path / "a.jpg", "RGB"), expected)


# What is refused


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, *, extra: bytes = b"", after: bytes = b"", bits: int = 1) -> bytes:
    """Black, one bit for each pixel, and whatever else."""
    rows = zlib.compress(bytes(((width * bits + 7) // 8 + 1) * height), 9)
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + extra
        + _chunk(b"IDAT", rows)
        + after
        + _chunk(b"IEND", b"")
    )


def _scans() -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (1600, 1600)).save(kept, "JPEG", progressive=True)
    data = kept.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 2000 + data[-2:]


def _tags(count: int) -> bytes:
    """A TIFF whose thousands of tags all point to the same megabytes."""
    plain = _tiff(np.zeros((4, 4), np.uint8), 8)
    place = plain.index(struct.pack("<H", 10) + struct.pack("<HH", 256, 3))
    more = b"".join(struct.pack("<HHII", 40000 + tag, 1, 2**22, 8) for tag in range(count))
    return plain[:place] + struct.pack("<H", 10 + count) + plain[place + 2 : -4] + more + bytes(2**22)


def _tile() -> bytes:
    tags = {256: 4, 257: 4, 258: 8, 259: 8, 262: 1, 277: 1, 322: 40000, 323: 40000, 324: 8, 325: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(40)


def _gif(comment: int) -> bytes:
    plain = _save(np.zeros((4, 4), np.uint8), "GIF")
    place = plain.index(b",\0\0\0\0")
    return plain[:place] + b"!\xfe" + (b"\xff" + b"a" * 255) * comment + b"\0" + plain[place:]


ROUND = "its header sends the reader round and round"
BAD = {
    "empty": (lambda: b"", "cannot identify image file"),
    "text": (lambda: b"hello", "cannot identify image file"),
    "EPS": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "it is PostScript, and only JPEG"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic" + bytes(99), "it is HEIC, and only JPEG"),
    "half a PNG": (lambda: _save(np.asarray(_photo(200, 200)), "PNG")[:9000], "truncated"),
    "200 megapixels": (lambda: _png(15000, 14000), "bomb: .*210000000 pixels"),
    "144 megapixels": (lambda: _png(12000, 12000), "bomb: 144000000 pixels, more than .* 89478485"),
    "a row of a million": (lambda: _png(1_000_000, 1), "bomb: 1000000 x 1 pixels, and a side has at most 100000"),
    "ICC that unpacks": (lambda: _png(4, 4, extra=_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))), "too large"),
    "zTXt that unpacks": (lambda: _png(4, 4, extra=_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "too large"),
    "a long text": (lambda: _png(4, 4, extra=_chunk(b"tEXt", b"a\0" + b"b" * 10**8)), ROUND),
    "a long text afterwards": (lambda: _png(4, 4, after=_chunk(b"tEXt", b"a\0" + b"b" * 10**8)), ROUND),
    "many texts": (lambda: _png(4, 4, extra=_chunk(b"tEXt", b"a\0b") * 200_000), ROUND),
    "many texts afterwards": (lambda: _png(4, 4, after=_chunk(b"tEXt", b"a\0b") * 200_000), ROUND),
    "many tags": (lambda: _tags(20_000), ROUND),
    "a large tile": (_tile, "bomb: 1600000000 pixels"),
    "a large GIF": (lambda: b"GIF89a" + b"\xff" * 4 + _gif(0)[10:], "bomb: "),
    "a long comment": (lambda: _gif(100_000), ROUND),
    "a long comment in a PGM": (lambda: b"P5\n#" + b"a" * 10**7 + b"\n4 4 255\n" + bytes(16), ROUND),
    "a PPM in words": (lambda: b"P3 2000 2000 255\n" + b"1 " * 12_000_000, "12000000 numbers as text"),
    "filling": (lambda: b"\xff\xd8" + b"\xff" * 10**7 + _save(np.asarray(_photo()), "JPEG")[2:], ROUND),
    "many scans": (_scans, r"2010 scans of 2560000 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_answered_soon_and_by_name(tmp_path, kind):
    make, words = BAD[kind]
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "bad.png"
    path.write_bytes(make())
    for read in (_prepared, lambda path: load_image_folder(tmp_path, size=4)):
        began = time.process_time()
        with pytest.raises(ValueError, match=rf"bad\.png.*{words}"):
            read(path)
        assert time.process_time() - began < SECONDS


def _many_frames(form: str) -> bytes:
    if form == "GIF":
        plain = _gif(0)
        return plain[:-1] + (b"!\xf9\x04\0\1\0\0\0" + plain[plain.index(b",\0\0\0\0") : -1]) * 100_000 + b";"
    head = struct.pack(">IIIIIHHBB", 0, 4, 4, 0, 0, 1, 10, 0, 0)
    frame = _chunk(b"fcTL", head) + _chunk(b"fdAT", bytes(4) + zlib.compress(bytes(8)))
    extra = _chunk(b"acTL", struct.pack(">II", 100_001, 0)) + _chunk(b"fcTL", head)
    return _png(4, 4, extra=extra, after=frame * 100_000)


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_of_a_hundred_thousand_frames_the_first_is_read(tmp_path, form):
    (tmp_path / "a").write_bytes(_many_frames(form))
    began = time.process_time()
    assert open_picture(tmp_path / "a", "L").size == (4, 4)
    assert time.process_time() - began < SECONDS


def test_only_the_formats_that_are_meant_are_opened(tmp_path, monkeypatch):
    """No other program is started, whatever stands on the path, and a SPIDER is no picture."""
    started = []
    monkeypatch.setattr("subprocess.check_call", lambda *args, **kw: started.append(args))
    monkeypatch.setattr("subprocess.Popen", lambda *args, **kw: started.append(args))
    (tmp_path / "a.png").write_bytes(BAD["EPS"][0]())
    # Pillow takes the ending of a SPIDER for SPIDER's from then on, in the whole process.
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "b.spi", "SPIDER")
    (tmp_path / "b.spi").rename(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with pytest.raises(BadPicture, match=name):
            open_picture(tmp_path / name, "RGB")
    assert not started


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes among the files")
@pytest.mark.parametrize("kind", ["pipe", "device", "link to nothing", "folder"])
def test_what_is_no_file_is_refused_without_reading_it(tmp_path, kind):
    path = tmp_path / "a" / "bad.png"
    path.parent.mkdir()
    make = {"pipe": os.mkfifo, "folder": os.mkdir}.get(kind)
    target = {"device": "/dev/zero", "link to nothing": "nowhere"}.get(kind)
    make(path) if make else path.symlink_to(target)
    with pytest.raises((ValueError, FileNotFoundError), match=r"bad\.png"):
        open_picture(path, "RGB")
    if kind != "folder":
        with pytest.raises(ValueError, match=r"cannot read .*bad\.png: it is "):
            load_image_folder(tmp_path, size=4)


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    _photo().save(tmp_path / "a.png")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("io.FileIO", refuse)
    with pytest.raises(BadPicture, match=r"a\.png is no picture that can be read: .*Permission denied"):
        open_picture(tmp_path / "a.png", "RGB")


def test_the_limit_is_pillows_own(tmp_path, monkeypatch):
    _photo(100, 100).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_999)
    with pytest.raises(TooLarge, match=r"a\.png is refused as a decompression bomb: 10000 pixels, .* 9999"):
        open_picture(tmp_path / "a.png", "RGB")
    for limit in (10_000, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert open_picture(tmp_path / "a.png", "RGB").size == (100, 100)


def test_nothing_of_a_files_name_reaches_the_terminal(tmp_path):
    name = "a\x1b[2J\n\u202ecat.png"
    for path in (tmp_path / name, os.fsencode(tmp_path / name) + b"\xff"):
        with pytest.raises(FileNotFoundError) as caught:
            open_picture(os.fsdecode(path), "RGB")
        assert str(caught.value).isprintable()
    assert printable("a\x1b[2J\\ö.png") == "a\\x1b[2J\\ö.png"
    with pytest.raises(FileNotFoundError, match=r"there is no picture a\\x00b"):
        open_picture("a\0b", "RGB")
