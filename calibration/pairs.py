"""Pairs that ranges are taken from, read from the layouts that people have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.calibration.deeppcb import read_tiles
from adcopilot_edge.errors import DatasetError, TooFewSamplesError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.types import ImageArray, LabelledPair

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, slots=True)
class CalibrationPairs:
    """Pairs of images and what they are, in words that follow "8 pairs of".

    ``pairs`` may be walked through more than once.
    """

    name: str
    pairs: Iterable[LabelledPair]

    def sha256(self) -> str:
        """A hash over the pixels of all pairs, in order."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            for image in (pair.golden, pair.test):
                digest.update(repr(image.shape).encode())
                digest.update(image.tobytes())
        return digest.hexdigest()


def read_calibration(root: Path, *, count: int, tile: int, seed: int = 0) -> CalibrationPairs:
    """``count`` pairs from a folder of one of two layouts.

    DeepPCB's has ``boards.json``: tiles of its scans, half of them defective. A plain folder has
    ``golden/`` with one image for all parts, or one for each under the part's own name, and the
    parts in ``good/`` and ``bad/``, of which at least one folder is there.

    Args:
        root: The folder.
        count: How many pairs.
        tile: Pixels of a side of a DeepPCB tile.
        seed: The same seed gives the same tiles.

    Returns:
        Pairs of a plain folder are read one at a time, and raise when they are: DatasetError where
        part and golden differ in size, InputError where an image can't be read.

    Raises:
        DatasetError: The folder has neither layout, or a part has no golden image.
        TooFewSamplesError: There are fewer pairs.
    """
    if (root / "boards.json").is_file():
        return CalibrationPairs(root.name, read_tiles(root, tile=tile, count=count, seed=seed))
    goldens = _images(root / "golden")
    # Good and bad in turns, so that a small count sees both.
    kinds = [_images(root / kind) for kind in ("good", "bad")]
    if not goldens or not any(kinds):
        raise DatasetError(
            f"{root} is no folder of pairs: it needs golden/ with an image and good/ or bad/ with "
            "parts, or DeepPCB's boards.json and pairs/"
        )
    longest = max(map(len, kinds))
    parts = [part for turn in range(longest) for kind in kinds for part in kind[turn : turn + 1]]
    if len(parts) < count:
        raise TooFewSamplesError(
            f"{root} has {len(parts)} parts, {count} are needed. Add some, or ask for fewer."
        )
    return CalibrationPairs(root.name, _Files(_match(parts[:count], goldens)))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


def _match(parts: Sequence[Path], goldens: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each part behind the golden of its name, or behind the only one. Raises DatasetError."""
    of_name = {golden.stem: golden for golden in goldens}
    lacking = [part.name for part in parts if part.stem not in of_name]
    if lacking and len(goldens) > 1:
        raise DatasetError(
            f"{goldens[0].parent} holds {len(goldens)} images, but none under the name of "
            f"{', '.join(lacking)}"
        )
    return [(of_name.get(part.stem, goldens[0]), part) for part in parts]


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of golden and part, read when their turn comes: all of a line camera fill a memory."""

    files: Sequence[tuple[Path, Path]]

    def __iter__(self) -> Iterator[LabelledPair]:
        for golden_file, file in self.files:
            golden, part = open_image(golden_file), open_image(file)
            if golden.shape != part.shape:
                raise DatasetError(
                    f"{file} has {_size(part)} pixels, its golden image {_size(golden)}; both must "
                    "show the same view"
                )
            yield LabelledPair(
                name=f"{file.parent.name}/{file.name}",
                category=file.parents[1].name,
                golden=golden,
                test=part,
            )


def _size(image: ImageArray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
