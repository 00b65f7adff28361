"""Pairs that ranges are taken from, read from the layouts that people have."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.calibration.deeppcb import read_tiles
from adcopilot_edge.errors import DatasetError, TooFewSamplesError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.types import LabelledPair

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, slots=True)
class CalibrationPairs:
    """Pairs of images and what they are, in words that follow "8 pairs of"."""

    name: str
    pairs: Sequence[LabelledPair]

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

    Raises:
        DatasetError: The folder has neither layout, or a part has no golden image.
        TooFewSamplesError: There are fewer pairs.
        InputError: An image can't be read.
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
        raise TooFewSamplesError(f"{root} has {len(parts)} parts, {count} are needed")
    return CalibrationPairs(root.name, [_pair(part, goldens, root) for part in parts[:count]])


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


def _pair(part: Path, goldens: Sequence[Path], root: Path) -> LabelledPair:
    """The part with the golden of its name, or with the only one."""
    of_name = [golden for golden in goldens if golden.stem == part.stem]
    if not of_name and len(goldens) > 1:
        raise DatasetError(
            f"{part} has no golden image: {root / 'golden'} holds {len(goldens)} images, none of "
            "them under its name"
        )
    golden = open_image((of_name or list(goldens))[0])
    return LabelledPair(
        name=f"{part.parent.name}/{part.name}",
        category=root.name,
        golden=golden,
        test=open_image(part),
    )
