"""What a user may choose about pairs from an own folder. Knows no files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from adcopilot_edge.errors import ConfigError

Symmetry = Literal["none", "flips", "all"]
"""Which of the eight turns and mirrorings of a square both images of a pair may get: none, the two
mirrorings and the half turn, or all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderShares:
    """How often a pair is of each kind; where a folder has no bad part, the others share its part.

    good: golden and a good part. bad: golden and a bad part. painted: golden and a good part with
    synthetic defects, which are known to the pixel.
    """

    good: float = 0.5
    bad: float = 0.25
    painted: float = 0.25

    def __post_init__(self) -> None:
        shares = (self.good, self.bad, self.painted)
        if min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ConfigError(
                f"the shares of good, bad and painted pairs must be at least 0 and add up to 1, "
                f"got {self.good}, {self.bad} and {self.painted}"
            )
        if not 0.0 < self.good < 1.0:
            raise ConfigError(
                f"a model needs good and bad pairs: the share of good ones must be above 0 and "
                f"below 1, got {self.good}"
            )

    def known(self, *, has_bad: bool) -> tuple[float, float, float]:
        """Good, bad and painted for a folder with or without bad parts."""
        if has_bad or not self.bad:
            return self.good, self.bad, self.painted
        return self.good, 0.0, self.bad + self.painted


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """How pairs are made from the parts of a folder.

    holdout: share of the parts that never train, 0 to below 1; a part's pixels alone decide.
    symmetry: of both images of a pair together. light: 0..1, how far light, blur and noise of both
    images may differ from what the camera gave. shift_px: how far both images move together, in
    pixels of the model's input. tile: where a picture is larger than the model's input, take a part
    of that size from it, as ``inspect --tile`` does, instead of scaling it down.
    """

    holdout: float = 0.25
    shares: FolderShares = field(default_factory=FolderShares)
    symmetry: Symmetry = "flips"
    light: float = 0.4
    shift_px: float = 4.0
    tile: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.holdout < 1.0:
            raise ConfigError(f"holdout must be at least 0 and below 1, got {self.holdout}")
        if not 0.0 <= self.light <= 1.0 or not 0.0 <= self.shift_px <= 8.0:
            raise ConfigError(
                f"light must be in 0..1 and shift_px in 0..8, got {self.light} and {self.shift_px}"
            )
