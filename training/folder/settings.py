"""What a user may choose about pairs from an own folder, as records of a recipe. Knows no files."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from adcopilot_edge.record import Record

Symmetry = Literal["none", "flips", "all"]
"""Which of the eight turns and mirrorings of a square both images of a pair may get: none, the two
mirrorings and the half turn, or all."""


class FolderShares(Record):
    """How often a pair is of each kind; where a folder has no bad part, more are painted.

    good: golden and a good part. bad: golden and a bad part. painted: golden and a good part with
    synthetic defects, which are known to the pixel.
    """

    good: float = Field(default=0.5, gt=0, lt=1)
    bad: float = Field(default=0.25, ge=0, lt=1)
    painted: float = Field(default=0.25, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> FolderShares:
        if not math.isclose(self.good + self.bad + self.painted, 1.0, abs_tol=1e-6):
            raise ValueError(
                f"the shares of good, bad and painted pairs must add up to 1, got "
                f"{self.good} + {self.bad} + {self.painted}"
            )
        return self

    def known(self, *, has_bad: bool) -> tuple[float, float, float]:
        """Good, bad and painted for a folder with or without bad parts."""
        if has_bad:
            return self.good, self.bad, self.painted
        return self.good, 0.0, self.bad + self.painted


class FolderSettings(Record):
    """How pairs are made from the parts of a folder.

    layout: the name of the reader; the first that knows the folder where it is left out. holdout:
    share of the parts that never train; a part's pixels alone decide. symmetry: of both images of
    a pair together. light: how far light, blur and noise of both images may differ from what the
    camera gave. shift_px: how far both images move together, in pixels of the model's input. tile:
    where a picture is larger than the model's input, take a part of that size from it, as
    ``inspect --tile`` does, instead of scaling it down.
    """

    layout: str | None = None
    holdout: float = Field(default=0.25, ge=0, lt=1)
    shares: FolderShares = FolderShares()
    symmetry: Symmetry = "flips"
    light: float = Field(default=0.4, ge=0, le=1)
    shift_px: float = Field(default=4.0, ge=0, le=8)
    tile: bool = False
