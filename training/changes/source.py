"""Pair i of a folder of photographs: a crop taken twice, in half of the pairs edited in between.

Knows neither how an edit is made nor what a photograph shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.changes.edits import change_canvas
from adcopilot_edge.training.changes.photos import open_photos, take_crop
from adcopilot_edge.training.chat_ad.source import Finding
from adcopilot_edge.training.pair_source import check_made, make_pair
from adcopilot_edge.training.synthetic.canvas import MARGIN
from adcopilot_edge.training.synthetic.generator import MIN_SIZE
from adcopilot_edge.training.synthetic.nuisance import (
    CENTRED,
    draw_registration,
    photograph,
    take_view,
)
from adcopilot_edge.training.synthetic.truth import find_defects, index_marks
from adcopilot_edge.types import LabelledPair

CATEGORY = "photograph"
_CHANGED_SHARE = 0.5
_COUNTS = (0.55, 0.25, 0.13, 0.07)
"""How often a changed pair has one, two, three or four edits."""
_MISPLACED_PX = 0.5


@dataclass(frozen=True, slots=True)
class PhotoChanges:
    """A ``PairSource`` of change pairs from photographs; half of all pairs are unchanged.

    Both images of a pair have their own light, optics, noise and registration, whether anything was
    edited or not. photos: usable pictures. seed: another seed gives other pairs. skipped: the
    pictures that were left out, and why.
    """

    photos: tuple[Path, ...]
    seed: int = 0
    skipped: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if not self.photos or self.seed < 0:
            raise ConfigError(
                f"change pairs need photographs and a seed that is not negative, got "
                f"{len(self.photos)} photographs and the seed {self.seed}"
            )

    def pair(self, number: int, *, size: int) -> LabelledPair:
        """Pair ``number``, the same in every process while the photographs are the same.

        Raises:
            ConfigError: The number or the size is out of range.
            DatasetError: No change of the photographs can be seen.
            InputError: A photograph can't be read any more.
        """
        check_made("a change pair", number, size=size, smallest=MIN_SIZE)
        rng = np.random.default_rng((self.seed, number))
        is_changed = bool(rng.random() < _CHANGED_SHARE)
        num_edits = int(rng.choice(len(_COUNTS), p=_COUNTS)) + 1 if is_changed else 0
        return make_pair(
            lambda drawn: self._attempt(drawn, num_edits, size, number),
            self.seed,
            number,
            what="photographs",
        )

    def sha256(self) -> str:
        """A hash over the photographs' names and sizes in bytes; another one, other pairs."""
        digest = hashlib.sha256()
        for path in self.photos:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        return digest.hexdigest()

    def _attempt(
        self, rng: np.random.Generator, num_edits: int, size: int, number: int
    ) -> LabelledPair | None:
        """A pair, or None when edits were asked for and none can be seen."""
        photo = self._any_photo(rng)
        canvas = take_crop(rng, photo, size + 2 * MARGIN)
        changed, marks = change_canvas(rng, canvas, self._donor, num_edits)
        if num_edits and not marks:
            return None
        view = draw_registration(rng, size, sigma_px=_MISPLACED_PX)
        index = take_view(index_marks(marks, canvas.size), view, size, is_index=True)
        found = find_defects(rng, marks, np.asarray(index))
        if found is None:
            return None
        defects, mask = found
        strength = float(rng.uniform(0.1, 1.0))
        return LabelledPair(
            name=f"change-{number}-{photo.stem}",
            category=CATEGORY,
            golden=photograph(rng, take_view(canvas, CENTRED, size), strength),
            test=photograph(rng, take_view(changed, view, size), strength),
            boxes=tuple(defect.bbox for defect in defects),
            labels=tuple(defect.label for defect in defects),
            mask=mask,
        )

    def _any_photo(self, rng: np.random.Generator) -> Path:
        return self.photos[int(rng.integers(len(self.photos)))]

    def _donor(self, rng: np.random.Generator, side: int) -> Image.Image:
        return take_crop(rng, self._any_photo(rng), side)


def open_changes(
    folder: Path,
    *,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> PhotoChanges:
    """Change pairs from the photographs below ``folder``; raises as ``open_photos`` does."""
    photos, skipped = open_photos(folder, report=report)
    return PhotoChanges(photos, seed, skipped)
