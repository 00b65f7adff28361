"""A verdict state for tests, with any of its values changed."""

from __future__ import annotations

from datetime import datetime, timezone

from adcopilot_edge.runtime.verdict_state import GoodParts, VerdictState

GOLDEN = "ab" * 32


def make_state(**changes):
    good = GoodParts(
        num=99,
        sha256="0" * 64,
        max_overkill=0.01,
        max_review=0.05,
        overkill_bound=0.03,
        review_bound=0.1,
        anomaly_above=0.75,
        normal_up_to=0.25,
    )
    values = {
        "created_by": "tests",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "bundle": "b" * 16,
        "golden_sha256": GOLDEN,
        "provider": "cpu",
        "tile": False,
        "confidence": 0.95,
        "good": good,
        "temperature": 2.0,
    }
    return VerdictState.model_validate({**values, **changes})
