"""The figures of a gate: what a candidate loses of the task on pairs a reference saw as well.

Both bundles are asked about the same held-out pairs, so every change is paired. Each figure comes
with a bootstrap interval over the pairs: what other pairs of the same line would have given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.calibration.agreement import is_same_answer
from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gates import GateLimits, GateReport
from adcopilot_edge.calibration.held_out import HeldOut, Truth
from adcopilot_edge.errors import ConfigError, TooFewSamplesError
from adcopilot_edge.gate_record import Gate, GateCheck
from adcopilot_edge.metrics import IOU_THRESHOLDS, balanced_accuracy, box_mask_iou
from adcopilot_edge.types import BBox, MaskArray

_ROUNDS = 2000
_CONFIDENCE = 0.95
# Rows of a resampling that are in memory at a time.
_BATCH = 100


def check_enough(held_out: HeldOut, limits: GateLimits) -> None:
    """Raise TooFewSamplesError for fewer pairs than the limits ask for, or none of one kind."""
    total, bad = len(held_out.truths), held_out.num_bad
    if total < limits.min_pairs or bad in (0, total):
        raise TooFewSamplesError(
            f"a gate needs at least {limits.min_pairs} pairs, good and bad ones among them; there "
            f"are {total - bad} good and {bad} bad ones"
        )


def judge(
    held_out: HeldOut,
    candidate: Predictions,
    reference: Predictions,
    limits: GateLimits,
    *,
    seed: int = 0,
) -> GateReport:
    """Hold ``candidate`` against ``reference``, what each said about the same pairs.

    Figures are named after what is lost, so that a larger one is worse, but for the answer
    agreement. Flips, overkill, escapes and mean IoU also come by category, where there are several;
    of these only the escapes are judged. Without bad pairs whose place is known there are no
    figures of boxes.

    Raises:
        ConfigError: The two were asked different things, or the limits want answers and nobody
            was asked in words.
        TooFewSamplesError: There are fewer pairs than the limits ask for, or none of one kind.
    """
    check_enough(held_out, limits)
    _check_comparable(held_out, candidate, reference, limits)
    categories = np.array([truth.category for truth in held_out.truths])
    checks: list[GateCheck] = []
    for figure in _figures(held_out.truths, candidate, reference, limits):
        checks.append(figure.check(seed))
        if figure.by_category is not None and len(set(categories)) > 1:
            checks += figure.category_checks(seed, categories)
    gate = Gate(
        data=held_out.name,
        sha256=held_out.sha256,
        num_good=len(held_out.truths) - held_out.num_bad,
        num_bad=held_out.num_bad,
        num_placed=held_out.num_placed,
        num_answers=len(reference.answers),
        reference_bundle=reference.bundle,
        reference_precision=reference.precision,
        reference_figures=own_figures(held_out.truths, reference),
        seed=seed,
        limits=limits.model_dump(exclude_none=True),
        checks=tuple(checks),
    )
    return GateReport(candidate=candidate.name, reference=reference.name, gate=gate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """A value of each of S pairs, and what is made of them.

    values: (S,). groups: each (S,) bool, the pairs that count; the figure is the mean over the
    groups of their means. by_category: whether it also comes by category, and is judged there.
    """

    name: str
    values: NDArray[np.float64]
    groups: tuple[MaskArray, ...]
    limit: float | None = None
    rule: Literal["value <= limit", "low <= limit", "value >= limit"] = "value <= limit"
    by_category: Literal["shown", "judged"] | None = None

    def check(self, seed: int) -> GateCheck:
        """The figure over all pairs."""
        return self._check(seed, np.ones(len(self.values), dtype=np.bool_), None, self.limit)

    def category_checks(self, seed: int, categories: NDArray[np.str_]) -> list[GateCheck]:
        """The figure of each category that has pairs which count; categories: (S,)."""
        limit = self.limit if self.by_category == "judged" else None
        return [
            self._check(seed, categories == category, str(category), limit)
            for category in sorted(set(categories[self.groups[0]]))
        ]

    def _check(
        self, seed: int, rows: MaskArray, category: str | None, limit: float | None
    ) -> GateCheck:
        strata = [self.values[group & rows] for group in self.groups]
        value, low, high = _interval(strata, np.random.default_rng(seed))
        return GateCheck(
            name=self.name,
            category=category,
            value=value,
            low=low,
            high=high,
            limit=limit,
            rule=self.rule,
        )


def _figures(
    truths: Sequence[Truth], candidate: Predictions, reference: Predictions, limits: GateLimits
) -> Iterator[_Figure]:
    bad = np.array([truth.is_anomaly for truth in truths])
    one, other = (np.array(said.is_anomaly, dtype=float) for said in (candidate, reference))
    yield _Figure(
        name="verdict flips",
        values=np.abs(one - other),
        groups=(np.ones_like(bad),),
        limit=limits.max_flip_rate,
        by_category="shown",
    )
    yield _Figure(
        name="balanced accuracy drop",
        values=np.where(bad, other - one, one - other),
        groups=(bad, ~bad),
        limit=limits.max_balanced_accuracy_drop,
    )
    yield _Figure(
        name="overkill rise",
        values=one - other,
        groups=(~bad,),
        limit=limits.max_overkill_rise,
        by_category="shown",
    )
    yield _Figure(
        name="escapes rise",
        values=other - one,
        groups=(bad,),
        limit=0.0,
        rule="low <= limit",
        by_category="judged",
    )
    placed = np.array([bool(truth.boxes) for truth in truths])
    if placed.any():
        for source in sorted(reference.boxes):
            ours, theirs = (_ious(truths, said.boxes[source]) for said in (candidate, reference))
            yield _Figure(
                name=f"mIoU drop, {source}",
                values=theirs - ours,
                groups=(placed,),
                limit=limits.max_miou_drop,
                by_category="shown",
            )
            for threshold in IOU_THRESHOLDS:
                drop = (theirs >= threshold).astype(float) - (ours >= threshold)
                yield _Figure(name=f"ACC@{threshold} drop, {source}", values=drop, groups=(placed,))
    if reference.answers:
        asked = np.isin(np.arange(len(truths)), list(reference.answers))
        agreed = np.zeros(len(truths))
        for index, answer in reference.answers.items():
            agreed[index] = is_same_answer(candidate.answers[index], answer)
        yield _Figure(
            name="answer agreement",
            values=agreed,
            groups=(asked,),
            limit=limits.min_answer_agreement,
            rule="value >= limit",
        )


def own_figures(truths: Sequence[Truth], said: Predictions) -> dict[str, float]:
    """How good a bundle is by itself: balanced accuracy, and the mean IoU of each box source."""
    bad = [truth.is_anomaly for truth in truths]
    figures = {"balanced accuracy": balanced_accuracy(bad, said.is_anomaly)}
    placed = np.array([bool(truth.boxes) for truth in truths])
    if placed.any():
        for source, boxes in sorted(said.boxes.items()):
            figures[f"mIoU, {source}"] = float(_ious(truths, boxes)[placed].mean())
    return figures


def _check_comparable(
    held_out: HeldOut, candidate: Predictions, reference: Predictions, limits: GateLimits
) -> None:
    if not len(held_out.truths) == len(candidate.is_anomaly) == len(reference.is_anomaly):
        raise ConfigError(
            f"there are {len(held_out.truths)} pairs, but {candidate.name} was asked about "
            f"{len(candidate.is_anomaly)} and {reference.name} about {len(reference.is_anomaly)}"
        )
    if candidate.boxes.keys() != reference.boxes.keys():
        sources = [" and ".join(sorted(said.boxes)) or "none" for said in (candidate, reference)]
        raise ConfigError(
            f"boxes of {candidate.name} come from: {sources[0]}; those of {reference.name}: "
            f"{sources[1]}. A gate is between bundles of one checkpoint"
        )
    if candidate.answers.keys() != reference.answers.keys():
        raise ConfigError(
            f"{candidate.name} answered in words about {len(candidate.answers)} pairs, "
            f"{reference.name} about {len(reference.answers)}, or about others"
        )
    if limits.min_answer_agreement is not None and not reference.answers:
        raise ConfigError(
            "the limits have min_answer_agreement, but no pair is asked about in words; "
            "ask for some with --answers, or leave the limit out"
        )


def _ious(truths: Sequence[Truth], predicted: Sequence[Sequence[BBox]]) -> NDArray[np.float64]:
    """The BBox-Mask IoU of every pair whose defects have a known place; 0 for the others."""
    return np.array(
        [
            box_mask_iou(boxes, truth.boxes, *truth.size) if truth.boxes else 0.0
            for truth, boxes in zip(truths, predicted, strict=True)
        ]
    )


def _interval(
    strata: Sequence[NDArray[np.float64]], rng: np.random.Generator
) -> tuple[float, float, float]:
    """The mean of the strata's means, and the ends of its percentile bootstrap interval.

    Each stratum is resampled for itself, so the shares of good and bad pairs stay as they are.
    """
    means: list[NDArray[np.float64]] = []
    for _ in range(0, _ROUNDS, _BATCH):
        drawn = [
            values[rng.integers(0, len(values), (_BATCH, len(values)))].mean(axis=1)
            for values in strata
        ]
        means.append(np.mean(drawn, axis=0))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    value = np.mean([values.mean() for values in strata])
    return float(value), float(low), float(high)
