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
    head = head_of(name).lower().split(" ")
    is_participle = len(head) > 1 and head[0] in _WORDS["participles"]
    return Noun(name, _kind(head, is_participle), takes_adjectives=not is_participle)


def _kind(head: list[str], is_participle: bool) -> NounKind:
    first, last = head[0], head[-1]
    is_group = {"and", "or", "too"} & set(head) or first in _WORDS["numbers"]
    if is_group or last in _WORDS["no_nouns"] or not last.replace("-", "").isalpha():
        return "name"
    if last in _WORDS["mass"]:
        return "mass"
    if last in _WORDS["count"]:
        return "count"
    is_many = last.endswith("s") and not last.endswith("ss")
    singulars = {last[:-1], last[:-2]} if is_many else set()
    if last in _WORDS["plural"] or singulars & _WORDS["count"] or (is_participle and is_many):
        return "plural"
    return "count" if is_participle else "name"


def says_size(label: str) -> bool:
    """Whether the name of a type speaks of size itself, as ``large break``."""
    return not _WORDS["sizes"].isdisjoint(label.lower().split())


def head_of(name: str) -> str:
    """The part of a name that its noun ends: ``hole`` of ``hole in cloth``."""
    words = name.split(" ")
    ends = [at for at, word in enumerate(words) if at and word.lower() in _WORDS["behind"]]
    return " ".join(words[: ends[0]] if ends else words)


def _in_prose(label: str) -> str:
    """``Mouse Bite`` and ``SCRATCH`` in small letters; ``SMD tilt`` as it is."""
    words = [word for word in label.split() if word]
    is_spelled = any(word.isupper() and len(word) <= _LONGEST_ACRONYM for word in words)
    return " ".join(words if is_spelled else [word.lower() for word in words])


def _many(name: str) -> str:
    head = head_of(name)
    return plural(head) + name[len(head) :]
