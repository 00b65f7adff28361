"""Reads the DeepPCB data: real scans of circuit boards, golden and test, with boxes and classes.

The data set has no pair without a defect, so good pairs are tiles that no box touches. How its
files are laid out is known to ``deeppcb_files``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adcopilot_edge.deeppcb_files import SCAN_SIDE, BoardBox, read_boards, read_boxes
from adcopilot_edge.errors import ConfigError, DatasetError, TooFewSamplesError
from adcopilot_edge.types import BBox, ImageArray, LabelledPair

LARGEST_TILE = 336
"""The largest tile of which every board has good ones."""

_MIN_INSIDE = 0.6
_TRIES_PER_TILE = 400


def read_tiles(
    root: Path,
    *,
    tile: int = 224,
    count: int = 400,
    seed: int = 0,
    boards: Sequence[str] | None = None,
    or_fewer: bool = False,
) -> list[LabelledPair]:
    """``count`` tiles at the scale of the scans, every second one with a defect.

    The boards take turns, so that each gives the same number of tiles. A defective tile keeps a
    box, clipped, of which at least 60 % is inside; a place that cuts a box shorter than that is not
    used. A good tile touches no box.

    Args:
        root: the folder of the data set.
        tile: side of a tile in pixels, at most 640.
        count: how many tiles to read.
        seed: the same seed gives the same tiles.
        boards: names from ``boards.json``; all of them without it.
        or_fewer: where places run out, give those found before.

    Raises:
        DatasetError: a file is missing or malformed, or a board is unknown.
        TooFewSamplesError: there are not enough places for such tiles; with ``or_fewer``, none.
    """
    if not 16 <= tile <= SCAN_SIDE:
        raise ConfigError(f"a DeepPCB tile must have 16 to {SCAN_SIDE} pixels a side, got {tile}")
    rng = np.random.default_rng(seed)
    pairs_of = _select(read_boards(root), boards, root)
    names = sorted(pairs_of)
    places = _Places(root, tile)
    tiles: list[LabelledPair] = []
    for index in range(count):
        board, is_defective = names[index // 2 % len(names)], index % 2 == 0
        place = places.draw(rng, pairs_of[board], is_defective=is_defective)
        if place is None and or_fewer and tiles:
            break
        if place is None:
            kind = "defective" if is_defective else "good"
            raise TooFewSamplesError(
                f"no further {kind} tile of {tile} px on board {board} in {root} after "
                f"{index} of {count}; ask for fewer or smaller tiles, or for more boards"
            )
        tiles.append(_cut_tile(root, place.pair_id, board, place.window, place.boxes))
    return tiles


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tile is cut: ``window`` (x1, y1, x2, y2) of a scan, and the boxes relative to it."""

    pair_id: str
    window: tuple[int, int, int, int]
    boxes: list[BoardBox]


class _Places:
    """Draws places for tiles, none twice; reads each annotation file once."""

    def __init__(self, root: Path, tile: int) -> None:
        self.root = root
        self.tile = tile
        self.boxes_of: dict[str, list[BoardBox]] = {}
        self.used: set[tuple[str, int, int]] = set()

    def draw(
        self, rng: np.random.Generator, pair_ids: Sequence[str], *, is_defective: bool
    ) -> _Place | None:
        """An unused place of the kind asked for, or None when none turned up."""
        for _ in range(_TRIES_PER_TILE):
            pair_id = pair_ids[int(rng.integers(len(pair_ids)))]
            if pair_id not in self.boxes_of:
                self.boxes_of[pair_id] = read_boxes(self.root / "pairs" / f"{pair_id}.txt")
            x, y = rng.integers(0, SCAN_SIDE - self.tile + 1, 2).tolist()
            window = (x, y, x + self.tile, y + self.tile)
            boxes = cut_boxes(self.boxes_of[pair_id], window)
            if boxes is None or bool(boxes) != is_defective or (pair_id, x, y) in self.used:
                continue
            self.used.add((pair_id, x, y))
            return _Place(pair_id, window, boxes)
        return None


def read_pair(root: Path, pair_id: str, board: str) -> LabelledPair:
    """The whole scan ``pair_id`` with all its boxes.

    Raises:
        DatasetError: a file is missing or malformed.
    """
    boxes = read_boxes(root / "pairs" / f"{pair_id}.txt")
    whole = (0, 0, SCAN_SIDE, SCAN_SIDE)
    return _cut_tile(root, pair_id, board, whole, boxes)


def cut_boxes(
    boxes: Sequence[BoardBox], window: tuple[int, int, int, int]
) -> list[BoardBox] | None:
    """The boxes inside ``window``, clipped and relative to it; None if it cuts one too short."""
    left, top, right, bottom = window
    inside = []
    for box in boxes:
        x1, y1, x2, y2 = box.bbox
        a, b, c, d = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
        if a >= c or b >= d:
            continue
        if (c - a) * (d - b) < _MIN_INSIDE * (x2 - x1) * (y2 - y1):
            return None
        inside.append(BoardBox((a - left, b - top, c - left, d - top), box.label))
    return inside


def _select(
    table: dict[str, str], boards: Sequence[str] | None, root: Path
) -> dict[str, list[str]]:
    """Sorted pair ids for each board asked for."""
    pairs_of: dict[str, list[str]] = {}
    for pair_id, board in sorted(table.items()):
        pairs_of.setdefault(board, []).append(pair_id)
    unknown = sorted(set(boards or ()) - set(pairs_of))
    if unknown or not pairs_of:
        raise DatasetError(
            f"{root / 'boards.json'} has no board {', '.join(unknown) or 'at all'}; "
            f"known are: {', '.join(sorted(pairs_of)) or 'none'}"
        )
    return {board: pairs_of[board] for board in (boards or pairs_of)}


def _cut_tile(
    root: Path,
    pair_id: str,
    board: str,
    window: tuple[int, int, int, int],
    boxes: Sequence[BoardBox],
) -> LabelledPair:
    """The part of a scan inside ``window``, with boxes that are already relative to it."""
    folder = root / "pairs"
    bboxes: list[BBox] = []
    for box in boxes:
        x1, y1, x2, y2 = box.bbox
        bboxes.append((float(x1), float(y1), float(x2), float(y2)))
    return LabelledPair(
        name=f"{pair_id}+{window[0]}+{window[1]}",
        category=board,
        golden=_read_window(folder / f"{pair_id}_temp.png", window),
        test=_read_window(folder / f"{pair_id}_test.png", window),
        boxes=tuple(bboxes),
        labels=tuple(box.label for box in boxes),
    )


def _read_window(path: Path, window: tuple[int, int, int, int]) -> ImageArray:
    """The pixels of ``window``, (H, W, 3) uint8 RGB."""
    try:
        with Image.open(path) as image:
            if image.size != (SCAN_SIDE, SCAN_SIDE):
                raise DatasetError(
                    f"{path} must have {SCAN_SIDE}x{SCAN_SIDE} pixels, got {image.size}"
                )
            return np.array(image.convert("L").crop(window).convert("RGB"))
    except OSError as err:
        raise DatasetError(
            f"can't read the image {path}: {err}; each pair id needs _temp.png and _test.png"
        ) from err
