"""Folders of pictures: natural order, pictures by stem, and what a header or a mask's pixels tell.

Knows no layout. Only the functions about the greys of a mask decode pixels.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.runtime.images import PICTURE_SUFFIXES, list_pictures

_ORIENTATION = 0x0112  # EXIF
_FIRST_TURNED = 5  # orientations 5 to 8 swap width and height
_MASK_SUFFIX = "_mask"

# Those of runtime.images, which registers them; what else Pillow knows may start other programs.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF")

# What Pillow lets escape where a file is damaged.
_UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    Image.DecompressionBombError,
)


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Orders names with numbers as people do, ``kos2`` before ``kos10``; for ``sorted``.

    Digits come before letters, and of equal numbers the one with more zeros.
    """
    parts = [part for part in re.split(r"([0-9]+)", path.name) if part]
    keys = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return (*keys, (-1, 0, path.name))


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order; none where it is missing, none that is hidden."""
    found = (path for path in list_pictures(folder) if not path.name.startswith("."))
    return sorted(found, key=natural_key)


def subfolders(folder: Path) -> list[Path]:
    """The folders of a folder in natural order, without hidden ones and what macOS adds."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    return sorted(found, key=natural_key)


def by_stem(paths: Iterable[Path], *, suffix: str = "") -> dict[str, list[Path]]:
    """Paths under their names without extension and without ``suffix``, which may be there."""
    stems: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        stems[path.stem.removesuffix(suffix)].append(path)
    return dict(stems)


def masks_by_stem(folder: Path) -> dict[str, list[Path]]:
    """The masks of a folder under the names of their images: ``007_mask.png`` and ``007.bmp``."""
    return by_stem(pictures(folder), suffix=_MASK_SUFFIX)


def repeated(stems: Mapping[str, list[Path]]) -> Iterator[tuple[Path, Path]]:
    """Files that another of the same stem comes before, with that one."""
    for paths in stems.values():
        for path in paths[1:]:
            yield path, paths[0]


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height as of ``read_size``; None where the file can't be read."""
    try:
        return read_size(path)
    except DatasetError:
        return None


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture in pixels, upright, by its header; a turned TIFF is decoded.

    Raises:
        DatasetError: It is missing, or no picture of a known format.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                width, height = image.size
                if image.getexif().get(_ORIENTATION, 1) < _FIRST_TURNED:
                    return width, height
                if image.format == "TIFF":  # Pillow's releases differ in what its header says
                    return ImageOps.exif_transpose(image).size
                return height, width
    except FileNotFoundError as err:
        raise DatasetError("there is no such picture; restore it") from err
    except _UNREADABLE as err:
        raise DatasetError(
            f"can't be read as a picture ({type(err).__name__}); copy it again or remove it"
        ) from err


def find_pictures(folder: Path) -> list[Path]:
    """The files at any depth of ``folder`` that are called like pictures, sorted."""
    return find_files(folder, PICTURE_SUFFIXES)


def find_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files at any depth of ``folder`` with one of the suffixes (in lower case), sorted.

    Neither hidden ones nor what macOS packs beside them.
    """
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return sorted(
        path for path in found if path.is_file() and not _is_hidden(path.relative_to(folder))
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def subfolder(folder: Path, *names: str) -> Path | None:
    """The first folder in ``folder`` that has one of the names, in upper or lower case."""
    if not folder.is_dir():
        return None
    found = [entry for entry in sorted(folder.iterdir()) if entry.name.lower() in names]
    return next((entry for entry in found if entry.is_dir()), None)


def read_text(path: Path) -> str:
    """The file as UTF-8, with or without a byte order mark.

    Raises:
        DatasetError: It can't be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as err:
        raise DatasetError(f"can't read {path}: {err}; restore the file") from err


def grey_values(path: Path) -> tuple[int, ...] | None:
    """The values that the pixels of a mask have, ascending, without 0; None where it is damaged.

    Colours count as grey. An empty tuple is a black mask.
    """
    image = _open_grey(path)
    if image is None:
        return None
    if image.mode == "L":
        return tuple(value for value, count in enumerate(image.histogram()) if value and count)
    return tuple(int(value) for value in np.unique(np.asarray(image)) if value)


def grey_pixels(path: Path) -> NDArray[np.integer] | None:
    """The (H, W) values of a mask, upright, as ``grey_values`` counts them; None: it is damaged."""
    image = _open_grey(path)
    return None if image is None else np.asarray(ImageOps.exif_transpose(image))


def _open_grey(path: Path) -> Image.Image | None:
    """The decoded picture in mode L, or I where it has more than 8 bits."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                image.load()
                return image.copy() if image.mode.startswith("I") else image.convert("L")
    except _UNREADABLE:
        return None
