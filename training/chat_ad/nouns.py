"""How the name of a defect's type stands in a sentence: as a noun, as stuff, or only as a name.

Data sets name types in any form: ``scratch``, ``broken teeth``, ``contamination``, ``rough``. What
isn't known to be a noun is put as ``a defect of the type "rough"``, which is right for every name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adcopilot_edge.training.chat_ad.phrase_files import read_phrases
from adcopilot_edge.training.words import article, numeral, plural

NounKind = Literal["count", "mass", "plural", "name"]

_WORDS = {name: frozenset(words.split()) for name, words in read_phrases("nouns").items()}
_LONGEST_ACRONYM = 4
_PREPOSITIONS = (" of ", " in ", " on ", " at ", " with ")


@dataclass(frozen=True, slots=True)
class Noun:
    """A type's name with how it behaves.

    takes_adjectives: whether ``small`` before it speaks of the defect.
    """

    name: str
    kind: NounKind
    takes_adjectives: bool

    @property
    def is_singular(self) -> bool:
        """Whether one of it takes ``is``."""
        return self.kind != "plural"

    def phrase(self, count: int, adjectives: str = "") -> str:
        """With article or number: ``a small scratch``, ``two scratches``, ``contamination``.

        Of stuff and of plurals a number is never said here, as ``three contaminations`` isn't.
        """
        words = f"{adjectives} " if adjectives else ""
        if self.kind in ("mass", "plural"):
            return f"{words}{self.name}"
        if self.kind == "name":
            of_type = f'of the type "{self.name}"'
            head = f"{words}defect" if count == 1 else f"{words}defects"
            lead = article(head) if count == 1 else numeral(count)
            return f"{lead} {head} {of_type}"
        if count == 1:
            return f"{article(words + self.name)} {words}{self.name}"
        return f"{numeral(count)} {words}{_many(self.name)}"

    def definite(self, count: int) -> str:
        """``the scratch``, ``the two scratches``, ``the "rough" defect``."""
        number = f"{numeral(count)} " if count > 1 else ""
        if self.kind in ("mass", "plural"):
            return f"the {self.name}"
        if self.kind == "name":
            return f'the {number}"{self.name}" {"defect" if count == 1 else "defects"}'
        return f"the {number}{self.name if count == 1 else _many(self.name)}"

    def heading(self, count: int) -> str:
        """Without an article, as a note begins: ``scratch``, ``2 scratches``."""
        if count == 1 or self.kind in ("mass", "plural"):
            return self.name
        if self.kind == "name":
            return f"{count}x {self.name}"
        return f"{count} {_many(self.name)}"


def noun_of(label: str) -> Noun:
    """How ``label`` behaves in a sentence."""
    name = _in_prose(label)
    words = _head(name).lower().split(" ")
    first, last = words[0], words[-1]
    is_participle = len(words) > 1 and first in _WORDS["participles"]
    if last in _WORDS["no_nouns"]:
        return Noun(name, "name", takes_adjectives=True)
    if last in _WORDS["plural"] or (last.endswith("s") and last[:-1] in _WORDS["count"]):
        return Noun(name, "plural", takes_adjectives=not is_participle)
    if last.endswith("es") and last[:-2] in _WORDS["count"]:
        return Noun(name, "plural", takes_adjectives=not is_participle)
    if last in _WORDS["mass"]:
        return Noun(name, "mass", takes_adjectives=not is_participle)
    if last in _WORDS["count"] or (is_participle and last.isalpha() and not last.endswith("s")):
        return Noun(name, "count", takes_adjectives=not is_participle)
    return Noun(name, "name", takes_adjectives=True)


def _in_prose(label: str) -> str:
    """``Mouse Bite`` and ``SCRATCH`` in small letters; ``SMD tilt`` as it is."""
    words = [word for word in label.split() if word]
    is_spelled = any(word.isupper() and len(word) <= _LONGEST_ACRONYM for word in words)
    return " ".join(words if is_spelled else [word.lower() for word in words])


def _head(name: str) -> str:
    """The part of a name that its noun ends: ``hole`` of ``hole in cloth``."""
    for preposition in _PREPOSITIONS:
        name = name.split(preposition)[0]
    return name


def _many(name: str) -> str:
    head = _head(name)
    return plural(head) + name[len(head) :]
