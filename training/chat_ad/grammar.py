"""A phrase becomes one of its many surface forms. Knows no phrase and nothing of defects.

In a phrase ``(small|tiny)`` stands for one of its parts, which may be empty and may hold further
ones, and ``{label}`` for a value. Values are put in last, so nothing in them is read as a phrase.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from adcopilot_edge.training.words import sentences

_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{([a-z_]+)\}")
_SPACES = re.compile(r" {2,}")
_SPACE_BEFORE_STOP = re.compile(r" (?=[.,;?!])")


def say(
    phrases: Sequence[str],
    values: Mapping[str, str],
    rng: random.Random,
    *,
    must: str | None = None,
) -> str:
    """One form of one of ``phrases``, each phrase equally likely.

    Args:
        phrases: Of which those count whose slots all have a value.
        values: By slot. An empty one is none.
        rng: Draws the phrase and its alternatives.
        must: A slot that the phrase must have.
    """
    usable = [
        phrase
        for phrase in phrases
        if all(values.get(slot) for slot in slots(phrase)) and must in (None, *slots(phrase))
    ]
    chosen = _resolve(rng.choice(usable), rng)
    tidy = _SPACE_BEFORE_STOP.sub("", _SPACES.sub(" ", chosen)).strip()
    filled = _SLOT.sub(lambda match: values[match[1]], tidy)
    return sentences(filled)


def slots(phrase: str) -> frozenset[str]:
    """The slots of a phrase, in whichever alternative."""
    return frozenset(_SLOT.findall(phrase))


def _resolve(phrase: str, rng: random.Random) -> str:
    """The phrase with each alternative drawn, from the innermost out."""
    while (match := _CHOICE.search(phrase)) is not None:
        drawn = rng.choice(match[1].split("|"))
        phrase = phrase[: match.start()] + drawn + phrase[match.end() :]
    return phrase
