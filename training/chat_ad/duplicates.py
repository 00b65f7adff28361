"""Which queries say nothing new. Knows neither files nor words.

Only queries are judged: a template is meant to look like its query. Parts under a fixed camera look
alike, and are worth having; a defect is smaller than what a look can tell. So a query repeats an
earlier one that is kept

- if their pixels are equal, whatever is said of them; and where one is called normal and the other
  defective, nobody knows what is true, and both are left out;
- or if they look alike (``DUPLICATE_BITS`` of 256 at most) *and* the truth is the same: both
  normal, or the same labels at the same places (boxes match one to one with an IoU of at least 0.5
  in shares of the picture). Another defect on the same part is never a duplicate, so a query with
  a defect that has no place, and may be another one, is judged by its pixels alone.

Where the parts of a category are alike by nature, closeness means less: there the limit is a
quarter of the median distance of two queries, if that is smaller. Of fewer than 8 queries nobody
can tell, so they are judged by their pixels alone too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from adcopilot_edge.training.chat_ad.fingerprint import Fingerprint, distance
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.near import NearIndex
from adcopilot_edge.types import BBox

DUPLICATE_BITS = 10
"""Measured on 85 cookies and 500 scans of DeepPCB: a copy (JPEG at quality 50, half the size, 10 %
brighter, noise, a shift by a pixel) differs in 0 to 10 bits. Different scans differ in 28 at least.
Of cookies one pair is at 10, two pictures of one cookie; all others are at 60 or more."""

_SAME_PLACE = 0.5  # IoU
_SPREAD_SHARE = 4  # a quarter of the median distance
_SPREAD_SAMPLE = 200  # queries of a category whose distances are taken
_SPREAD_LEAST = 8  # with fewer the median says nothing

_Truth = tuple[tuple[str, BBox], ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A query that is left out. of: the pair that it repeats. bits: how many of 256 differ."""

    pair: str
    of: str
    bits: int
    contradicts: bool = False


def find_repeats(
    pairs: Sequence[MinedPair], fingerprints: Sequence[Fingerprint], *, bits: int = DUPLICATE_BITS
) -> list[Repeat]:
    """The queries to leave out, in the order of ``pairs``.

    Args:
        pairs: Of equals the first is kept.
        fingerprints: Of their queries, one each.
        bits: How many of 256 bits may differ; 0 finds equal looks.
    """
    repeats, doubted = _equal_pixels(pairs, fingerprints)
    limits = _limits(pairs, fingerprints, bits)
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        is_open = number not in repeats and number not in doubted
        if is_open and pair.is_placed and _category(pair) in limits:
            groups[tuple(sorted(label for label, _ in _truth(pair)))].append(number)
    for numbers in groups.values():
        index = NearIndex(bits)
        kept: list[int] = []
        for number in numbers:
            pair, look = pairs[number], fingerprints[number].bits
            for apart, place in index.near(look):
                other = kept[place]
                if apart <= min(limits[_category(pair)], limits[_category(pairs[other])]) and (
                    _same_places(_truth(pair), _truth(pairs[other]))
                ):
                    repeats[number] = Repeat(pair.key, pairs[other].key, apart)
                    break
            else:
                kept.append(number)
                index.add(look)
    return [one for _, one in sorted({**repeats, **doubted}.items())]


def _equal_pixels(
    pairs: Sequence[MinedPair], fingerprints: Sequence[Fingerprint]
) -> tuple[dict[int, Repeat], dict[int, Repeat]]:
    """Queries whose pixels came before, and those of groups that are called normal and not."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(fingerprints):
        groups[one.pixels].append(number)
    repeats, doubted = {}, {}
    for numbers in groups.values():
        first, *others = numbers
        if len({pairs[number].is_normal for number in numbers}) > 1:
            for number, of in zip(numbers, (others[0], *[first] * len(others)), strict=True):
                doubted[number] = Repeat(pairs[number].key, pairs[of].key, 0, contradicts=True)
            continue
        for number in others:
            repeats[number] = Repeat(pairs[number].key, pairs[first].key, 0)
    return repeats, doubted


def _limits(
    pairs: Sequence[MinedPair], fingerprints: Sequence[Fingerprint], bits: int
) -> dict[tuple[str, str], int]:
    """How far apart two queries of a category may be to count as one; none for small categories."""
    looks: dict[tuple[str, str], list[int]] = defaultdict(list)
    for pair, one in zip(pairs, fingerprints, strict=True):
        looks[_category(pair)].append(one.bits)
    limits = {}
    for category, all_of in looks.items():
        step = -(-len(all_of) // _SPREAD_SAMPLE)
        some = all_of[::step]
        if len(some) >= _SPREAD_LEAST:
            apart = [distance(a, b) for place, a in enumerate(some) for b in some[:place]]
            limits[category] = min(bits, int(median(apart) / _SPREAD_SHARE))
    return limits


def _category(pair: MinedPair) -> tuple[str, str]:
    return pair.source, pair.category


def _truth(pair: MinedPair) -> _Truth:
    """Label and box of every defect, boxes in shares of the picture."""
    width, height = pair.query_size
    return tuple(
        (defect.label, (x1 / width, y1 / height, x2 / width, y2 / height))
        for defect in pair.defects
        for x1, y1, x2, y2 in defect.boxes
    )


def _same_places(first: _Truth, second: _Truth) -> bool:
    """Whether defects match one to one, each with one of its label at its place."""
    rest = list(second)
    for label, box in first:
        match = next((other for other in rest if _is_same(label, box, *other)), None)
        if match is None:
            return False
        rest.remove(match)
    return not rest


def _is_same(label: str, box: BBox, other_label: str, other: BBox) -> bool:
    return label == other_label and _iou(box, other) >= _SAME_PLACE


def _iou(a: BBox, b: BBox) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, across) * max(0.0, down)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared)
