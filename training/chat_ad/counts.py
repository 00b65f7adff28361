"""What a curated set holds, in numbers: by source, category, task and label, and how balanced.

Knows no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adcopilot_edge.training.chat_ad.sample import ChatSample


@dataclass(slots=True)
class Counts:
    """Numbers of samples, but for ``pairs``, ``normal`` and ``labels``: those are of pairs.

    categories: by ``source/category``. labels: the pairs that have a box of it. letters: right
    options of choices.
    """

    samples: int = 0
    pairs: int = 0
    normal: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    authors: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    _pair: tuple[str, str] | None = None

    def add(self, split: str, samples: Iterable[ChatSample]) -> None:
        """Count samples; those of a pair come one behind the other."""
        for sample in samples:
            self.samples += 1
            self.splits[split] += 1
            self.sources[sample.source] += 1
            self.categories[f"{sample.source}/{sample.category}"] += 1
            self.tasks[sample.task] += 1
            self.authors[sample.author] += 1
            if sample.choice is not None:
                self.letters[sample.choice] += 1
            if self._pair != (split, sample.pair):
                self._pair = (split, sample.pair)
                self.pairs += 1
                self.normal += not sample.is_anomaly
                self.labels.update(set(sample.labels))

    @property
    def defective(self) -> int:
        """Pairs whose query is not normal."""
        return self.pairs - self.normal

    def to_json(self) -> dict[str, Any]:
        """All numbers as one object; names sorted, so that two runs compare."""
        groups = ("splits", "sources", "categories", "tasks", "labels", "letters", "authors")
        return {
            "samples": self.samples,
            "pairs": self.pairs,
            "normal": self.normal,
            "defective": self.defective,
            **{name: dict(sorted(getattr(self, name).items())) for name in groups},
            "balance": {
                name: balance(getattr(self, name))
                for name in ("sources", "categories", "labels", "letters")
            },
        }


def balance(counts: Mapping[str, int]) -> dict[str, float]:
    """How evenly numbers are spread.

    Returns:
        ratio: the largest number over the smallest. effective: how many equal classes would be
        mixed as much, exp of the entropy; between 1 and the number of classes. Empty without any.
    """
    from math import exp, log

    total = sum(counts.values())
    if not total:
        return {}
    shares = [count / total for count in counts.values() if count]
    return {
        "ratio": round(max(shares) / min(shares), 2),
        "effective": round(exp(-sum(share * log(share) for share in shares)), 2),
    }
