"""What a run of the teacher did, in numbers. Knows neither endpoint nor texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class TeachReport:
    """Counts of a run, filled while it goes on; also right when the run stops early.

    pairs: answered and judged. cached: of them, answered by the cache. requests: questions that
    were asked; retries: repeats of them. unanswered: requests that failed for good. samples: by
    task. failures: pieces in the review file, by reason code. cost: None without prices.
    """

    pairs: int = 0
    cached: int = 0
    requests: int = 0
    retries: int = 0
    unanswered: int = 0
    samples: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    num_failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None

    @property
    def num_judged(self) -> int:
        """How many pieces (a caption, a dialogue, a choice) were judged."""
        return self.samples.total() + self.num_failed

    def to_json(self) -> dict[str, Any]:
        """The report as one object."""
        return {
            "pairs": self.pairs,
            "cached": self.cached,
            "requests": self.requests,
            "retries": self.retries,
            "unanswered": self.unanswered,
            "samples": dict(sorted(self.samples.items())),
            "failed": self.num_failed,
            "failures": dict(sorted(self.failures.items())),
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "cost": self.cost if self.cost is None else round(self.cost, 6),
        }
