"""Which pairs are held out for validation. Knows no file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from adcopilot_edge.errors import ConfigError

SplitBy = Literal["category", "pair"]
SPLIT_RULES: tuple[SplitBy, ...] = get_args(SplitBy)

Category = tuple[str, str]  # source, category


def held_out_categories(
    pairs: Mapping[Category, int], *, share: float, seed: int
) -> frozenset[Category]:
    """Whole categories with about ``share`` of all pairs, at least one and not all.

    Templates and defects of a category look alike on both sides of a cut through it, so a figure on
    such pairs says little about a new product.

    Args:
        pairs: How many there are of each category.
        share: Above 0 and below 1.
        seed: Another one holds out others.

    Raises:
        ConfigError: There is only one category.
    """
    if len(pairs) < 2:
        raise ConfigError(
            "--validation holds out whole categories, and there is only one; add --split-by pair "
            "to hold out pairs of it, whose parts look like those that are learned from"
        )
    wanted = share * sum(pairs.values())
    chosen: set[Category] = set()
    taken = 0
    for category in sorted(pairs, key=lambda one: fraction(seed, *one)):
        is_nearer = abs(taken + pairs[category] - wanted) < abs(taken - wanted)
        if is_nearer and len(chosen) < len(pairs) - 1:
            chosen.add(category)
            taken += pairs[category]
    return frozenset(chosen or {min(pairs, key=lambda one: (pairs[one], one))})


def held_out_pairs(keys: Iterable[str], *, share: float, seed: int) -> frozenset[str]:
    """Single pairs, about ``share`` of all, at least one and not all.

    Args:
        keys: Of all pairs.
        share: Above 0 and below 1.
        seed: Another one holds out others.

    Raises:
        ConfigError: There is only one pair.
    """
    ranked = sorted(keys, key=lambda key: fraction(seed, key))
    if len(ranked) < 2:
        raise ConfigError(
            "--validation holds out pairs, and there is only one; leave it away, or add images"
        )
    count = sum(fraction(seed, key) < share for key in ranked)
    return frozenset(ranked[: min(max(count, 1), len(ranked) - 1)])


def fraction(seed: int, *names: str) -> float:
    """A number in 0..1 that is the same for these names in every run and process."""
    digest = hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
