"""Several golden images of one product: the nearest one is inspected against, or all of them vote.

Knows nothing of graphs: what images look like to the model is given as features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.types import FloatArray, Inspection, Verdict

Choice = Literal["nearest", "vote"]


@dataclass(frozen=True, eq=False)
class GoldenSet:
    """The golden references of one product, for ``Inspector.inspect``.

    references: of one bundle, as ``Inspector.golden`` or ``Inspector.product`` gives them. choose:
    ``nearest`` inspects against the one whose features are most like the test image's, for the
    price of one inspection; ``vote`` inspects against each of them.

    Raises:
        ConfigError: There are no references, or of several bundles, or ``choose`` is unknown.
    """

    references: tuple[GoldenReference, ...]
    choose: Choice = "nearest"

    def __post_init__(self) -> None:
        if self.choose not in get_args(Choice):
            raise ConfigError(
                f"choose must be one of {', '.join(get_args(Choice))}, got {self.choose!r}"
            )
        if len({reference.bundle for reference in self.references}) != 1:
            raise ConfigError("a golden set needs golden references of one bundle, at least one")

    @cached_property
    def _directions(self) -> tuple[FloatArray, ...]:
        """The features of each reference at length 1, computed once."""
        return tuple(_directions(reference.features) for reference in self.references)

    def nearest(self, features: FloatArray) -> GoldenReference:
        """The reference with the largest mean cosine, patch by patch, to ``features`` (N, C).

        The first of several alike.
        """
        found = _directions(features)
        cosines = [float((one * found).sum(axis=1).mean()) for one in self._directions]
        return self.references[int(np.argmax(cosines))]


def has_votes(golden: object) -> bool:
    """Whether a part is inspected against each golden image, and not once."""
    return isinstance(golden, GoldenSet) and golden.choose == "vote"


def vote(inspections: Sequence[Inspection]) -> Inspection:
    """One result of the inspections of a test image against each golden image.

    The verdict is that of more than half of them, else ``uncertain``; the score is their median.
    Boxes, words and the rest are those of the one that said the same with the middle score, or of
    the middle one of all where none did; ``golden_shown:PLACE`` says which, from 0. Times are
    summed, notes collected.
    """
    ranked = sorted(inspections, key=lambda one: one.anomaly_score)
    (first, count), *_ = Counter(one.verdict for one in inspections).most_common()
    verdict: Verdict = first if 2 * count > len(inspections) else "uncertain"
    agreeing = [one for one in ranked if one.verdict == verdict] or ranked
    shown = agreeing[len(agreeing) // 2]
    place = next(index for index, one in enumerate(inspections) if one is shown)
    times: dict[str, float] = {}
    for one in inspections:
        for stage, ms in one.timings_ms.items():
            times[stage] = times.get(stage, 0.0) + ms
    votes = ",".join(one.verdict for one in inspections)
    notes = dict.fromkeys(note for one in inspections for note in one.notes)
    return replace(
        shown,
        verdict=verdict,
        anomaly_score=float(np.median([one.anomaly_score for one in inspections])),
        timings_ms=times,
        golden_cached=all(one.golden_cached for one in inspections),
        notes=(*notes, f"golden_shown:{place}", f"golden_votes:{votes}"),
    )


def _directions(features: FloatArray) -> FloatArray:
    """Each row at length 1; a row of zeros stays."""
    features = np.asarray(features, np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), np.float32)
