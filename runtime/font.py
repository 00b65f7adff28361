"""The one typeface of the pictures: Aileron, which Pillow carries inside, so no file is needed."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont, features

from adcopilot_edge.errors import ConfigError

# Beside ASCII, the font has few letters, and would draw an empty box for any other.
_BEYOND_ASCII = frozenset("©«°±·»‘’“”…‹›™")  # noqa: RUF001
_STAND_INS = str.maketrans("–—−×µμ", "---xuu")  # noqa: RUF001


@lru_cache(maxsize=16)
def text_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font at ``size`` pixels.

    Raises:
        ConfigError: This Pillow was built without FreeType (the wheels of PyPI have it).
    """
    if not features.check("freetype2"):
        raise ConfigError(
            "drawing text needs a Pillow with FreeType, and this one was built without it. "
            "Install the wheel: pip install --force-reinstall --only-binary :all: pillow"
        )
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def fit_text(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return ``text`` on one line, cut with an ellipsis where it is wider than ``width`` pixels."""
    line = " ".join(_drawable(text).split())
    if font.getlength(line) <= width:
        return line
    kept = len(line)
    while kept > 1 and font.getlength(line[:kept].rstrip() + "…") > width:
        kept -= 1
    return line[:kept].rstrip() + "…"


def wrap_text(text: str, font: ImageFont.FreeTypeFont, width: float, max_lines: int) -> list[str]:
    """Return ``text`` in at most ``max_lines`` lines of ``width`` pixels; the last may be cut."""
    words = _drawable(text).split()
    lines: list[str] = []
    while words and len(lines) < max_lines - 1:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        lines.append(fit_text(" ".join(words[:count]), font, width))
        words = words[count:]
    if words:
        lines.append(fit_text(" ".join(words), font, width))
    return lines


def _drawable(text: str) -> str:
    """Return ``text`` in characters that the font has: accents dropped, the unknown as "?"."""
    plain: list[str] = []
    for character in text.translate(_STAND_INS):
        if character in _BEYOND_ASCII:
            plain.append(character)
            continue
        base = unicodedata.normalize("NFKD", character)[0]
        if not unicodedata.combining(base):
            plain.append(base if base.isascii() else "?")
    return "".join(plain)
