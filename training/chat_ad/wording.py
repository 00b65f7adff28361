"""The defects of a pair as parts of sentences: what, how many, where, and how they look.

Says of a spot only what its record holds. Knows no questions and no whole answers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from adcopilot_edge.training.chat_ad.mined import ContrastWord, MinedPair, TemplateRule
from adcopilot_edge.training.chat_ad.nouns import head_of
from adcopilot_edge.training.chat_ad.sample import BOX_MARK
from adcopilot_edge.training.chat_ad.spots import Spot
from adcopilot_edge.training.words import listed, numeral

_MOST_PLACES = 3
_MOST_LISTED = 2
_SIZES = {"medium": "medium-sized"}
_CONTRASTS = {
    "darker": "darker than",
    "brighter": "brighter than",
    "differently coloured": "differently coloured from",
    "similar in tone": "similar in tone to",
}
_NO_PRODUCTS = frozenset(("all", "data", "dataset", "default", "images", "misc", "other", "parts"))


def product_of(pair: MinedPair) -> str:
    """What the product is called, in the singular; nothing where that isn't known."""
    if pair.product:
        words, is_name = pair.product, False
    else:
        words = pair.category.replace("_", " ").replace("-", " ").lower()
        is_name = pair.category == pair.source or words in _NO_PRODUCTS
        is_name = is_name or len(words) < 3 or not words.replace(" ", "").isalpha()
    head = head_of(words)
    is_plural = head.endswith("s") and not head.endswith("ss")
    return "" if is_name or is_plural else words


def at(spot: Spot) -> str:
    """``at the upper left and the centre``; nothing where its place is no matter of cells."""
    if not spot.places:
        return ""
    if len(spot.places) > _MOST_PLACES:
        return "in several places"
    return f"at {listed([f'the {place}' for place in spot.places])}"


def thing(spot: Spot, rng: random.Random, *, is_alone: bool, with_place: bool = True) -> str:
    """A spot as a noun with adjectives and places: ``a small scratch at the upper left``.

    Args:
        spot: The spot.
        rng: Draws which adjectives there are.
        is_alone: Whether no list is around it; in a list several places stand in brackets.
        with_place: Whether places are told.
    """
    words = spot.noun.phrase(spot.count, _adjectives(spot, rng))
    is_counted = spot.count > 1 and spot.noun.kind in ("mass", "plural")
    if is_counted:
        words += f" in {numeral(spot.count)} places"
    if not with_place:
        return words
    if not spot.places:
        return f"{words} {spot.extent}".strip()
    if len(spot.places) == 1:
        return f"{words} {at(spot)}"
    if len(spot.places) > _MOST_PLACES:
        return words if is_counted else f"{words} {at(spot)}"
    if is_alone:
        return f"{words}{',' if is_counted else ''} {at(spot)}"
    return f"{words} ({', '.join(spot.places)})"


def things(spots: Sequence[Spot], rng: random.Random, *, with_place: bool = True) -> str:
    """All spots as a list in a sentence."""
    is_alone = len(spots) == 1
    return listed([thing(spot, rng, is_alone=is_alone, with_place=with_place) for spot in spots])


def things_boxed(spots: Sequence[Spot], rng: random.Random) -> str:
    """All spots with a mark for each of their boxes, in the order of the spots."""
    parts = []
    for spot in spots:
        words = thing(spot, rng, is_alone=False, with_place=False)
        parts.append(f"{words} at {listed([BOX_MARK] * spot.count)}")
    return "; ".join(parts) if any(spot.count > 1 for spot in spots) else listed(parts)


def note(spots: Sequence[Spot], rng: random.Random) -> str:
    """All spots as a terse note: ``scratch, upper left, small; 2 dents, centre``."""
    return "; ".join(_note(spot, rng) for spot in spots)


def definite(spots: Sequence[Spot], *, many: str) -> str:
    """``the scratch and the two dents``; ``many`` where a list of them would be long."""
    if len(spots) > _MOST_LISTED:
        return many
    return listed([spot.noun.definite(spot.count) for spot in spots])


def is_one(spots: Sequence[Spot]) -> bool:
    """Whether all of it is spoken of in the singular."""
    return len(spots) == 1 and spots[0].is_one


def area(spot: Spot, *, is_alone: bool, is_again: bool) -> str:
    """What the facts of a spot are said of: the defect, each of several, or the area of all.

    is_again: the sentence before was about the same.
    """
    if spot.is_each:
        is_many = spot.noun.kind in ("count", "name")
        return f"each {'of' if is_many else 'area of'} {spot.noun.definite(spot.count)}"
    is_itself = spot.count == 1 and spot.noun.takes_adjectives and spot.noun.is_singular
    if is_itself and spot.shape != "scattered":
        return "it" if is_again else spot.noun.definite(1)
    if is_alone or is_again:
        return "the affected area"
    return f"the area of {spot.noun.definite(spot.count)}"


def looks(spot: Spot, rule: TemplateRule, template: str, rng: random.Random) -> str:
    """Size, shape and contrast behind ``is``, in any order, perhaps not all; empty if unknown."""
    parts = [word for word in (size_word(spot), spot.shape) if word]
    if len(parts) > 1 and rng.random() < 0.3:
        parts.pop(rng.randrange(2))
    rng.shuffle(parts)
    if spot.contrast is not None:
        parts.append(contrast(spot.contrast, rule, template))
    return listed(parts)


def contrast(word: ContrastWord, rule: TemplateRule, template: str) -> str:
    """``darker than its surroundings``, or than the template where it is aligned."""
    other = f"the same place in {template}" if rule == "aligned" else "its surroundings"
    return f"{_CONTRASTS[word]} {other}"


def size_word(spot: Spot) -> str:
    """The size as an adjective, empty where it isn't known."""
    return _SIZES.get(spot.size or "", spot.size or "")


def meaning(description: str) -> str:
    """What is known of a type, with a full stop."""
    words = " ".join(description.split())
    return words if words.endswith((".", "!", "?")) else f"{words}."


def place_note(spot: Spot, *, is_alone: bool) -> str:
    """Where a spot is as a terse note, with its name where it isn't alone; perhaps nothing."""
    many = len(spot.places) > _MOST_PLACES
    place = "several places" if many else listed(spot.places) or spot.extent
    return place if is_alone else f"{spot.noun.heading(spot.count)}, {place}"


def _note(spot: Spot, rng: random.Random) -> str:
    parts = []
    if spot.places and len(spot.places) <= _MOST_PLACES:
        parts.append(listed(spot.places))
    elif spot.extent:
        parts.append(spot.extent)
    if spot.size is not None and rng.random() < 0.7:
        parts.append(size_word(spot))
    if spot.shape is not None and rng.random() < 0.4:
        parts.append(spot.shape)
    rng.shuffle(parts)
    return ", ".join([spot.noun.heading(spot.count), *parts])


def _adjectives(spot: Spot, rng: random.Random) -> str:
    """Some of size and shape, where before the noun they speak of the defect as one."""
    if (spot.count > 1 and not spot.is_each) or not spot.noun.takes_adjectives:
        return ""
    is_mass = spot.noun.kind == "mass"
    found = [size_word(spot)] if spot.size and not is_mass and rng.random() < 0.5 else []
    is_apt = spot.shape is not None and (spot.shape != "scattered" or is_mass)
    if is_apt and rng.random() < 0.4:
        found.append(spot.shape or "")
    return ", ".join(found)
