"""Boxes decoded under their grammar: the model's own token where it fits, else its best that does.

What fits is told from the token's bytes alone. Only when the model's choice does not fit are all
tokens sorted out, and what was found is kept for the next time.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from adcopilot_edge.runtime.box_grammar import START, BoxGrammar, Place
from adcopilot_edge.runtime.vocabulary import Vocabulary
from adcopilot_edge.types import FloatArray, IntArray

# A label ends at the first token behind so many bytes.
_MAX_LABEL_BYTES = 100
# Places with numbers are as many as boxes; the lists of the others are some dozens.
_MAX_KEPT = 256


class TokenChoices:
    """Which tokens may follow at a place of the grammar, kept for the places used last."""

    def __init__(self, vocabulary: Vocabulary, grammar: BoxGrammar) -> None:
        self.vocabulary = vocabulary
        self.grammar = grammar
        self._kept: OrderedDict[Place, IntArray] = OrderedDict()

    def at(self, place: Place) -> IntArray:
        """Return the ids of the tokens that may follow at ``place``, at least one."""
        if place in self._kept:
            self._kept.move_to_end(place)
            return self._kept[place]
        rows: list[IntArray] = []
        self._collect(place, b"", 0, len(self.vocabulary.texts), rows)
        ids = self.vocabulary.ids[np.concatenate(rows)]
        self._kept[place] = ids
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return ids

    def _collect(
        self, place: Place, prefix: bytes, low: int, high: int, rows: list[IntArray]
    ) -> None:
        """Add the rows, of ``low`` to ``high``, of tokens whose part behind ``prefix`` fits.

        All these tokens begin with ``prefix``, which led to ``place``.
        """
        vocabulary, grammar = self.vocabulary, self.grammar
        if place.name == "text":
            special = vocabulary.last_special[low:high] >= len(prefix)
            rows.append(np.flatnonzero(~special) + low)
            fitting = [
                row
                for row in (np.flatnonzero(special) + low).tolist()
                if grammar.follow(place, vocabulary.texts[row][len(prefix) :]) is not None
            ]
            rows.append(np.array(fitting, dtype=np.int64))
            return
        while low < high and len(vocabulary.texts[low]) == len(prefix):
            rows.append(np.array([low], dtype=np.int64))
            low += 1
        for letter, then in grammar.next_places(place).items():
            longer = prefix + bytes([letter])
            start, stop = vocabulary.starting_with(longer, low, high)
            if start < stop:
                self._collect(then, longer, start, stop, rows)


class BoxGuide:
    """Chooses the tokens of one answer. has_overruled: a choice of the model did not fit."""

    def __init__(self, choices: TokenChoices) -> None:
        self.has_overruled = False
        self._choices = choices
        self._place = START
        self._label_bytes = 0

    @property
    def is_done(self) -> bool:
        """True when the list is closed."""
        return self._place.name == "done"

    def choose(self, logits: FloatArray) -> int:
        """Return the id of the likeliest token that fits; ``logits`` are (V,)."""
        token = int(np.argmax(logits))
        place = self._after(token)
        if place is None:
            self.has_overruled = True
            ids = self._choices.at(self._place)
            token = int(ids[np.argmax(logits[ids])])
            place = self._after(token)
            assert place is not None
        self._place = self._limited(place, token)
        return token

    def _after(self, token: int) -> Place | None:
        text = self._choices.vocabulary.by_id.get(token)
        return None if text is None else self._choices.grammar.follow(self._place, text)

    def _limited(self, place: Place, token: int) -> Place:
        """``place``, or the end of the label where that gets too long."""
        if place.name != "text":
            self._label_bytes = 0
            return place
        self._label_bytes += len(self._choices.vocabulary.by_id[token])
        return place if self._label_bytes < _MAX_LABEL_BYTES else Place("full_text")
