"""Pairs that ranges are taken from, read from the layouts that people have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from adcopilot_edge.calibration.coverage import Coverage
from adcopilot_edge.calibration.deeppcb import LARGEST_TILE, read_tiles
from adcopilot_edge.calibration.masks import true_boxes
from adcopilot_edge.calibration.pair_list import read_pair_files
from adcopilot_edge.calibration.record import hash_pair
from adcopilot_edge.calibration.selection import Candidate, select_candidates
from adcopilot_edge.errors import DatasetError, TooFewSamplesError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.runtime.pair_folder import PairFile
from adcopilot_edge.types import ImageArray, LabelledPair

# As many as there are thirds of the difference from the golden.
_TILES_PER_PAIR = 3


class Pairs(Protocol):
    """Labelled pairs that may be walked through more than once, opened when their turn comes."""

    def __len__(self) -> int:
        """How many pairs there are."""
        ...

    def __iter__(self) -> Iterator[LabelledPair]:
        """One pair after the other."""
        ...


@dataclass(frozen=True, slots=True)
class CalibrationPairs:
    """Pairs of images and what they are, in words that follow "8 pairs of".

    coverage: of the selection, where there was one.
    """

    name: str
    pairs: Pairs
    coverage: Coverage | None = None

    def sha256(self) -> str:
        """A hash over the pixels of all pairs, in order."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(hash_pair(pair).encode())
        return digest.hexdigest()


def read_calibration(root: Path, *, count: int, tile: int, seed: int = 0) -> CalibrationPairs:
    """``count`` pairs chosen from a source of one of three layouts; see ``select_candidates``.

    A file of JSON lines and a folder of ``golden/``, ``good/`` and ``bad/`` are read as
    ``pair_list.py`` says. Of a folder of DeepPCB's layout, which has ``boards.json``, tiles of its
    scans are taken, half of them defective.

    Args:
        root: The folder or file.
        count: How many pairs.
        tile: Pixels of a side of a DeepPCB tile; at most ``LARGEST_TILE`` are taken.
        seed: The same seed gives the same pairs.

    Returns:
        Pairs whose pixels are read when their turn comes, but for tiles.

    Raises:
        DatasetError: The source has none of these layouts, a part has no golden image or another
            size, or pictures are random noise.
        InputError: An image can't be read.
        TooFewSamplesError: There are fewer pairs.
    """
    return choose_pairs(
        root.name, _candidates(root, count, min(tile, LARGEST_TILE), seed), count=count, seed=seed
    )


def choose_pairs(
    name: str, pairs: Sequence[LabelledPair | Candidate], *, count: int, seed: int = 0
) -> CalibrationPairs:
    """``count`` of ``pairs``, which are open or come with a label; raises as above."""
    candidates = [pair if isinstance(pair, Candidate) else opened(pair) for pair in pairs]
    chosen, coverage = select_candidates(name, candidates, count=count, seed=seed)
    return CalibrationPairs(name, Opening(chosen), coverage)


def opened(pair: LabelledPair) -> Candidate:
    """A pair in memory as one that may be chosen."""
    return Candidate(pair.category, pair.is_anomaly, lambda: pair)


def _candidates(root: Path, count: int, tile: int, seed: int) -> Sequence[LabelledPair | Candidate]:
    if (root / "boards.json").is_file():
        return _tiles(root, count, tile, seed)
    return list_candidates(root)


def list_candidates(path: Path) -> list[Candidate]:
    """The pairs of a list or a folder as ``read_pair_files`` takes them; raises as that does."""
    return [
        Candidate(file.category, file.is_anomaly, partial(_open, file))
        for file in read_pair_files(path).pairs
    ]


def _tiles(root: Path, count: int, tile: int, seed: int) -> list[LabelledPair]:
    """More tiles than are needed, so that their differences can be told apart."""
    try:
        return read_tiles(root, tile=tile, count=_TILES_PER_PAIR * count, seed=seed)
    except TooFewSamplesError:  # large tiles are few
        return read_tiles(root, tile=tile, count=count, seed=seed)


def _open(file: PairFile) -> LabelledPair:
    """Golden and part with their pixels. Raises DatasetError where they differ in size."""
    golden, test = open_image(file.golden), open_image(file.test)
    if golden.shape != test.shape:
        raise DatasetError(
            f"{file.test} has {_size(test)} pixels, its golden image {_size(golden)}; both must "
            "show the same view"
        )
    boxes = true_boxes(file, *test.shape[:2]) or ()
    labels = file.labels if len(file.labels) == len(boxes) else file.labels[:1] * len(boxes)
    return LabelledPair(
        name=file.name,
        category=file.category,
        golden=golden,
        test=test,
        boxes=boxes,
        labels=labels,
        is_unplaced=file.is_anomaly and not boxes,
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """Pairs that are opened when their turn comes: all of a line camera fill a memory."""

    candidates: Sequence[Candidate]

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[LabelledPair]:
        return (candidate.open() for candidate in self.candidates)


def _size(image: ImageArray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
