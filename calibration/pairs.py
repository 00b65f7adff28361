"""Pairs that ranges are taken from, read from the layouts that people have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from adcopilot_edge.calibration.chat_ad import read_lines
from adcopilot_edge.calibration.coverage import Coverage
from adcopilot_edge.calibration.deeppcb import read_tiles
from adcopilot_edge.calibration.record import hash_pair
from adcopilot_edge.calibration.selection import Candidate, select_candidates
from adcopilot_edge.errors import DatasetError, TooFewSamplesError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.types import ImageArray, LabelledPair

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
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

    A file of JSON lines names pairs; see ``chat_ad.py``. A folder of DeepPCB's layout has
    ``boards.json``: tiles of its scans, half of them defective. A plain folder has ``golden/`` with
    one image for all parts, or one for each under the part's own name, and the parts in ``good/``
    and ``bad/``, of which at least one folder is there.

    Args:
        root: The folder or file.
        count: How many pairs.
        tile: Pixels of a side of a DeepPCB tile.
        seed: The same seed gives the same pairs.

    Returns:
        Pairs whose pixels are read when their turn comes, but for tiles.

    Raises:
        DatasetError: The source has none of these layouts, a part has no golden image or another
            size, or pictures are random noise.
        InputError: An image can't be read.
        TooFewSamplesError: There are fewer pairs.
    """
    return choose_pairs(root.name, _candidates(root, count, tile, seed), count=count, seed=seed)


def choose_pairs(
    name: str, pairs: Sequence[LabelledPair | Candidate], *, count: int, seed: int = 0
) -> CalibrationPairs:
    """``count`` of ``pairs``, which are open or come with a label; raises as above."""
    candidates = [pair if isinstance(pair, Candidate) else _opened(pair) for pair in pairs]
    chosen, coverage = select_candidates(name, candidates, count=count, seed=seed)
    return CalibrationPairs(name, _Opening(chosen), coverage)


def _opened(pair: LabelledPair) -> Candidate:
    return Candidate(pair.category, pair.is_anomaly, lambda: pair)


def _candidates(root: Path, count: int, tile: int, seed: int) -> Sequence[LabelledPair | Candidate]:
    if root.is_file():
        return read_lines(root)
    if (root / "boards.json").is_file():
        return _tiles(root, count, tile, seed)
    goldens = _images(root / "golden")
    kinds = {kind: _images(root / kind) for kind in ("good", "bad")}
    if not goldens or not any(kinds.values()):
        raise DatasetError(
            f"{root} is no source of pairs: it needs golden/ with an image and good/ or bad/ with "
            "parts, or DeepPCB's boards.json and pairs/, or to be a file of JSON lines"
        )
    return [
        Candidate(root.name, kind == "bad", partial(_open_part, *files))
        for kind, parts in kinds.items()
        for files in _match(parts, goldens)
    ]


def _tiles(root: Path, count: int, tile: int, seed: int) -> list[LabelledPair]:
    """More tiles than are needed, so that their differences can be told apart."""
    try:
        return read_tiles(root, tile=tile, count=_TILES_PER_PAIR * count, seed=seed)
    except TooFewSamplesError:  # large tiles are few
        return read_tiles(root, tile=tile, count=count, seed=seed)


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


def _open_part(golden_file: Path, file: Path) -> LabelledPair:
    """Golden and part as one pair. Raises DatasetError where they differ in size."""
    golden, part = open_image(golden_file), open_image(file)
    if golden.shape != part.shape:
        raise DatasetError(
            f"{file} has {_size(part)} pixels, its golden image {_size(golden)}; both must show "
            "the same view"
        )
    return LabelledPair(
        name=f"{file.parent.name}/{file.name}",
        category=file.parents[1].name,
        golden=golden,
        test=part,
    )


@dataclass(frozen=True, slots=True)
class _Opening:
    """Pairs that are opened when their turn comes: all of a line camera fill a memory."""

    candidates: Sequence[Candidate]

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[LabelledPair]:
        return (candidate.open() for candidate in self.candidates)


def _size(image: ImageArray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
