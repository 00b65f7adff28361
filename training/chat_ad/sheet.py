"""Samples of a curated set as one picture, for a person to judge: template, query, words.

Knows no shard.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from adcopilot_edge.runtime.font import fit_text, text_font
from adcopilot_edge.runtime.thumbnails import outline, shrink
from adcopilot_edge.training.chat_ad.sample import fill_boxes
from adcopilot_edge.training.chat_ad.shards import ShardSet, StoredSample

# All lengths are pixels of the finished picture.
_SIDE = 220
_GAP = 8
_TEXT_WIDTH = 460
_LINE = 17
_COLUMNS = 2
_SHIFTS = 7
_TEXT_SIZE = 13

_BACKGROUND = "#f6f7f9"
_INK = "#1b1f24"
_FAINT = "#626c78"
_TRUTH = "#1a7f37"


def choose_samples(splits: Sequence[ShardSet], count: int) -> list[StoredSample]:
    """Samples spread evenly over all shards, at most ``count``."""
    total = sum(map(len, splits))
    # The shift keeps the choice out of step with the order of tasks, or all were of one.
    evenly = ((2 * place + 1) * total // (2 * count) + place % _SHIFTS for place in range(count))
    numbers = [min(number, total - 1) for number in evenly]
    chosen, start = [], 0
    for shards in splits:
        within = sorted({number - start for number in numbers})
        chosen += [shards[number] for number in within if 0 <= number < len(shards)]
        start += len(shards)
    return chosen


def draw_sheet(samples: Sequence[StoredSample]) -> Image.Image:
    """A grid of samples, two in a row: template, query with the true boxes, and the dialogue.

    Numbers in the dialogue are pixels of the query.

    Raises:
        InputError: A picture can't be read.
        ConfigError: This Pillow can't draw text.
    """
    width, height = 2 * (_SIDE + _GAP) + _TEXT_WIDTH + _GAP, _SIDE + 2 * _GAP
    rows = max(1, -(-len(samples) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * width, rows * height), _BACKGROUND)
    for index, stored in enumerate(samples):
        row, column = divmod(index, _COLUMNS)
        sheet.paste(_draw_cell(stored, (width, height)), (column * width, row * height))
    return sheet


def _draw_cell(stored: StoredSample, size: tuple[int, int]) -> Image.Image:
    cell = Image.new("RGB", size, _BACKGROUND)
    query = stored.query_image()
    pictures = [shrink(stored.template_image(), _SIDE), shrink(query, _SIDE)]
    scale = pictures[1].width / query.shape[1]
    outline(pictures[1], stored.sample.boxes, scale, _TRUTH)
    for place, picture in enumerate(pictures):
        cell.paste(picture, (_GAP + place * (_SIDE + _GAP), _GAP))
    _write(ImageDraw.Draw(cell), stored, _GAP + 2 * (_SIDE + _GAP))
    return cell


def _write(draw: ImageDraw.ImageDraw, stored: StoredSample, left: int) -> None:
    sample, font = stored.sample, text_font(_TEXT_SIZE)
    truth = ", ".join(dict.fromkeys(sample.labels)) or (
        "defective, place not known" if sample.is_anomaly else "normal"
    )
    head = f"{sample.source}/{sample.category}, {sample.task}: {truth}"
    lines = [(head, _FAINT)]
    for turn in fill_boxes(sample.turns, sample.bboxes, lambda box: box):
        ink = _FAINT if turn.role == "user" else _INK
        lines += [(line, ink) for line in _wrap(turn.text)]
    most = (_SIDE + _GAP) // _LINE
    if len(lines) > most:
        lines = [*lines[: most - 1], ("...", _FAINT)]
    for number, (line, ink) in enumerate(lines):
        text = fit_text(line, font, _TEXT_WIDTH)
        draw.text((left, _GAP + number * _LINE), text, fill=ink, font=font)


def _wrap(text: str) -> list[str]:
    """The text in lines that fit, broken between words."""
    font, lines = text_font(_TEXT_SIZE), []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > _TEXT_WIDTH:
                lines.append(line)
                longer = word
            line = longer
        if line:
            lines.append(line)
    return lines
