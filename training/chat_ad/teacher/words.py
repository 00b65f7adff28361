"""A text as sentences of plain words, and what in it can't be read at all. Knows no meaning."""

from __future__ import annotations

import re
import unicodedata

from adcopilot_edge.training.chat_ad.teacher.lexicon import spelled

BOX = "<box>"
"""Stands in a teacher's text for the numbers of a box, which a claim of the sentence gives."""

_TOKEN = re.compile(r"<box>|[a-z]+|\d+(?:[.,]\d+)*%?|[^\sa-z\d]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_READABLE = frozenset(".,;:!?()'\"-/&%")
_PLAIN_SIGNS = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": " ; ",  # dashes part clauses
        "\u2014": " ; ",
    }
)
_NOT = re.compile(r"n't\b")
_COORDINATES = re.compile(
    r"[\[({<]\s*-?\d|\d\s*[\])}>]|\d\s*[,;x\u00d7]\s*-?\d|\b[xy]\d?\s*[=:]|\b\d+\s*-?\s*(?:px|pixels?)\b"
    r"|\bbbox|\bbounding|\bcoordinates?\b|\bpixels?\b"
)

# True of whatever is no defect of the template, so it claims nothing about the query.
_TEMPLATE = r"(?:template|reference|golden|first image|normal sample|normal image|normal part)"
_NOT_IN_TEMPLATE = re.compile(
    r",?\s*\b(?:(?:that|which)\s+)?(?:(?:is|are|was|were|does|do|can|has)\s+)?"
    r"(?:not\s+(?:(?:present|visible|seen|found|there|be|appear|exist|occur|shown)\s+){0,2}"
    r"|absent\s+|missing\s+)(?:in|on|from|by)\s+the\s+" + _TEMPLATE + r"(?:\s+(?:image|sample))?\b"
)
# The two show one kind of part; this says nothing about its state.
_SAME_PART = re.compile(
    r"\b(?:the\s+)?same\s+(?:kind\s+of\s+|type\s+of\s+)?"
    r"(?:part|object|product|type|kind|view|pose|item|component|category|model"
    r"|place|spot|area|position|location|region|point)s?\b"
)


def plain(text: str) -> str:
    """The text in lower case with plain quotes, ``not`` for ``n't`` and spaces for hyphens."""
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN_SIGNS).lower()
    text = text.replace("can't", "can not").replace("cannot", "can not").replace("won't", "not")
    text = _NOT.sub(" not", text)
    return re.sub(r"(?<=[a-z])[-_](?=[a-z])", " ", text)


def unreadable(text: str) -> tuple[str, str] | None:
    """The code and the words of what no check can read; None for plain English.

    Codes: ``coordinates`` for numbers that place something, ``unreadable`` for letters or signs
    that a sentence does not need, which could hide a word.
    """
    low = plain(text)
    if found := _COORDINATES.search(low):
        return "coordinates", low[found.start() : found.end() + 8].strip()
    for sign in low.replace(BOX, ""):
        if not (sign.isascii() and (sign.isalnum() or sign in " \n")) and sign not in _READABLE:
            return "unreadable", sign
    return None


def sentences(text: str) -> list[list[str]]:
    """The sentences as words and signs; what says only that the template differs is left out."""
    low = _SAME_PART.sub(" it ", _NOT_IN_TEMPLATE.sub(" ", plain(text)))
    return [
        [spelled(token) for token in _TOKEN.findall(part.replace("'s ", " "))]
        for part in _SENTENCE_END.split(low)
        if re.search(r"[a-z0-9]", part)
    ]
