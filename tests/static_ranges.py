"""A ranges state as a device would have measured it, for the bundle of static INT8."""

from __future__ import annotations

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.runtime.ranges_state import RangesState

NAME = "visual.blocks.0.attn.qkv"


def make_ranges(opened: Bundle, high: float = 3.0, **changes: object) -> RangesState:
    values = {
        "created_by": "tests",
        "created_at": "2026-01-02T03:04:05Z",
        "bundle": opened.id,
        "golden_sha256": "ab" * 32,
        "num_good": 16,
        "good_sha256": "0" * 64,
        "layers": {"vision": {NAME: (-1.0, high)}},
    }
    return RangesState.model_validate({**values, **changes})
