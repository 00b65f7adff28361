"""Answers that are boxes, as an automaton over bytes: what may follow what was written so far.

The language: ``[{"bbox_2d": [x1, y1, x2, y2], "label": "..."}, ...]``, perhaps empty, perhaps
behind a fence of three backticks, with a little white space where JSON allows it; a label may be
missing. Or the words ``No defect``. Corners are whole numbers with 0 <= x1 < x2 <= width and
0 <= y1 < y2 <= height. Every text that was begun by these rules can be finished by them. Knows
nothing of tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from adcopilot_edge.prompt import NO_DEFECT

# What json.dumps indents by, and a line break; a model can't go on with blanks for ever.
_MAX_BLANKS = 16
_BLANKS = b" \n\t\r"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_QUOTE, _BACKSLASH, _FENCE = b'"'[0], b"\\"[0], b"`"[0]

# Places where words stand: the words, and where they lead. The first byte has led to the place.
_WORDS = {
    "no_defect": (NO_DEFECT.encode(), "done"),
    "fence": (b"```json\n", "list"),
    "box_key": (b'"bbox_2d"', "box_colon"),
    "label_key": (b'"label"', "label_colon"),
}
# Places with white space around one sign: which signs there are, and where each leads.
_SIGNS = {
    "start": {b"["[0]: "items", _FENCE: "fence", b"N"[0]: "no_defect"},
    "list": {b"["[0]: "items"},
    "items": {b"{"[0]: "object", b"]"[0]: "done"},
    "object": {_QUOTE: "box_key"},
    "box_colon": {b":"[0]: "box"},
    "box": {b"["[0]: "corner"},
    "box_end": {b","[0]: "label", b"}"[0]: "object_end"},
    "label": {_QUOTE: "label_key"},
    "label_colon": {b":"[0]: "label_quote"},
    "label_quote": {_QUOTE: "text"},
    "text_end": {b"}"[0]: "object_end"},
    "object_end": {b","[0]: "next", b"]"[0]: "done"},
    "next": {b"{"[0]: "object"},
    "done": {_FENCE: "done"},
}
_ESCAPES = dict.fromkeys(b'"\\/bfnrt', "text") | {b"u"[0]: "hex"}


class Place(NamedTuple):
    """A state of the automaton.

    at: how many bytes of the words, blanks in a row, or digits there are. corners: the finished
    numbers of the present box. value: of the present number.
    """

    name: str
    at: int = 0
    corners: tuple[int, ...] = ()
    value: int = 0


START = Place("start")


class BoxGrammar:
    """The automaton for an image of the model.

    Args:
        height: Rows of the image, the largest y2.
        width: Columns of the image, the largest x2.
    """

    # As long as each of these bytes is a token, every text that was begun has an end.
    alphabet = bytes({*b"".join(words for words, _ in _WORDS.values()), *b"[]{}:,", *_HEX})

    def __init__(self, *, height: int, width: int) -> None:
        self._sizes = (width, height)

    def next_places(self, place: Place) -> dict[int, Place]:
        """Return where each byte leads that may follow; not for a text, where most bytes may."""
        name, at = place.name, place.at
        if name in _WORDS:
            return self._in_words(place)
        if name == "corner":
            return self._in_number(place)
        if name == "corner_end":
            return self._blanks(place) | self._behind_number(place.corners)
        if name == "full_text":
            return {_QUOTE: Place("text_end")}
        if name == "escape":
            return {letter: Place(then) for letter, then in _ESCAPES.items()}
        if name == "hex":
            then = Place("text") if at == 3 else Place("hex", at + 1)
            return dict.fromkeys(_HEX, then)
        signs = {sign: _entered(then) for sign, then in _SIGNS[name].items()}
        return self._blanks(place) | signs

    def follow(self, place: Place, text: bytes) -> Place | None:
        """Return where ``text`` leads from ``place``, or None if it may not follow."""
        for letter in text:
            if place.name != "text":
                found = self.next_places(place).get(letter)
                if found is None:
                    return None
                place = found
            elif letter == _QUOTE:
                place = Place("text_end")
            elif letter == _BACKSLASH:
                place = Place("escape")
            elif letter < 0x20:
                return None
        return place

    def _in_words(self, place: Place) -> dict[int, Place]:
        words, then = _WORDS[place.name]
        letter, at = words[place.at], place.at + 1
        places = {letter: Place(place.name, at) if at < len(words) else Place(then)}
        if place.name == "fence" and place.at == 3:
            places[b"\n"[0]] = Place("list")
        return places

    def _in_number(self, place: Place) -> dict[int, Place]:
        """A number and the blanks in front; ``at`` counts its digits, or below 0 the blanks."""
        corners, value, at = place.corners, place.value, place.at
        least, most = self._bounds(corners)
        places = {
            letter: place._replace(at=max(at, 0) + 1, value=value * 10 + digit)
            for digit, letter in enumerate(_DIGITS)
            if not (at > 0 and value == 0) and _can_reach(value * 10 + digit, least, most)
        }
        if -_MAX_BLANKS < at <= 0:
            places |= dict.fromkeys(_BLANKS, place._replace(at=at - 1))
        if at > 0 and least <= value <= most:
            finished = (*corners, value)
            places |= dict.fromkeys(_BLANKS, Place("corner_end", 1, finished))
            places |= self._behind_number(finished)
        return places

    @staticmethod
    def _blanks(place: Place) -> dict[int, Place]:
        """The same place with one more blank, as long as there may be one."""
        then = place._replace(at=place.at + 1)
        return dict.fromkeys(_BLANKS, then) if place.at < _MAX_BLANKS else {}

    @staticmethod
    def _behind_number(corners: tuple[int, ...]) -> dict[int, Place]:
        """The sign behind the last of ``corners``."""
        if len(corners) == 4:
            return {b"]"[0]: Place("box_end")}
        return {b","[0]: Place("corner", 0, corners)}

    def _bounds(self, corners: tuple[int, ...]) -> tuple[int, int]:
        """The least and the largest value of the next corner."""
        size = self._sizes[len(corners) % 2]
        return (0, size - 1) if len(corners) < 2 else (corners[len(corners) - 2] + 1, size)


def _entered(name: str) -> Place:
    """The place behind the first byte, where that has led to words."""
    return Place(name, 1 if name in _WORDS else 0)


def _can_reach(value: int, least: int, most: int) -> bool:
    """True if ``value``, or a number that begins with it, lies within ``least`` to ``most``."""
    if value == 0:
        return least == 0
    low = high = value
    while low <= most:
        if high >= least:
            return True
        low, high = low * 10, high * 10 + 9
    return False
