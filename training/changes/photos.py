"""A folder of photographs: which of them can be used, and square crops of them.

Knows nothing of edits or pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from adcopilot_edge.errors import DatasetError, InputError
from adcopilot_edge.runtime.images import open_raster
from adcopilot_edge.training.chat_ad.files import find_pictures
from adcopilot_edge.training.chat_ad.source import Finding

MIN_SIDE = 128
"""Pixels of the shorter side; what is smaller would be blown up to little but blur."""
MAX_ASPECT = 8
_ENLARGED = 1.5
"""How much a crop may be blown up where the photograph has room for a larger one."""
_READ_SIDE = 3
"""Shorter side of a photograph in memory, in sides of a crop."""
_KEPT = 24
"""Photographs kept in the memory of each process; at crops of 244 pixels about 2 MB each."""
_TOLD = 5


def open_photos(
    folder: Path, *, report: Callable[[int, int], None] = lambda done, total: None
) -> tuple[tuple[Path, ...], tuple[Finding, ...]]:
    """The pictures below ``folder``, sorted, and those that can't be used, each with the reason.

    Every file is decoded once, because a long run must not end at a damaged one.

    Args:
        folder: Pictures at any depth.
        report: Called with how many files were read, and how many there are.

    Raises:
        DatasetError: There is no such folder, or no picture in it can be used.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; give a folder of photographs")
    found = find_pictures(folder)
    usable, skipped = list[Path](), list[Finding]()
    for done, path in enumerate(found, start=1):
        fault = _fault(path)
        if fault is None:
            usable.append(path)
        else:
            skipped.append(Finding(path, fault))
        report(done, len(found))
    if not usable:
        told = "; ".join(f"{item.path.name}: {item.what}" for item in skipped[:_TOLD])
        raise DatasetError(
            f"{folder} holds no photograph that can be used"
            + (f" ({len(found)} files: {told})" if found else " (no file is called like a picture)")
            + f"; give JPEG or PNG files of at least {MIN_SIDE} pixels a side"
        )
    return tuple(usable), tuple(skipped)


def take_crop(rng: np.random.Generator, path: Path, side: int) -> Image.Image:
    """A random square of the photograph ``path``, mirrored or not, mode ``RGB``.

    Args:
        rng: the source of randomness.
        path: of the photograph.
        side: pixels of the crop; the part of the photograph that it shows may be larger.

    Raises:
        InputError: The file can't be read any more.
    """
    photo = _read(path, _READ_SIDE * side)
    largest = float(min(photo.size))
    smallest = min(largest, side / _ENLARGED)
    shown = smallest * (largest / smallest) ** float(rng.random())
    left = float(rng.uniform(0.0, photo.width - shown))
    top = float(rng.uniform(0.0, photo.height - shown))
    box = (left, top, left + shown, top + shown)
    crop = photo.resize((side, side), Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return crop


def _fault(path: Path) -> str | None:
    """Why the file can't be used; None where it can."""
    try:
        width, height = _decode(path, MIN_SIDE).size
    except InputError as err:
        return str(err)
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        return f"has {width}x{height} pixels, too few; at least {MIN_SIDE} a side are needed"
    if long > MAX_ASPECT * short:
        return f"one side is more than {MAX_ASPECT} times the other; cut it into pieces"
    return None


@lru_cache(maxsize=_KEPT)
def _read(path: Path, short_side: int) -> Image.Image:
    """The photograph, scaled down until its shorter side has ``short_side`` pixels."""
    photo = _decode(path, short_side)
    scale = short_side / min(photo.size)
    if scale >= 1.0:
        return photo
    size = (round(photo.width * scale), round(photo.height * scale))
    return photo.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _decode(path: Path, short_side: int) -> Image.Image:
    """The picture upright, mode ``RGB``; of a JPEG only as many pixels as ``short_side`` needs."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            image.draft(None, (short_side, short_side))
            return open_raster(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return open_raster(path)  # another format, or a fault, which this one names
