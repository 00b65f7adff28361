"""The course of runs as one picture: scores and losses over their steps, a line for each run.

Reads the log of a run and nothing else, so that it draws runs that are under way too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.font import fit_text, text_font

LOG_NAME = "log.jsonl"
Curve = Sequence[tuple[int, float]]
"""Steps, rising, each with a value."""

MAX_RUNS = 6
_COLOURS = ("#1259c3", "#c2410c", "#1a7f37", "#6b3fa0", "#0e7490", "#a16207")
_FIGURES = {
    "verdict": "verdict, balanced accuracy",
    "map_verdict": "verdict by the map, balanced accuracy",
    "map_iou": "map, IoU of cells",
    "map_miou": "map, mean IoU of boxes",
    "map_types": "map, types of patches",
    "text_miou": "words, mean IoU of boxes",
}
_DIALOGUE_FIGURES = {
    ("loss", "all"): "loss of what is said",
    ("token_accuracy", "all"): "tokens of what is said, share predicted",
    ("answers", "choice"): "choices, share right",
    ("answers", "boxes"): "places of defects, IoU",
    ("answers", "normal"): "normal parts, share without a place",
}
_SMOOTHING = 0.8  # of what was before, in a curve of losses

# All lengths are pixels of the finished picture.
_PANEL = (440, 260)
_MARGIN = 20
_LEFT, _TOP, _BOTTOM = 46, 34, 24
_LEGEND = 40

_BACKGROUND = "#f6f7f9"
_INK = "#1b1f24"
_FAINT = "#626c78"
_GRID = "#c9cfd6"


def read_curves(run: Path) -> dict[str, Curve]:
    """The scores of each set and the losses of a run, by their titles.

    Of a step that was done twice, since the run was interrupted, the last value counts. A line that
    is still being written is left out. Raises ConfigError where ``run`` has no log.
    """
    path = run / LOG_NAME
    if not path.is_file():
        raise ConfigError(f"{run} has no {LOG_NAME}: it is not the folder of a training run")
    found: dict[str, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        for title, value in _values(event).items():
            found.setdefault(title, {})[event["step"]] = value
    curves: dict[str, Curve] = {title: sorted(values.items()) for title, values in found.items()}
    return {
        title: _smoothed(curve) if title.startswith("loss") else curve
        for title, curve in curves.items()
    }


def draw_curves(runs: Mapping[str, Mapping[str, Curve]]) -> Image.Image:
    """A panel for each title that a run has, two in a row, scores first.

    Args:
        runs: By name, at most ``MAX_RUNS``: curves by title.

    Raises:
        ConfigError: There are more runs, none has a curve, or this Pillow can't draw text.
    """
    if len(runs) > MAX_RUNS:
        raise ConfigError(f"at most {MAX_RUNS} runs fit into one picture, got {len(runs)}")
    every = dict.fromkeys(title for curves in runs.values() for title in curves)
    titles = sorted(every, key=lambda title: title.startswith("loss"))
    if not titles:
        raise ConfigError("there is nothing to draw yet: no run has logged a step")
    width, height = (side + _MARGIN for side in _PANEL)
    rows = -(-len(titles) // 2)
    sheet = Image.new("RGB", (2 * width + _MARGIN, rows * height + _LEGEND), _BACKGROUND)
    last = max(curve[-1][0] for curves in runs.values() for curve in curves.values())
    for index, title in enumerate(titles):
        lines = [
            (curves[title], colour)
            for curves, colour in zip(runs.values(), _COLOURS, strict=False)
            if title in curves
        ]
        row, column = divmod(index, 2)
        sheet.paste(_draw_panel(title, lines, last), (_MARGIN + column * width, row * height))
    draw = ImageDraw.Draw(sheet)
    x, y = float(_MARGIN), rows * height + _LEGEND // 2
    for name, colour in zip(runs, _COLOURS, strict=False):
        draw.line((x, y, x + 18, y), fill=colour, width=3)
        draw.text((x + 24, y), name, fill=_INK, font=text_font(14), anchor="lm")
        x += 24 + text_font(14).getlength(name) + 24
    return sheet


def _values(event: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an event by the titles of their panels."""
    if event["event"] == "step":
        return {f"loss, {name}": value for name, value in event["loss"].items()}
    if event["event"] != "evaluation":
        return {}
    return {
        f"{name}: {title}": value
        for name, scores in event["scores"].items()
        for title, value in _titled(scores).items()
        if value is not None
    }


def _titled(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """What is drawn of the scores of one set; of dialogues all tasks together."""
    if "num_dialogues" in scores:
        return {
            title: scores[figure].get(part) for (figure, part), title in _DIALOGUE_FIGURES.items()
        }
    return {title: scores.get(figure) for figure, title in _FIGURES.items()}


def _smoothed(curve: Curve) -> Curve:
    """The running mean, in which older values fade."""
    smooth: list[tuple[int, float]] = []
    for step, value in curve:
        before = smooth[-1][1] if smooth else value
        smooth.append((step, _SMOOTHING * before + (1 - _SMOOTHING) * value))
    return smooth


def _draw_panel(title: str, lines: Sequence[tuple[Curve, str]], last: int) -> Image.Image:
    panel = Image.new("RGB", _PANEL, _BACKGROUND)
    draw = ImageDraw.Draw(panel)
    fitted = fit_text(title, text_font(15), _PANEL[0])
    draw.text((0, _TOP // 2), fitted, fill=_INK, font=text_font(15), anchor="lm")
    # Scores share one scale, losses begin at 0.
    peak = max(value for curve, _ in lines for _, value in curve)
    is_loss = title.startswith("loss") or title.endswith(_DIALOGUE_FIGURES["loss", "all"])
    top = peak * 1.05 if is_loss and peak > 0 else 1.0
    left, right, bottom = _LEFT, _PANEL[0] - 8, _PANEL[1] - _BOTTOM
    for quarter in range(5):
        y = bottom - (bottom - _TOP) * quarter / 4
        draw.line((left, y, right, y), fill=_GRID)
        label = f"{top * quarter / 4:.2f}"
        draw.text((left - 6, y), label, fill=_FAINT, font=text_font(12), anchor="rm")
    draw.text((left, bottom + 12), "0", fill=_FAINT, font=text_font(12), anchor="mm")
    draw.text((right, bottom + 12), f"{last:,}", fill=_FAINT, font=text_font(12), anchor="rm")
    for curve, colour in lines:
        points = [
            (
                left + (right - left) * step / max(1, last),
                bottom - (bottom - _TOP) * min(max(value / top, 0.0), 1.0),
            )
            for step, value in curve
        ]
        if len(points) > 1:
            draw.line(points, fill=colour, width=2, joint="curve")
        x, y = points[-1]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    return panel
