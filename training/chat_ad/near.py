"""Finds those of many bit strings that differ little from one, without comparing all with all.

Knows nothing of pictures.
"""

from __future__ import annotations

from itertools import pairwise

from adcopilot_edge.training.chat_ad.fingerprint import NUM_BITS, distance


class NearIndex:
    """Bit strings with a number each, found by others that differ in at most ``reach`` bits.

    The bits are cut into ``reach + 1`` bands. Two strings that differ in no more than ``reach``
    bits agree in one band at least, so only those that share a band are compared: exact, and the
    work for a string grows with how many look like it, not with how many there are.

    Args:
        reach: 0 or more.
    """

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self._strings: list[int] = []
        edges = [NUM_BITS * band // (reach + 1) for band in range(reach + 2)]
        self._bands = [(start, (1 << (end - start)) - 1) for start, end in pairwise(edges)]
        # A number where one string has the band, a list where several do: most have their own.
        self._found: list[dict[int, int | list[int]]] = [{} for _ in self._bands]

    def __len__(self) -> int:
        return len(self._strings)

    def add(self, bits: int) -> int:
        """Take a string in; returns its number, counted from 0."""
        number = len(self._strings)
        self._strings.append(bits)
        for (start, mask), found in zip(self._bands, self._found, strict=True):
            band = bits >> start & mask
            others = found.get(band)
            if others is None:
                found[band] = number
            elif isinstance(others, int):
                found[band] = [others, number]
            else:
                others.append(number)
        return number

    def near(self, bits: int) -> list[tuple[int, int]]:
        """All within reach as (distance, number), nearest first, of equals the one added first."""
        numbers: set[int] = set()
        for (start, mask), found in zip(self._bands, self._found, strict=True):
            others = found.get(bits >> start & mask)
            if isinstance(others, int):
                numbers.add(others)
            elif others is not None:
                numbers.update(others)
        apart = ((distance(bits, self._strings[number]), number) for number in numbers)
        return sorted(pair for pair in apart if pair[0] <= self.reach)
