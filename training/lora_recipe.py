"""Which parts of a model learn by low-rank adapters, and of what shape these are."""

from __future__ import annotations

from pydantic import Field

from adcopilot_edge.record import Record
from adcopilot_edge.training.model_parts import Part


class LoraRecipe(Record):
    """Low-rank adapters on ``parts``: ``alpha / rank`` times the product of two factors.

    targets: the last names of the linear layers that get one, in every part; where it is left out
    those of ``lora.PART_TARGETS``.
    """

    parts: tuple[Part, ...] = Field(min_length=1)
    rank: int = Field(default=64, gt=0)
    alpha: int = Field(default=128, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] | None = Field(default=None, min_length=1)
