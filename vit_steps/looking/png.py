"""A figure as a PNG: drawn for a projector, packed for git, and shown as wide as it was meant."""

from io import BytesIO

PICTURE_DPI, SCREEN_DPI = 150, 100  # half as fine again as a screen needs, for a projector


def render(figure, *, dpi: int = PICTURE_DPI, facecolor: str = "auto") -> bytes:
    """Draw a matplotlib figure as a PNG that is quickly made and not yet small."""
    rendered = BytesIO()
    figure.draw_without_rendering()  # a first layout leaves no room for titles over pictures, a second does
    figure.savefig(rendered, format="png", dpi=dpi, facecolor=facecolor, pil_kwargs={"compress_level": 1})
    return rendered.getvalue()


def pack(picture: bytes) -> bytes:
    """Keep 255 colours of a PNG: no figure needs more, and the notebook stays small enough for git."""
    from PIL import Image

    packed = BytesIO()
    Image.open(BytesIO(picture)).convert("RGB").quantize(255).save(packed, format="png", optimize=True)
    return packed.getvalue()


def screen_width(picture: bytes) -> int:
    """Pixels of a screen that a PNG of ``PICTURE_DPI`` is meant to fill."""
    width = int.from_bytes(picture[16:20], "big")  # a PNG's header holds its width there
    return round(width * SCREEN_DPI / PICTURE_DPI)
