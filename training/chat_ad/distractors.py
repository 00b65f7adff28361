"""Wrong options that are certainly wrong: other types of defect, other places, sizes and numbers.

A type is used against a pair only where nothing in it could be meant by that name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from adcopilot_edge.training.chat_ad.mined import MinedPair

# Names that people give to one thing. A general distractor is of a group that no label touches.
_GROUPS: tuple[tuple[str, ...], ...] = (
    ("scratch", "scrape", "scuff", "abrasion", "groove", "line", "streak", "score", "rub", "cut"),
    (
        "crack",
        "fracture",
        "split",
        "break",
        "broken",
        "crazing",
        "rupture",
        "crevice",
        "tear",
        "cut",
    ),
    ("dent", "deform", "bent", "bump", "bulge", "squeeze", "crease", "fold", "wrinkl", "warp"),
    ("hole", "puncture", "poke", "pit", "pore", "porosity", "void", "blowhole", "cavity", "bubble"),
    ("stain", "contaminat", "dirt", "oil", "grease", "residue", "liquid", "glue", "spot", "smear"),
    ("rust", "corrosion", "oxid", "tarnish"),
    ("missing", "absent", "incomplete", "lost", "removed", "lack", "hole", "cavity"),
    ("misplaced", "misalign", "shift", "swap", "flip", "rotat", "position", "tilt", "turned"),
    ("colour", "color", "fade", "stain", "burn", "dark", "bright", "tarnish", "spot", "rust"),
    ("foreign", "extra", "debris", "fibre", "fiber", "hair", "thread", "particle", "contaminat"),
    ("chip", "flake", "peel", "broken", "notch", "nick", "cut", "worn", "bite", "edge", "tip"),
    ("print", "label", "imprint", "text", "logo"),
    ("burr", "flash", "excess", "spur", "protru", "extra"),
)
_GENERAL = (
    ("scratch", (0,)),
    ("crack", (1,)),
    ("dent", (2,)),
    ("hole", (3,)),
    ("stain", (4, 8)),
    ("rust", (5,)),
    ("missing part", (6,)),
    ("misplaced part", (7,)),
    ("discolouration", (8, 4)),
    ("foreign object", (9,)),
    ("chipped edge", (10, 1)),
    ("faulty print", (11,)),
    ("burr", (12,)),
)
# A name of such words alone may mean anything, so nothing is certainly wrong beside it; one that
# has such a word may mean something that has a general name as well.
_VAGUE = re.compile(
    r"abnormal\w*|anomal\w*|bad|broken|class|combined|damag\w*|defect\w*|different|fail\w*|"
    r"fault\w*|general|large|logical|manipulat\w*|mixed|multiple|ng|not|ok|other|others|rough|"
    r"small|structural|thing|unknown|various|wrong|\d+"
)
_LEAST = 2


def wrong_types(pair: MinedPair, count: int, rng: random.Random) -> list[str]:
    """Up to ``count`` types of defect that ``pair`` certainly doesn't show.

    First those that its category has elsewhere, then general ones. Fewer than two are none.
    """
    known = [label for label in pair.other_labels if _is_apart(label, pair.labels)]
    known = list({frozenset(_words(label)): label for label in known}.values())
    drawn = rng.sample(known, min(count, len(known)))
    is_clear = all(_is_of_a_group(label) for label in pair.labels)
    for name, groups in rng.sample(_GENERAL, len(_GENERAL)):
        stems = [stem for group in groups for stem in _GROUPS[group]]
        if is_clear and len(drawn) < count and not _touches([*pair.labels, *drawn], stems):
            drawn.append(name)
    return drawn if len(drawn) >= _LEAST else []


def _is_apart(label: str, shown: Sequence[str]) -> bool:
    """Whether ``label`` of the same data set is another type than all of ``shown``."""
    words = _words(label)
    return not _is_vague(words) and not any(
        _is_vague(others) or words <= others or others <= words for others in map(_words, shown)
    )


def _is_of_a_group(label: str) -> bool:
    """Whether it is known what a label means, as far as general names go."""
    is_named = any(_touches([label], stems) for stems in _GROUPS)
    return is_named and not any(_VAGUE.fullmatch(word) for word in _words(label))


def _is_vague(words: set[str]) -> bool:
    return all(_VAGUE.fullmatch(word) for word in words)


def _touches(labels: Sequence[str], stems: Sequence[str]) -> bool:
    return any(stem in label.lower() for label in labels for stem in stems)


def _words(label: str) -> set[str]:
    """The words of a name without the s of a plural, to compare names by."""
    words = re.findall(r"[a-z0-9]+", label.lower())
    return {re.sub(r"(?<=[a-z]{3})(?<!s)s$", "", re.sub(r"(?<=ch|sh)es$", "", w)) for w in words}
