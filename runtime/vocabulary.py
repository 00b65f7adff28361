"""Tokens as byte strings, sorted, so that those of one prefix are neighbours."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.types import IntArray

# What a JSON string can't hold as it is; everything else in one is plain text.
_SPECIAL = re.compile(rb'["\\\x00-\x1f]')


class Vocabulary:
    """All ordinary tokens; special ones have no bytes and are left out.

    texts: the byte strings, ascending. ids: (V,) int64, their ids. last_special: (V,) int64, for
    each the index of its last byte that a JSON string can't hold plainly, or -1.

    Args:
        tokens: Byte strings by id; empty ones are left out.
    """

    def __init__(self, tokens: Mapping[int, bytes]) -> None:
        self.by_id = {token: text for token, text in tokens.items() if text}
        pairs = sorted((text, token) for token, text in self.by_id.items())
        self.texts = [text for text, _ in pairs]
        self.ids: IntArray = np.array([token for _, token in pairs], dtype=np.int64)
        self.last_special: NDArray[np.int64] = np.array(
            [_last_special(text) for text in self.texts], dtype=np.int64
        )

    def has_bytes(self, letters: bytes) -> bool:
        """True if each of ``letters`` is a token of its own."""
        present = {text for text in self.by_id.values() if len(text) == 1}
        return all(bytes([letter]) in present for letter in letters)

    def starting_with(self, prefix: bytes, low: int, high: int) -> tuple[int, int]:
        """Return the range of the tokens within ``low`` to ``high`` that begin with ``prefix``.

        Its last byte is below 255.
        """
        start = bisect_left(self.texts, prefix, low, high)
        return start, bisect_left(self.texts, prefix[:-1] + bytes([prefix[-1] + 1]), start, high)


def _last_special(text: bytes) -> int:
    found = _SPECIAL.search(text[::-1])
    return -1 if found is None else len(text) - 1 - found.start()
