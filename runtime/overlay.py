"""One inspection as one picture for people: what was compared, what was found, how sure.

The parts are strips of equal width, stacked: header with the verdict, panels, footer with the
model's words and the legend.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.font import fit_text, text_font, wrap_text
from adcopilot_edge.runtime.heat import draw_heat, heat_colours
from adcopilot_edge.runtime.marks import SOURCE_COLOURS, draw_marks
from adcopilot_edge.types import BoxSource, ImageArray, Inspection, Verdict

# All lengths are pixels of the finished picture.
_PANEL_HEIGHT = 560  # side by side
_PANEL_WIDTH = 1120  # one below the other, for pictures more than twice as wide as high
_MIN_WIDTH = 760  # the header needs it
_MIN_COLUMN = 120  # a caption needs it
_MARGIN = 20
_HEADER_HEIGHT = 72
_CAPTION_HEIGHT = 34
_LINE_HEIGHT = 26

_BACKGROUND = "#f6f7f9"
_INK = "#1b1f24"
_FAINT = "#626c78"
_BORDER = "#c9cfd6"

_VERDICT_COLOURS: dict[Verdict, tuple[str, str]] = {  # ground and ink
    "normal": ("#1a7f37", "white"),
    "anomaly": ("#bf1f2c", "white"),
    "uncertain": ("#f5b301", _INK),
}
_SOURCE_MEANINGS: dict[BoxSource, str] = {
    "text": "box in the model's answer",
    "map": "box from the anomaly map",
}
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}


@dataclass(frozen=True, slots=True)
class _Panel:
    """A picture at its final size with its caption."""

    title: str
    remark: str
    picture: Image.Image


def draw_overlay(golden: ImageArray, test: ImageArray, inspection: Inspection) -> Image.Image:
    """Return the inspection as an RGB picture.

    Panels: the golden image, the test image with the boxes, and, where the inspection has an
    anomaly map, the test image in grey under the map. Each is 560 pixels high, or 1120 wide
    where the test image is more than twice as wide as high.

    Args:
        golden: (H, W, 3) uint8 RGB.
        test: (H, W, 3) uint8 RGB, in whose pixels the boxes of ``inspection`` are.
        inspection: What is drawn.

    Raises:
        ConfigError: This Pillow can't draw text.
    """
    is_wide = test.shape[1] > 2 * test.shape[0]
    panels = _make_panels(golden, test, inspection, is_wide=is_wide)
    body = _stack_panels(panels, is_wide=is_wide)
    strips = [_make_header(inspection, body.width), body, _make_footer(inspection, body.width)]
    overlay = Image.new("RGB", (body.width, sum(strip.height for strip in strips)), _BACKGROUND)
    y = 0
    for strip in strips:
        overlay.paste(strip, (0, y))
        y += strip.height
    return overlay


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write ``image`` whole or not at all; the extension chooses the format.

    Raises:
        ConfigError: The extension is none of .png, .jpg, .jpeg, .webp and .bmp, or the file
            can't be written.
    """
    target = Path(path)
    file_format = _FORMATS.get(target.suffix.lower())
    if file_format is None:
        raise ConfigError(
            f"can't tell the image format of {target}: the extension '{target.suffix}' is none "
            f"of {', '.join(_FORMATS)}. Choose one of them"
        )
    if not target.parent.is_dir():
        raise ConfigError(f"can't write {target}: there is no folder {target.parent}. Create it")
    encoded = io.BytesIO()
    image.save(encoded, format=file_format, quality=92)
    try:
        with atomic_write(target) as file:
            file.write(encoded.getbuffer())
    except OSError as err:
        raise ConfigError(
            f"can't write {target}: {err}. Check the permissions and the free space"
        ) from err


def _make_panels(
    golden: ImageArray, test: ImageArray, inspection: Inspection, *, is_wide: bool
) -> list[_Panel]:
    """Return the panels from left to right."""
    shown_golden, shown_test = _fit(golden, is_wide=is_wide), _fit(test, is_wide=is_wide)
    marked = shown_test.copy()
    draw_marks(marked, inspection.defects, shown_test.width / test.shape[1])
    count = len(inspection.defects)
    boxes = "no box" if count == 0 else "1 box" if count == 1 else f"{count} boxes"
    panels = [
        _Panel("Golden", f"{golden.shape[1]} x {golden.shape[0]}", shown_golden),
        _Panel("Test", f"{test.shape[1]} x {test.shape[0]}, {boxes}", marked),
    ]
    if inspection.anomaly_map is not None:
        peak = f"peak {inspection.anomaly_map.max():.2f}"
        panels.append(_Panel("Anomaly map", peak, draw_heat(shown_test, inspection.anomaly_map)))
    return panels


def _fit(image: ImageArray, *, is_wide: bool) -> Image.Image:
    """Scale an (H, W, 3) image to the size of a panel."""
    height, width = image.shape[:2]
    scale = _PANEL_WIDTH / width if is_wide else _PANEL_HEIGHT / height
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)


def _stack_panels(panels: Sequence[_Panel], *, is_wide: bool) -> Image.Image:
    """Return the panels under their captions, beside each other or one below the other."""
    widths = [max(panel.picture.width, _MIN_COLUMN) for panel in panels]
    heights = [panel.picture.height + _CAPTION_HEIGHT + _MARGIN // 2 for panel in panels]
    if is_wide:
        width, height = max(widths) + 2 * _MARGIN, sum(heights)
    else:
        width, height = sum(widths) + (len(panels) + 1) * _MARGIN, max(heights)
    strip = Image.new("RGB", (max(width, _MIN_WIDTH), height), _BACKGROUND)
    draw = ImageDraw.Draw(strip)
    x, y = _MARGIN, 0
    for panel, panel_width, panel_height in zip(panels, widths, heights, strict=True):
        _draw_caption(draw, panel, x, y)
        top = y + _CAPTION_HEIGHT
        strip.paste(panel.picture, (x, top))
        edge = (x - 1, top - 1, x + panel.picture.width, top + panel.picture.height)
        draw.rectangle(edge, outline=_BORDER)
        x, y = (x, y + panel_height) if is_wide else (x + panel_width + _MARGIN, y)
    return strip


def _draw_caption(draw: ImageDraw.ImageDraw, panel: _Panel, x: int, y: int) -> None:
    """Write title and remark above a panel; the remark gives way where the panel is narrow."""
    title, remark = text_font(17), text_font(14)
    baseline = y + _CAPTION_HEIGHT - 10
    draw.text((x, baseline), panel.title, fill=_INK, font=title, anchor="ls")
    right = x + panel.picture.width
    if title.getlength(panel.title) + remark.getlength(panel.remark) + 12 <= panel.picture.width:
        draw.text((right, baseline), panel.remark, fill=_FAINT, font=remark, anchor="rs")


def _make_header(inspection: Inspection, width: int) -> Image.Image:
    """Return the coloured bar with verdict, score and time."""
    ground, ink = _VERDICT_COLOURS[inspection.verdict]
    header = Image.new("RGB", (width, _HEADER_HEIGHT), ground)
    draw = ImageDraw.Draw(header)
    middle = _HEADER_HEIGHT // 2
    verdict = inspection.verdict.upper()
    # The typeface has no bold cut; an outline of its own colour makes one.
    font = text_font(34)
    draw.text((_MARGIN, middle), verdict, fill=ink, font=font, anchor="lm", stroke_width=1)
    total_ms = inspection.timings_ms.get("total", sum(inspection.timings_ms.values()))
    facts = [("anomaly score", f"{inspection.anomaly_score:.3f}"), ("total", f"{total_ms:,.0f} ms")]
    right = width - _MARGIN
    for name, value in reversed(facts):
        draw.text((right, middle - 4), value, fill=ink, font=text_font(24), anchor="rs")
        draw.text((right, middle + 22), name, fill=ink, font=text_font(14), anchor="rs")
        right -= 130
    return header


def _make_footer(inspection: Inspection, width: int) -> Image.Image:
    """Return the strip with the model's description, the notes and the legend."""
    room = width - 2 * _MARGIN
    words, small = text_font(17), text_font(14)
    lines = [
        (line, words, _INK)
        for line in wrap_text(inspection.text.get("describe", ""), words, room, max_lines=2)
    ]
    if inspection.notes:
        note = fit_text("Note: " + ", ".join(inspection.notes), small, room)
        lines.append((note, small, _INK))
    footer = Image.new("RGB", (width, (len(lines) + 1) * _LINE_HEIGHT + _MARGIN), _BACKGROUND)
    draw = ImageDraw.Draw(footer)
    y = _MARGIN // 2 + _LINE_HEIGHT // 2
    for line, font, ink in lines:
        draw.text((_MARGIN, y), line, fill=ink, font=font, anchor="lm")
        y += _LINE_HEIGHT
    end = _draw_legend(footer, inspection, y)
    origin = ", ".join((inspection.bundle, inspection.provider, inspection.precision))
    origin = fit_text(origin, small, width - _MARGIN - end)
    draw.text((width - _MARGIN, y), origin, fill=_FAINT, font=small, anchor="rm")
    return footer


def _draw_legend(footer: Image.Image, inspection: Inspection, y: int) -> int:
    """Explain the colours in use, on one line around ``y``; return where the line ends."""
    draw = ImageDraw.Draw(footer)
    font = text_font(14)
    x = _MARGIN
    sources = {defect.source for defect in inspection.defects}
    for source in sorted(sources, reverse=True):
        draw.rectangle((x, y - 6, x + 16, y + 6), outline=SOURCE_COLOURS[source], width=3)
        draw.text((x + 24, y), _SOURCE_MEANINGS[source], fill=_FAINT, font=font, anchor="lm")
        x += 24 + round(font.getlength(_SOURCE_MEANINGS[source])) + 24
    if inspection.anomaly_map is not None:
        ramp = heat_colours(np.linspace(0, 1, 120, dtype=np.float32))
        footer.paste(Image.fromarray(np.repeat(ramp[np.newaxis], 12, axis=0)), (x + 16, y - 6))
        draw.text((x, y), "0", fill=_FAINT, font=font, anchor="lm")
        draw.text((x + 144, y), "1", fill=_FAINT, font=font, anchor="lm")
        x += 180
    return x
