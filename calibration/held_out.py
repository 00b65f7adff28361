"""Labelled pairs that a gate asks both bundles about: read, told by their pixels, none seen before.

Pixels are read once for the hashes and again for each bundle; what is known of a pair stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.deeppcb import LARGEST_TILE, read_tiles
from adcopilot_edge.calibration.pairs import Opening, Pairs, list_candidates, opened
from adcopilot_edge.calibration.record import RECORD_FILE, hash_pair, read_hashes
from adcopilot_edge.calibration.selection import Candidate, shuffled
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.types import BBox, LabelledPair, OnStep

_MOST_NAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known of a pair without its pixels.

    sha256: over the pixels of golden and test. boxes: in pixels of the test image, none for a good
    part or where nobody knows the place. size: rows and columns of the test image.
    """

    name: str
    category: str
    sha256: str
    is_anomaly: bool
    boxes: tuple[BBox, ...]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pairs, what is known of each, and what they are in words.

    num_repeated: further pairs with the pixels of one of these, which are left out.
    """

    name: str
    pairs: Pairs
    truths: tuple[Truth, ...]
    num_repeated: int = 0

    @classmethod
    def of(cls, name: str, pairs: Sequence[LabelledPair]) -> HeldOut:
        """Pairs in memory. Raises DatasetError where two of the same pixels contradict."""
        return _look(name, [("", opened(pair)) for pair in pairs])

    @property
    def num_bad(self) -> int:
        """How many of the parts are bad."""
        return sum(truth.is_anomaly for truth in self.truths)

    @property
    def num_placed(self) -> int:
        """Of how many of the bad ones it is known where the defects are."""
        return sum(bool(truth.boxes) for truth in self.truths)

    @property
    def sha256(self) -> str:
        """A hash over pixels, categories and labels of all pairs, wherever their files lie."""
        digest = hashlib.sha256()
        for truth in self.truths:
            known = (truth.sha256, truth.category, truth.is_anomaly, truth.boxes)
            digest.update(repr(known).encode())
        return digest.hexdigest()


def read_held_out(
    roots: Sequence[Path],
    *,
    count: int,
    tile: int,
    seed: int = 0,
    on_step: OnStep = lambda step, done, total: None,
) -> HeldOut:
    """At most ``count`` pairs from each source, half of them bad where there are as many.

    A source is what ``read_pair_files`` takes, but that of DeepPCB's folder, which has
    ``boards.json``, tiles are cut. With several sources a category has the source's name in front.
    Pairs whose pixels came before are left out.

    Args:
        roots: The folders or lists.
        count: How many pairs of each source; all of one that has fewer.
        tile: Pixels of a side of a DeepPCB tile; at most ``LARGEST_TILE`` are taken.
        seed: The same seed gives the same pairs.
        on_step: Told after each pair that was read.

    Raises:
        DatasetError: A source has none of these layouts, a part has another size than its golden
            image, or pixels are said to be good and bad.
        InputError: An image can't be read.
        TooFewSamplesError: DeepPCB's boards have no place for a single tile.
    """
    names = _names(roots)
    found: list[tuple[str, Candidate]] = []
    words = []
    for name, root in zip(names, roots, strict=True):
        candidates, what = _read_source(root, count=count, tile=tile, seed=seed)
        found += [(name if len(roots) > 1 else "", candidate) for candidate in candidates]
        words.append(f"{name}: {what}")
    return _look(", ".join(words), found, on_step)


def check_unseen(held_out: HeldOut, bundle: Bundle) -> None:
    """Raise DatasetError if ``bundle`` was calibrated on any of the pairs, told by their pixels.

    Another tile of the same scan, or another picture of the same part, is not told.
    """
    if RECORD_FILE not in bundle.manifest.files:
        return
    used = read_hashes(bundle.file(RECORD_FILE))
    seen = [truth.name for truth in held_out.truths if truth.sha256 in used]
    if seen:
        rest = f" and {len(seen) - _MOST_NAMES} more" if len(seen) > _MOST_NAMES else ""
        raise DatasetError(
            f"{len(seen)} of the {len(held_out.truths)} held-out pairs were used to calibrate "
            f"{bundle.path}, as its {RECORD_FILE} says: {', '.join(seen[:_MOST_NAMES])}{rest}. "
            "A gate needs pairs that the bundle has not seen: choose others, or another seed"
        )


def take_both_kinds(is_anomaly: Sequence[bool], count: int) -> list[int]:
    """The first ``count`` indices, half of them of anomalies where there are as many."""
    bad = [index for index, kind in enumerate(is_anomaly) if kind]
    good = [index for index, kind in enumerate(is_anomaly) if not kind]
    num_bad = min(len(bad), max(count // 2, count - len(good)))
    return sorted([*bad[:num_bad], *good[: count - num_bad]])


def _read_source(
    root: Path, *, count: int, tile: int, seed: int
) -> tuple[Sequence[Candidate], str]:
    """The pairs of one source, and what they are."""
    if (root / "boards.json").is_file():
        side = min(tile, LARGEST_TILE)
        # Twice as many: bare board looks the same in many places, and counts once.
        tiles = read_tiles(root, tile=side, count=2 * count, seed=seed, or_fewer=True)
        unlike = list({hash_pair(pair): pair for pair in reversed(tiles)}.values())[::-1]
        chosen = take_both_kinds([pair.is_anomaly for pair in unlike], count)
        words = f"{len(chosen)} tiles of {side} pixels"
        return [opened(unlike[index]) for index in chosen], words
    # Categories in turns, so that each has its share.
    order = list(shuffled(list_candidates(root), np.random.default_rng(seed)))
    chosen = take_both_kinds([candidate.is_anomaly for candidate in order], count)
    return [order[index] for index in chosen], f"{len(chosen)} of {len(order)} pairs"


def _names(roots: Sequence[Path]) -> list[str]:
    """A name for each source, different from the others."""
    names: list[str] = []
    for root in roots:
        path = root.resolve()
        whole = path.parent if path.name == "pairs.jsonl" else path
        name = whole.stem if whole.is_file() else whole.name
        same = sum(other.partition("#")[0] == name for other in names)
        names.append(f"{name}#{same + 1}" if same else name)
    return names


def _look(
    name: str,
    candidates: Sequence[tuple[str, Candidate]],
    on_step: OnStep = lambda step, done, total: None,
) -> HeldOut:
    """Open every pair once; each comes with what stands in front of its category."""
    truths: dict[str, Truth] = {}
    kept: list[Candidate] = []
    for done, (source, candidate) in enumerate(candidates, start=1):
        pair = candidate.open()
        truth = _truth(pair, source)
        twin = truths.setdefault(truth.sha256, truth)
        if twin is truth:
            kept.append(candidate)
        elif twin.is_anomaly != truth.is_anomaly:
            raise DatasetError(
                f"{twin.name} and {truth.name} have the same pixels, but one is said to be good "
                "and the other bad. Correct the label"
            )
        on_step("pairs", done, len(candidates))
    return HeldOut(name, Opening(kept), tuple(truths.values()), len(candidates) - len(kept))


def _truth(pair: LabelledPair, source: str) -> Truth:
    category = pair.category
    if source and category != source:
        category = f"{source}/{category}"
    return Truth(
        name=pair.name,
        category=category,
        sha256=hash_pair(pair),
        is_anomaly=pair.is_anomaly,
        boxes=pair.boxes,
        size=(pair.test.shape[0], pair.test.shape[1]),
    )
