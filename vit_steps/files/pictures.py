"""Pictures from the disk, as pixels of 8 bits: the first frame, upright, and within limits.

What a file may cost is decided before it is decoded. Both ``Preprocess`` and ``load_image_folder`` come here,
so that there is one rule for both: the formats in ``FORMATS``, no side above ``LONGEST`` pixels, no more
pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, and no header that sends its reader round and round.
"""

import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

# What cameras, browsers and data sets write, and nothing that Pillow hands to another program (EPS goes to
# Ghostscript), that holds measurements (FITS, SPIDER), or that no sign of its own tells (TGA).
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000")
OTHER_FORMATS = {
    rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript",
    rb"8BPS": "a Photoshop document",
    rb"%PDF": "PDF",
    rb"....ftyp(heic|heix|hevc|heim)": "HEIC",
    rb"\s*<(svg|\?xml)": "SVG",
}
LONGEST = 100_000  # pixels; a decoder keeps rows, and a row of millions takes more than its picture
WHOLE = 2**26  # bytes; WebP and AVIF are read at once
PIECES = 2**16  # strips or tiles of a TIFF
SCANS = 2**31  # pixels that a progressive JPEG may visit, over all of its scans
HEADER = 2**25  # bytes before the pixels, and after them
PLAIN = 2**21  # numbers of a PPM that writes them as text; Pillow reads them one by one
SHARES = {"JPEG2000": 4, "WEBP": 4, "AVIF": 2}  # how many times a JPEG's memory their decoders take

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BY_WAY_OF = {"La": "LA", "RGBa": "RGBA", "LAB": "RGB"}  # Pillow's convert knows no straight way from these
UNSIGNED, SIGNED = {3: 2, 4: 4}, {8: 2, 9: 4}  # types of EXIF that hold whole numbers, and their bytes
BITS_PER_SAMPLE, PHOTOMETRIC, TILE_WIDTH, TILE_LENGTH = 258, 262, 322, 323  # tags of a TIFF


class BadPicture(ValueError):
    """A file that is no picture, or none that is read here.

    Attributes:
        reason: what is wrong, without the file's name.
    """

    words = "is no picture that can be read"

    def __init__(self, path: str | os.PathLike, reason: object) -> None:
        self.reason = printable(str(reason))
        super().__init__(f"{printable(path)} {self.words}: {self.reason}")


class TooLarge(BadPicture):
    """A picture of too many pixels; who skips broken files does not skip this one."""

    words = "is refused as a decompression bomb"


def printable(text: str | os.PathLike) -> str:
    """What a terminal may be shown: control characters, and what cannot be encoded, are written out.

    >>> printable("cat\\x1b[2J.png")
    'cat\\\\x1b[2J.png'
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in os.fsdecode(text)
    )


def open_picture(path: str | os.PathLike, mode: str) -> Image.Image:
    """Read the first frame of a picture, turn it upright as its camera noted, and convert it.

    Args:
        path: of a file in one of ``FORMATS``; by what it holds, not by its ending.
        mode: "RGB" or "L", Pillow's names for colour and grey.

    Returns:
        The picture with 8 bits for each channel. Transparency is dropped, as Pillow's ``convert`` does it.

    Raises:
        FileNotFoundError: "there is no picture cat.png".
        BadPicture: a ValueError: "cat.png is no picture that can be read: ...".
        TooLarge: a ValueError: "cat.png is refused as a decompression bomb: ...".
    """
    _check_file(path)
    try:
        with _quiet(), _Metered(path) as file, Image.open(file, formats=_formats()) as picture:
            _check_cost(picture, file)
            file.allow_pixels(picture.width * picture.height, len(picture.tile))
            picture.load()
            upright = _turned(to_eight_bits(picture), file.exif)
            return _converted(upright, mode)
    except (BombFound, Image.DecompressionBombError) as error:
        raise TooLarge(path, error) from None
    except UnidentifiedImageError:
        raise BadPicture(path, _what_it_is(path)) from None
    except Exception as error:  # decoders of damaged files raise whatever they meet
        raise BadPicture(path, error or type(error).__name__) from error


def convert_picture(picture: Image.Image, mode: str) -> Image.Image:
    """Convert a Pillow image that somebody else opened to 8 bits, without turning it.

    Raises:
        ValueError: "image cannot be read: Operation on closed image".
    """
    try:
        with _quiet():
            picture.load()
            return _converted(to_eight_bits(picture), mode)
    except Exception as error:
        raise ValueError(f"image cannot be read: {printable(str(error) or type(error).__name__)}") from error


# Limits


class BombFound(Exception):
    """More pixels than are decoded here; :func:`open_picture` says whose."""


class _Metered(io.BufferedReader):
    """A file that counts what is read of it, and keeps EXIF for itself.

    Headers of a few megabytes can make a decoder read the same bytes thousands of times, or take its file
    byte by byte. And Pillow reads every tag of a JPEG's EXIF, to know its resolution; we want its orientation
    alone.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size
        self.calls, self.bytes = 10_000, min(self.size + 2**20, HEADER)
        self.exif = b""
        self.in_header = True
        self.is_jpeg = self.peek(2)[:2] == b"\xff\xd8"

    def allow_pixels(self, pixels: int, pieces: int) -> None:
        """From here on the pixels are read, at most eight bytes each, piece by piece."""
        self.calls = 10_000 + self.size // 128 + 4 * pieces
        self.bytes = HEADER + 2 * 8 * pixels + 2**16 * pieces
        self.in_header = False

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self._read_whole()
        block = super().read(size)
        self.calls, self.bytes = self.calls - 1, self.bytes - len(block)
        if self.calls < 0 or self.bytes < 0:
            raise ValueError("its header sends the reader round and round")
        if self.in_header and self.is_jpeg and block.startswith(b"Exif\0\0"):
            self.exif += block[6:] if len(self.exif) < 2**20 else b""
            return b"Kept\0\0" + block[6:]
        return block

    def _read_whole(self) -> bytes:
        if self.size > WHOLE:
            raise ValueError(f"it has {self.size} bytes, and at most {WHOLE} are read at once")
        return super().read()


def _check_file(path: str | os.PathLike) -> None:
    try:
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise FileNotFoundError(f"there is no picture {printable(path)}") from None
    except OSError as error:
        raise BadPicture(path, error.strerror or error) from None
    if stat.S_ISDIR(kind):
        raise FileNotFoundError(f"there is no picture {printable(path)}: it is a folder")
    if not stat.S_ISREG(kind):
        raise BadPicture(path, "it is a pipe or a device, and no file")


def _formats() -> list[str]:
    Image.init()  # a Pillow without AVIF or JPEG 2000 has no such key
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of odd tags and of transparency that is dropped; what is refused is said by us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_cost(picture: Image.Image, file: _Metered) -> None:
    width, height = picture.size
    _check_pixels(width, height, picture.format)
    tags = getattr(picture, "tag_v2", {})
    _check_pixels(tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1), picture.format)
    if len(picture.tile) > PIECES:
        raise ValueError(f"it has {len(picture.tile)} pieces, at most {PIECES} are read")
    numbers = width * height * len(picture.getbands())
    if numbers > PLAIN and any(tile[0] == "ppm_plain" for tile in picture.tile):
        raise ValueError(f"it writes {numbers} numbers as text, and at most {PLAIN} are read")
    if picture.info.get("progressive"):
        scans = _count_scans(file)
        if scans > 20 and scans * width * height > SCANS:
            raise ValueError(f"it has {scans} scans of {width * height} pixels: too many to read them all")


def _check_pixels(width: int, height: int, format_: str | None) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if max(width, height) > LONGEST:
        raise BombFound(f"{width} x {height} pixels, and a side has at most {LONGEST}")
    if limit is not None and width * height > limit:
        raise BombFound(f"{width * height} pixels, more than PIL.Image.MAX_IMAGE_PIXELS, {limit}")
    share = SHARES.get(format_, 1)
    if limit is not None and width * height > limit // share:
        raise BombFound(
            f"{width * height} pixels, more than {limit // share}: {format_} takes {share} x the memory"
        )


def _count_scans(file: _Metered) -> int:
    """How often a JPEG starts a scan; inside of one, 255 is followed by 0 or a restart, never by this."""
    place = file.tell()
    file.seek(0)
    scans, last = 0, b""
    while block := super(_Metered, file).read(2**20):
        scans += (last + block).count(b"\xff\xda")
        last = block[-1:]
    file.seek(place)
    return scans


def _what_it_is(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        start = file.read(64)
    for sign, name in OTHER_FORMATS.items():
        if re.match(sign, start, re.DOTALL):
            return f"it is {name}, and only {', '.join(FORMATS)} are read"
    return f"cannot identify image file {printable(path)!r}"


# Which way is up


def _turned(picture: Image.Image, exif: bytes) -> Image.Image:
    turn = TURNS.get(_orientation(picture, exif))
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Image.Image, exif: bytes) -> int | None:
    """As the camera noted it in EXIF, or a program in XMP. (Pillow turns a TIFF by itself.)"""
    if hasattr(picture, "tag_v2"):
        return None
    found = _exif_orientation(re.sub(rb"^(Exif\0\0){1,2}", b"", exif or _exif(picture)))
    if found is not None:
        return found
    notes = picture.info.get("XML:com.adobe.xmp") or picture.info.get("xmp") or b""
    notes = notes.encode("utf-8", "replace") if isinstance(notes, str) else bytes(notes)
    match = re.search(rb'tiff:Orientation(="|>)([0-9])', notes)
    return int(match[2]) if match else None


def _exif(picture: Image.Image) -> bytes:
    exif = picture.info.get("exif")
    if isinstance(exif, bytes):
        return exif
    try:  # ImageMagick writes it as text into a PNG
        return bytes.fromhex("".join(picture.info["Raw profile type exif"].split("\n")[3:]))
    except (KeyError, ValueError, AttributeError):
        return b""


def _exif_orientation(exif: bytes) -> int | None:
    """The one entry, and no other: the rest of the block may be damaged."""
    order = {b"MM": "big", b"II": "little"}.get(exif[:2])
    if order is None:
        return None

    def number(place: int, size: int, signed: bool = False) -> int:
        return int.from_bytes(exif[place : place + size], order, signed=signed)

    start, found = number(4, 4), None
    for place in range(start + 2, min(start + 2 + 12 * number(start, 2), len(exif) - 11), 12):
        kind, count = number(place + 2, 2), number(place + 4, 4)
        size = (UNSIGNED | SIGNED).get(kind)
        if number(place, 2) == ORIENTATION and size and count:
            value = place + 8 if size * count <= 4 else number(place + 8, 4)
            found = number(value, size, kind in SIGNED)
    return found


# Brightness


def to_eight_bits(picture: Image.Image) -> Image.Image:
    """Scale deep grey down to 8 bits; Pillow's convert would cut it off at 255, and give white.

    16 bits go from 0 to 65535 (12 of a TIFF: to 4095), and floats from 0 to 1. Of 32-bit whole numbers nobody
    says which is white, except in a PNG or PGM, where Pillow spreads 16 bits on them.

    Raises:
        ValueError: "it holds 32-bit whole numbers, and which of them is white ...", "it holds floats from -3
            to 812, and only ...".
    """
    if picture.mode == "F":
        brightness = _float_brightness(np.asarray(picture))
    elif picture.mode.startswith("I"):
        brightness = _whole_brightness(picture)
    else:
        return picture
    if getattr(picture, "tag_v2", {}).get(PHOTOMETRIC) == 0:  # of a TIFF whose 0 is white; Pillow looks away
        brightness = 255 - brightness
    return _with_notes(Image.fromarray(brightness), picture)


def _whole_brightness(picture: Image.Image) -> np.ndarray:
    if picture.mode == "I" and picture.format not in ("PNG", "PPM"):
        raise ValueError(
            "it holds 32-bit whole numbers, and which of them is white nobody says: save it with 8 or 16 bits"
        )
    bits = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    return (np.asarray(picture).astype(np.uint16) >> (bits - 8)).astype(np.uint8)


def _float_brightness(numbers: np.ndarray) -> np.ndarray:
    low, high = numbers.min(), numbers.max()
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"it holds floats from {low:.6g} to {high:.6g}, and only 0 for black to 1 for white has a meaning"
        )
    return (numbers * 255).round().astype(np.uint8)


def _with_notes(plain: Image.Image, picture: Image.Image) -> Image.Image:
    plain.info = {name: note for name, note in picture.info.items() if name != "transparency"}
    if hasattr(picture, "tag_v2"):
        plain.tag_v2 = picture.tag_v2
    return plain


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode in BY_WAY_OF:
        picture = picture.convert(BY_WAY_OF[picture.mode])
    return picture if picture.mode == mode else picture.convert(mode)
