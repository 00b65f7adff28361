"""Choose pairs that stand for all: of every category, good and defective, alike and different.

Looks at pixels once, keeps none of them, and says what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from adcopilot_edge.calibration.coverage import DIFFERENCES, Coverage, Difference, Stratum, kind_of
from adcopilot_edge.calibration.difference import mean_difference
from adcopilot_edge.calibration.noise import is_noise
from adcopilot_edge.calibration.record import hash_pair
from adcopilot_edge.errors import DatasetError, TooFewSamplesError
from adcopilot_edge.types import LabelledPair

# How many pairs are looked at for each that is chosen: enough for thirds of their differences,
# and no more of a data set of half a million.
_LOOKS_PER_PAIR = 8
# Names in a message.
_MOST_NAMES = 10

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair that may be chosen: what its label says, and how it is read."""

    category: str
    is_anomaly: bool
    open: Callable[[], LabelledPair]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A candidate that was looked at: its kind as label and boxes have it, and its difference."""

    candidate: Candidate
    is_anomaly: bool
    difference: float

    @property
    def group(self) -> tuple[str, bool]:
        return self.candidate.category, self.is_anomaly


def select_candidates(
    name: str, candidates: Sequence[Candidate], *, count: int, seed: int
) -> tuple[list[Candidate], Coverage]:
    """``count`` of ``candidates``, the strata in turns, and what was covered.

    Args:
        name: What the candidates are, for messages.
        candidates: In a stable order.
        count: How many.
        seed: The same seed and candidates give the same selection.

    Raises:
        DatasetError: Pictures are random noise; the message names them. Opening a pair raises it
            as well, or InputError.
        TooFewSamplesError: There are fewer pairs with pixels of their own.
    """
    rng = np.random.default_rng(seed)
    seen, num_duplicates = _look(name, shuffled(candidates, rng), _LOOKS_PER_PAIR * count)
    groups = _grouped(seen, lambda one: one.group)
    if len(seen) < count:
        raise TooFewSamplesError(_lack(name, groups, count, num_duplicates))
    strata = {
        (*group, difference): members
        for group, whole in groups.items()
        for difference, members in _thirds(whole)
    }
    rows = []
    for group in groups:
        order = [DIFFERENCES[index] for index in rng.permutation(len(DIFFERENCES))]
        rows.append(list(_in_turns([strata[(*group, difference)] for difference in order])))
    chosen = list(_in_turns(rows))[:count]
    taken = {id(one) for one in chosen}
    coverage = Coverage(
        seed=seed,
        num_candidates=len(candidates),
        num_seen=len(seen),
        num_duplicates=num_duplicates,
        strata=tuple(
            Stratum(*key, len(members), sum(id(one) in taken for one in members))
            for key, members in strata.items()
            if members
        ),
    )
    return [one.candidate for one in chosen], coverage


def shuffled(candidates: Iterable[Candidate], rng: np.random.Generator) -> Iterator[Candidate]:
    """The candidates in random order, categories and kinds in turns."""
    groups = _grouped(candidates, lambda one: (one.category, one.is_anomaly))
    return _in_turns(
        [[group[index] for index in rng.permutation(len(group))] for group in groups.values()]
    )


def _look(name: str, candidates: Iterable[Candidate], most: int) -> tuple[list[_Seen], int]:
    """Look at candidates until ``most`` different ones are seen; and how many were seen twice.

    Raises DatasetError where some are noise.
    """
    seen: list[_Seen] = []
    hashes: set[str] = set()
    num_duplicates = 0
    noise: list[str] = []
    for candidate in candidates:
        if len(seen) == most:
            break
        pair = candidate.open()
        digest = hash_pair(pair)
        if digest in hashes:
            num_duplicates += 1
            continue
        hashes.add(digest)
        if is_noise(pair.golden) or is_noise(pair.test):
            noise.append(pair.name)
        difference = mean_difference(pair.golden, pair.test)
        seen.append(_Seen(candidate, candidate.is_anomaly or pair.is_anomaly, difference))
    if noise:
        raise DatasetError(
            f"{len(noise)} of {len(seen)} pairs of {name} are random noise, in which no pixel is "
            f"like its neighbour: {_list(sorted(noise))}. Ranges come from pictures of the line."
        )
    return seen, num_duplicates


def _thirds(group: Sequence[_Seen]) -> Iterator[tuple[Difference, list[_Seen]]]:
    """The members of a group by third of their difference, in the order they were seen."""
    order = sorted(range(len(group)), key=lambda index: group[index].difference)
    third = {index: DIFFERENCES[3 * rank // len(group)] for rank, index in enumerate(order)}
    for difference in DIFFERENCES:
        yield difference, [one for index, one in enumerate(group) if third[index] == difference]


def _lack(
    name: str, groups: dict[tuple[str, bool], list[_Seen]], count: int, num_duplicates: int
) -> str:
    """How many pairs there are, of what, and how many are needed."""
    total = sum(map(len, groups.values()))
    rows = [
        f"{category} {kind_of(kind)} {len(group)}" for (category, kind), group in groups.items()
    ]
    twice = f", {num_duplicates} more have the pixels of another" if num_duplicates else ""
    return (
        f"{name} has {total} different pairs, {count} are needed ({_list(rows) or 'none'}{twice}). "
        "Add some, or ask for fewer."
    )


def _list(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _grouped(
    items: Iterable[_Item], key: Callable[[_Item], tuple[str, bool]]
) -> dict[tuple[str, bool], list[_Item]]:
    """The items by category and kind, in their order; the keys sorted."""
    groups: dict[tuple[str, bool], list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return dict(sorted(groups.items(), key=lambda entry: entry[0]))


def _in_turns(rows: Iterable[Sequence[_Item]]) -> Iterator[_Item]:
    """The first of every row, the second of every row, and so on."""
    lists = list(rows)
    for turn in range(max(map(len, lists), default=0)):
        for row in lists:
            yield from row[turn : turn + 1]
