"""The edits: an object added, removed or moved, and an area recoloured. No model paints anything.

Each works on a canvas and says which pixels differ afterwards. Knows neither photographs' files nor
cameras.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from adcopilot_edge.training.changes.regions import Region, draw_region
from adcopilot_edge.training.changes.visible import MIN_AREA, changed_pixels
from adcopilot_edge.training.synthetic.canvas import log_uniform, to_image
from adcopilot_edge.training.synthetic.drawing import Mark, is_clear, visible_area
from adcopilot_edge.training.synthetic.records import padded_bounds
from adcopilot_edge.types import FloatArray, MaskArray

Donor = Callable[[np.random.Generator, int], Image.Image]
"""Gives a square picture of so many pixels a side, mode ``RGB``, to cut objects from."""

ADDED, REMOVED = "added object", "removed object"
RECOLOURED, MOVED = "recoloured area", "moved object"
CHANGE_LABELS = (ADDED, REMOVED, RECOLOURED, MOVED)
_SHARES = (0.35, 0.25, 0.22, 0.18)
_TRIES = 6
_CLONES = 24
_LARGEST_TONE_SHIFT = 40.0
_LARGEST_MISFIT = 16.0
"""Grey levels by which the rim of a patch may differ on average; more where the rim is not even."""
_ROOM_PX = 10
"""Two marks of a moved object whose boxes would touch with this room are one."""


def change_canvas(
    rng: np.random.Generator, canvas: Image.Image, donor: Donor, num_edits: int
) -> tuple[Image.Image, list[Mark]]:
    """``canvas`` with up to ``num_edits`` visible edits apart from each other, and their marks.

    An edit that can't be seen, or lies too near to another, is drawn anew, at most six times; its
    kind is kept, or the kinds that show more often would outnumber the others.

    Args:
        rng: the source of randomness.
        canvas: mode ``RGB``, square.
        donor: what objects are added from.
        num_edits: how many.
    """
    marks: list[Mark] = []
    for _ in range(num_edits):
        label = CHANGE_LABELS[int(rng.choice(len(CHANGE_LABELS), p=_SHARES))]
        for _ in range(_TRIES):
            edited = edit_once(rng, canvas, donor, label)
            if edited is not None and all(is_clear(mark.mask, marks) for mark in edited[1]):
                canvas = edited[0]
                marks += edited[1]
                break
    return canvas, marks


def edit_once(
    rng: np.random.Generator, canvas: Image.Image, donor: Donor, label: str
) -> tuple[Image.Image, list[Mark]] | None:
    """``canvas`` after one edit as a new picture, and its marks; None where it can't be seen.

    label: which edit, one of ``CHANGE_LABELS``.
    """
    if label == ADDED:
        after, places = _add(rng, canvas, donor)
    elif label == REMOVED:
        after, places = _remove(rng, canvas)
    elif label == MOVED:
        after, places = _move(rng, canvas)
    else:
        after, places = _recolour(rng, canvas)
    if after is None:
        return None
    changed = changed_pixels(canvas, after)
    marks = [] if changed is None else _marks(label, changed, places)
    if not marks or any(visible_area(mark.mask) < MIN_AREA for mark in marks):
        return None
    return after, marks


Edited = tuple[Image.Image | None, list[Region]]


def _add(rng: np.random.Generator, canvas: Image.Image, donor: Donor) -> Edited:
    """An object from this picture or another, cut along its colour or by a shape."""
    source = canvas if rng.random() < 0.35 else donor(rng, canvas.width)
    cut = draw_region(rng, source, grown_share=0.5)
    if cut is None:
        return None, []
    content = source.crop(cut.window)
    if rng.random() < 0.5:
        turn = Image.Transpose(int(rng.integers(2, 5)))  # by 90, 180 or 270 degrees
        content, cut = content.transpose(turn), Region(0, 0, cut.alpha.transpose(turn))
    place = _place(rng, cut, canvas.width)
    if place is None:
        return None, []
    if rng.random() < 0.3:
        content = _toned(content, canvas.crop(place.window), float(rng.uniform(0.3, 0.8)))
    return _lay(canvas, content, place), [place]


def _remove(rng: np.random.Generator, canvas: Image.Image) -> Edited:
    """What is in a region, covered by a patch of its surroundings."""
    region = draw_region(rng, canvas, grown_share=0.6)
    patch = None if region is None else _clone(rng, canvas, region)
    if region is None or patch is None:
        return None, []
    return _lay(canvas, patch, region), [region]


def _move(rng: np.random.Generator, canvas: Image.Image) -> Edited:
    """What is in a region, at another place; the old one covered by a patch."""
    region = draw_region(rng, canvas, grown_share=0.6)
    patch = None if region is None else _clone(rng, canvas, region)
    if region is None or patch is None:
        return None, []
    reach = 0.5 * (region.alpha.width + region.alpha.height) * log_uniform(rng, 0.35, 2.5)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    left = round(region.left + reach * np.cos(turn))
    top = round(region.top + reach * np.sin(turn))
    if not _fits(left, top, region, canvas.width):
        return None, []
    place = region.at(left, top)
    return _lay(_lay(canvas, patch, region), canvas.crop(region.window), place), [region, place]


def _recolour(rng: np.random.Generator, canvas: Image.Image) -> Edited:
    """A region with another brightness, colour or contrast."""
    region = draw_region(rng, canvas, grown_share=0.55)
    if region is None:
        return None, []
    content = np.asarray(canvas.crop(region.window), dtype=np.float32)
    weights = region.weights
    mean = (content * weights).sum(axis=(0, 1)) / max(1.0, float(weights.sum()))
    changed = to_image(_repaint(rng, content, mean.astype(np.float32)))
    return _lay(canvas, Image.fromarray(changed), region), [region]


def _repaint(rng: np.random.Generator, content: FloatArray, mean: FloatArray) -> FloatArray:
    """``content`` (H, W, 3) with another brightness, tint, hue or contrast around ``mean`` (3,)."""
    kind = rng.random()
    if kind < 0.35:
        tone = float(mean.mean())
        sign = 1.0 if tone < 70 else -1.0 if tone > 185 else float(rng.choice((-1.0, 1.0)))
        return content + np.float32(sign * log_uniform(rng, 25.0, 90.0))
    if kind < 0.6:
        tint = rng.normal(0.0, 1.0, 3)
        tint -= tint.mean()
        tint *= log_uniform(rng, 30.0, 90.0) / max(1e-6, float(np.abs(tint).max()))
        return content + tint.astype(np.float32)
    if kind < 0.85:
        order = (1, 2, 0) if rng.random() < 0.5 else (2, 0, 1)
        return content[:, :, list(order)]
    factor = log_uniform(rng, 0.15, 0.45) if rng.random() < 0.6 else log_uniform(rng, 1.7, 3.0)
    return mean + (content - mean) * np.float32(factor)


def _clone(rng: np.random.Generator, canvas: Image.Image, region: Region) -> Image.Image | None:
    """The nearby patch whose rim is most like the region's, in its tone; None without one."""
    width, height = region.alpha.size
    surround = region.surround
    wanted = np.asarray(canvas.crop(region.window), dtype=np.float32)[surround]
    if len(wanted) == 0:
        return None
    best: tuple[float, FloatArray] | None = None
    for _ in range(_CLONES):
        dx, dy = rng.uniform(-2.2, 2.2, 2) * (width, height)
        if abs(dx) < 0.8 * width and abs(dy) < 0.8 * height:
            continue
        left, top = round(region.left + dx), round(region.top + dy)
        box = (left, top, left + width, top + height)
        if min(left, top) < 0 or box[2] > canvas.width or box[3] > canvas.height:
            continue
        patch = np.asarray(canvas.crop(box), dtype=np.float32)
        shift = wanted.mean(axis=0) - patch[surround].mean(axis=0)
        shift = np.clip(shift, -_LARGEST_TONE_SHIFT, _LARGEST_TONE_SHIFT)
        misfit = float(np.abs(patch[surround] + shift - wanted).mean())
        if best is None or misfit < best[0]:
            best = misfit, patch + shift
    limit = max(_LARGEST_MISFIT, float(wanted.std(axis=0).mean()))
    return None if best is None or best[0] > limit else Image.fromarray(to_image(best[1]))


def _toned(content: Image.Image, ground: Image.Image, share: float) -> Image.Image:
    """``content`` with its mean colour moved by ``share`` of the way to that of ``ground``."""
    pixels = np.asarray(content, dtype=np.float32)
    shift = np.asarray(ground, dtype=np.float32).mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))
    return Image.fromarray(to_image(pixels + shift * np.float32(share)))


def _place(rng: np.random.Generator, cut: Region, side: int) -> Region | None:
    """``cut`` at a random place of a picture of ``side`` pixels; None where it doesn't fit."""
    room = (side - cut.alpha.width, side - cut.alpha.height)
    if min(room) < 1:
        return None
    return cut.at(int(rng.integers(room[0])), int(rng.integers(room[1])))


def _fits(left: int, top: int, region: Region, side: int) -> bool:
    return (
        min(left, top) >= 0
        and left + region.alpha.width <= side
        and top + region.alpha.height <= side
    )


def _lay(canvas: Image.Image, content: Image.Image, place: Region) -> Image.Image:
    """A new picture with ``content`` laid over ``canvas``."""
    result = canvas.copy()
    result.paste(content, (place.left, place.top), place.alpha)
    return result


def _marks(label: str, changed: MaskArray, places: list[Region]) -> list[Mark]:
    """One mark, or two of an object that moved far."""
    if len(places) == 2:
        left, top, right, bottom = places[0].window
        old = np.zeros_like(changed)
        old[top:bottom, left:right] = changed[top:bottom, left:right]
        new = changed & ~old
        boxes = [padded_bounds(mask, _ROOM_PX) for mask in (old, new)]
        if boxes[0] is not None and boxes[1] is not None and not _touch(boxes[0], boxes[1]):
            return [Mark(label, old), Mark(label, new)]
    return [Mark(label, changed)]


def _touch(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )
