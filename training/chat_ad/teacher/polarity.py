"""Which mentions of a sentence are denied, and where a denial can't be understood.

Only forms that are understood deny: a sentence with any other word of negation or doubt is unclear,
and what is unclear is never taken for true. Knows no pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adcopilot_edge.training.chat_ad.teacher.lexicon import HEDGES, word_set
from adcopilot_edge.training.chat_ad.teacher.mentions import DEFECT_KINDS, Mention

BREAKERS = word_set("; : but while whereas however although though yet")
"""What ends the reach of a denial."""

_NEGATORS = word_set("""
    no not never none nothing nowhere neither nor without hardly barely scarcely rarely lack lacks
    lacking lacked absence absent devoid nobody seldom zero 0 refute deny denies denied refuted
    rule ruled exclude excluded dismissed false untrue contrary lost lose loses gone vanished
    removed invisible instead rather anything disappear disappears disappeared avoid avoids
    avoided spared spare resisted prevented prevents averted escaped escapes un non less lest
    """)
_MODIFIERS = word_set("""
    any visible other further additional obvious apparent noticeable sign signs trace traces
    evidence indication indications hint hints form kind type types sort of such significant
    surface structural detectable discernible more physical cosmetic clear single or nor
    """)
_SKIPPED = word_set("visibly really actually at all in any way been be to look seem the")
_PRESENCE = word_set("""
    visible present seen found there detected detectable observed apparent noticeable exist exists
    occur appear
    """)
_SEEING = word_set("""
    see find show have has contain exhibit reveal display bear observe detect notice suffer
    indicate from
    """)
_ODD_PAIRS = frozenset(
    (("far", "from"), ("fails", "to"), ("fail", "to"), ("failed", "to"), ("or", "so"))
)
_STATES = word_set("bent broken torn worn burnt split cut")
_FAINT = word_set("visible noticeable perceptible discernible")


@dataclass(slots=True)
class Polarity:
    """Of a sentence's words by their index.

    denied: what is said not to be. unclear: what may be denied or doubted. odd: words of a denial
    that was not understood, which make all of their sentence unclear.
    """

    denied: set[int] = field(default_factory=set)
    unclear: set[int] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)

    def is_denied(self, mention: Mention) -> bool:
        """Whether the mention is said not to be."""
        return mention.start in self.denied

    def is_affirmed(self, mention: Mention) -> bool:
        """Whether the mention is said to be, without doubt."""
        return mention.start not in self.denied and mention.start not in self.unclear


def find_polarity(words: Sequence[str], mentions: Sequence[Mention]) -> Polarity:
    """What a sentence denies."""
    reading = _Reading(words, mentions)
    index = 0
    while index < len(words):
        index = reading.read(index)
    return reading.polarity


class _Reading:
    """A sentence while its denials are read from left to right."""

    def __init__(self, words: Sequence[str], mentions: Sequence[Mention]) -> None:
        self.words = words
        self.mentions = mentions
        self.polarity = Polarity()
        self._at = {i: one for one in mentions for i in range(one.start, one.end)}

    def read(self, index: int) -> int:
        """Read the word at ``index``; return the index of the next to be read."""
        word, ahead = self.words[index], [*self.words[index + 1 : index + 4], "", "", ""]
        if index in self._at and word not in _NEGATORS and (word, ahead[0]) not in _ODD_PAIRS:
            is_free = ahead[0] == "free" and ahead[1] not in ("of", "from")
            if is_free:
                self._deny({index})
            return index + 2 if is_free else index + 1
        if word in HEDGES or (word, ahead[0]) in _ODD_PAIRS:
            self._odd(index)
        elif word in ("hardly", "barely", "scarcely") and ahead[0] in _FAINT:
            return index + 2
        elif word == "not":
            return self._read_not(index)
        elif (word in ("free", "devoid", "clear") and ahead[0] in ("of", "from")) or (
            word == "absence" and ahead[0] == "of"
        ):
            return self._list(index, index + 2)
        elif word in ("no", "without", "neither", "lack", "lacks", "lacking", "zero", "0"):
            return self._list(index, index + 1)
        elif word == "nor":
            return self._list(index, index + 1) if self._is_open(index) else index + 1
        elif word == "nothing":
            start = index + 1
            while start < len(self.words) and self.words[start] in ("is", "looks", "seems", "was"):
                start += 1
            return self._list(index, start)
        elif word == "absent":
            return self._deny_before(index)
        elif word in _NEGATORS:
            self._odd(index)
        return index + 1

    def _read_not(self, index: int) -> int:
        start = index + 1
        while start < len(self.words) and self.words[start] in _SKIPPED:
            start += 1
        if start in self._at:
            return self._list(index, start)
        word = self.words[start] if start < len(self.words) else ""
        if word in ("a", "an", "any"):
            return self._list(index, start)
        if word in _SEEING:
            start += 1
            while start < len(self.words) and self.words[start] in ("any", "a", "an", "from"):
                start += 1
            return self._list(index, start)
        if word in _PRESENCE:
            return self._deny_before(index)
        self._odd(index)
        return index + 1

    def _list(self, index: int, start: int) -> int:
        """Deny the nouns of a list that begins at ``start``; return where it ends."""
        words, items, commas = self.words, list[int](), list[int]()
        is_closed, at = False, start
        while at < len(words):
            word = words[at]
            if at in self._at:
                items.append(at)
                if words[self._at[at].end : self._at[at].end + 1] == ["free"]:
                    self._odd(index)
            elif word in ("a", "an"):
                if at != start and words[at - 1] not in ("or", "nor"):
                    break
            elif word in (",", "and"):
                follows = words[at + 1] if at + 1 < len(words) else ""
                if not (at + 1 in self._at or follows in ("or", "and", "other", "any", "nor")):
                    break
                if word == ",":
                    commas.append(at)
                is_closed = is_closed or word == "and"
                if word == "and" and self._is_new_clause(at + 1, index):
                    self.polarity.unclear.add(at + 1)
            elif word not in _MODIFIERS:
                break
            is_closed = is_closed or word in ("or", "nor")
            at += 1
        if not items:
            self._odd(index)
            return max(start, index + 1)
        first_comma = commas[0] if commas and not is_closed else len(words)
        self._deny({one for one in items if one < first_comma})
        self.polarity.unclear |= {one for one in items if one > first_comma}
        return at

    def _is_new_clause(self, at: int, index: int) -> bool:
        """Whether the mention at ``at`` may begin a clause and be no part of a denied list."""
        if at not in self._at:
            return False
        end = self._at[at].end
        is_subject = self.words[end : end + 1] in (["is"], ["are"], ["was"], ["were"], ["can"])
        is_opening = index == 0 or self.words[index - 1] in {*BREAKERS, ","}
        is_inside = self.words[index] != "no" or not is_opening
        is_state = self.words[at].endswith("ed") or self.words[at] in _STATES
        return is_state or (is_subject and is_inside)

    def _deny_before(self, index: int) -> int:
        """Deny the nearest defects before ``index``, as in ``scratches are not visible``."""
        start = max((i for i in range(index) if self.words[i] in {*BREAKERS, ","}), default=-1)
        before = [i for i in range(start + 1, index) if i in self._at]
        nouns = [i for i in before if self._at[i].kind in DEFECT_KINDS]
        if not nouns:
            self._odd(index)
        self._deny(set(before))
        following = {"visible", "present", "seen", "found", "there", "detected", "observed", "be"}
        index += 1
        while index < len(self.words) and self.words[index] in following:
            index += 1
        return index

    def _deny(self, indices: set[int]) -> None:
        """What is denied twice is unclear."""
        whole = {i for one in indices for i in range(self._at[one].start, self._at[one].end)}
        self.polarity.unclear |= whole & self.polarity.denied
        self.polarity.denied |= whole
        self.polarity.denied -= self.polarity.unclear

    def _odd(self, index: int) -> None:
        self.polarity.odd.append(self.words[index])
        self.polarity.unclear |= set(range(len(self.words)))

    def _is_open(self, index: int) -> bool:
        """Whether a denial before ``index`` goes on with ``nor``."""
        return "neither" in self.words[:index] or "not" in self.words[:index]
