"""Pair i of a user's folder: golden and a good part, a bad one, or a good one with painted defects.

Knows nothing of the parts that are held out, beyond never opening them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adcopilot_edge.training.folder.augment import (
    draw_turn,
    pad_mark,
    pad_picture,
    shoot,
    turn_mask,
    turn_picture,
)
from adcopilot_edge.training.folder.painting import paint_defects
from adcopilot_edge.training.folder.parts import Folder, Part, others_like
from adcopilot_edge.training.folder.pictures import View, Window, find_outlines, take_view
from adcopilot_edge.training.pair_source import check_made, make_pair
from adcopilot_edge.training.synthetic.drawing import Mark
from adcopilot_edge.training.synthetic.generator import MIN_SIZE
from adcopilot_edge.training.synthetic.truth import box_of, union_of
from adcopilot_edge.types import LabelledPair

_PAINTED_ROOM_PX = 2
"""Room of the boxes of painted defects; boxes of the user's own have what the user gave them."""
_AT_A_DEFECT = 0.75
"""How often a tile of a bad part is taken where a defect is."""
_LEAST_SEEN_PX = 4


@dataclass(frozen=True)
class FolderPairs:
    """A ``PairSource`` over the parts of a folder that train.

    A bad part of which nobody knows where the defect is gives a pair that is unplaced: it teaches
    the verdict. With ``tile`` such parts are left out, since no tile of them has a known verdict.
    """

    folder: Folder
    seed: int = 0

    @cached_property
    def good(self) -> tuple[Part, ...]:
        """The good parts that train."""
        return tuple(part for part in self.folder.train if part.image.is_normal)

    @cached_property
    def bad(self) -> tuple[Part, ...]:
        """The bad parts that train."""
        bad = (part for part in self.folder.train if not part.image.is_normal)
        if not self.folder.settings.tile:
            return tuple(bad)
        return tuple(part for part in bad if find_outlines(part) is not None)

    @property
    def shares(self) -> tuple[float, float, float]:
        """How often a pair is good, bad or painted."""
        return self.folder.settings.shares.known(has_bad=bool(self.bad))

    def to_json(self) -> dict[str, Any]:
        """The split and the shares, for the log of a run."""
        shares = dict(zip(("good", "bad", "painted"), self.shares, strict=True))
        return {**self.folder.to_json(), "shares": shares}

    def pair(self, number: int, *, size: int) -> LabelledPair:
        """Pair ``number``, the same in every process while the folder is the same.

        Raises:
            ConfigError: The number or the size is out of range.
            DatasetError: Nothing can be painted on the good parts.
            InputError: A picture can't be read any more.
        """
        check_made("a pair of a folder", number, size=size, smallest=MIN_SIZE)
        rng = np.random.default_rng((self.seed, number))
        kind = ("good", "bad", "painted")[int(rng.choice(3, p=self.shares))]
        return make_pair(
            lambda drawn: self._attempt(drawn, kind, size, number),
            self.seed,
            number,
            what=str(self.folder.root),
        )

    def _attempt(
        self, rng: np.random.Generator, kind: str, size: int, number: int
    ) -> LabelledPair | None:
        """A pair, or None when no painted defect shows, or the view shows none of a bad part."""
        settings = self.folder.settings
        part = _any(rng, self.bad if kind == "bad" else self.good)
        view = self._view(rng, part, size)
        turn = draw_turn(rng, settings.symmetry)
        golden, test = (pad_picture(turn_picture(item, turn)) for item in (view.golden, view.test))
        least = [self._least_seen(mark) for mark in view.marks or ()]
        marks = [pad_mark(Mark(m.label, turn_mask(m.mask, turn))) for m in view.marks or ()]
        if kind == "painted":
            test, marks = paint_defects(rng, test, lambda rng, side: self._donor(rng, side, size))
            least = [self._least_seen(mark) for mark in marks]
            if not marks:
                return None
        images = shoot(rng, (golden, test), marks, size, settings)
        room = _PAINTED_ROOM_PX if kind == "painted" else 0
        seen = [
            mark
            for mark, pixels in zip(images[2], least, strict=True)
            if np.count_nonzero(mark.mask) >= pixels
        ]
        is_unplaced = view.marks is None
        if kind != "good" and not seen and not is_unplaced and not settings.tile:
            return None
        return LabelledPair(
            name=f"{kind}-{number}-{part.image.path.stem}",
            category=part.image.category,
            golden=images[0],
            test=images[1],
            boxes=() if is_unplaced else tuple(box_of(mark, room) for mark in seen),
            labels=() if is_unplaced else tuple(mark.label for mark in seen),
            mask=None if is_unplaced else union_of(seen, size),
            is_unplaced=is_unplaced,
        )

    def _least_seen(self, mark: Mark) -> int:
        """How many pixels of a mark have to show: all, where it never had more than a few."""
        if self.folder.settings.tile:  # which may have cut it already
            return _LEAST_SEEN_PX
        return min(_LEAST_SEEN_PX, int(np.count_nonzero(mark.mask)))

    def _view(self, rng: np.random.Generator, part: Part, size: int) -> View:
        golden = part.golden or self._other(rng, part)
        height, width = part.shape
        if not self.folder.settings.tile or min(height, width) <= size:
            return take_view(part, golden, size)
        return take_view(part, golden, size, _draw_window(rng, part, size))

    def _other(self, rng: np.random.Generator, part: Part) -> Path:
        """Another good part of the same category in the place of a golden image."""
        return _any(rng, others_like(part, self.good)).image.path

    def _donor(self, rng: np.random.Generator, side: int, size: int) -> Image.Image:
        """A good part that trains, for objects that are added."""
        view = self._view(rng, _any(rng, self.good), size)
        return view.test.resize((side, side), Image.Resampling.BICUBIC)


def _any(rng: np.random.Generator, parts: Sequence[Part]) -> Part:
    return parts[int(rng.integers(len(parts)))]


def _draw_window(rng: np.random.Generator, part: Part, size: int) -> Window:
    """A window of ``size`` pixels; of a bad part mostly where a defect is."""
    height, width = part.shape
    left, top = int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1))
    outlines = find_outlines(part)
    if outlines and rng.random() < _AT_A_DEFECT:
        boxes = [box for _, outline in outlines for box in outline.boxes]
        x1, y1, x2, y2 = boxes[int(rng.integers(len(boxes)))]
        x, y = rng.uniform(x1, x2), rng.uniform(y1, y2)
        left = round(min(max(0.0, x - rng.uniform(0.2, 0.8) * size), width - size))
        top = round(min(max(0.0, y - rng.uniform(0.2, 0.8) * size), height - size))
    return left, top, left + size, top + size
