"""Who speaks in a sample, and how: the same names and the same register throughout.

A table of phrases has those that everyone uses (``any``), and those of an operator, an engineer
and a customer. Knows no pair.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal, get_args

from adcopilot_edge.training.chat_ad.grammar import say
from adcopilot_edge.training.chat_ad.phrase_files import read_phrases

Register = Literal["operator", "engineer", "customer"]
REGISTERS: tuple[Register, ...] = get_args(Register)
PhraseFile = Literal["questions", "follow_ups", "choices", "answers", "replies"]
PHRASE_FILES: tuple[PhraseFile, ...] = get_args(PhraseFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """Who speaks in a sample, and what the images and the product are called in it."""

    register: Register | None
    template: str
    query: str
    object: str
    rng: random.Random

    def say(self, file: PhraseFile, table: str, *, must: str | None = None, **values: str) -> str:
        """One form of one phrase of a table, as of ``grammar.say``."""
        forms = read_phrases(file)[table]
        known = {"template": self.template, "query": self.query, "object": self.object}
        both = forms.get("any", []) + forms.get(self.register or "", [])
        return say(both, known | values, self.rng, must=must)

    def as_runtime(self) -> Voice:
        """Everyone's words, with the names that the runtime's prompt gives to the images."""
        return replace(self, register=None, template="the normal sample", query="the query sample")

    def likely(self, share: float) -> bool:
        """True in that share of all draws."""
        return self.rng.random() < share


def draw_voice(product: str, rng: random.Random) -> Voice:
    """A voice at random.

    product: what the category calls the product; empty where that is no word for a sentence.
    """
    register = rng.choice(REGISTERS)
    names = read_phrases("names")
    pairs = names["images"][register]
    template, query = rng.choice(pairs).split("|")
    thing = product if product and rng.random() < 0.7 else rng.choice(names["object"]["any"])
    return Voice(register=register, template=template, query=query, object=thing, rng=rng)
