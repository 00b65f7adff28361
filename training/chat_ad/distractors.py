"""Wrong options that are certainly wrong: other types of defect, other places, sizes and numbers.

A type is used against a pair only where nothing in it could be meant by that name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.phrase_files import read_phrases

_GROUPS = {name: stems.split() for name, stems in read_phrases("kinds")["groups"].items()}
_GENERAL, _BROAD = (
    {
        name: [stem for group in groups.split() for stem in _GROUPS[group]]
        for name, groups in read_phrases("kinds")[table].items()
    }
    for table in ("general", "broad")
)

# A name of such words alone may mean anything, so nothing is certainly wrong beside it; one that
# has such a word may mean something that has a general name as well.
_VAGUE = re.compile(
    r"abnormal\w*|anomal\w*|area|at|bad|broken|class|combined|damag\w*|defect\w*|different|"
    r"fail\w*|fault\w*|general|large|logical|manipulat\w*|mixed|multiple|ng|not|ok|once|other|"
    r"others|rough|several|small|structural|thing|unknown|various|wrong|\d+"
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
    for name in rng.sample(list(_GENERAL), len(_GENERAL)):
        is_wanted = is_clear and len(drawn) < count
        if is_wanted and not _touches([*pair.labels, *drawn], _GENERAL[name]):
            drawn.append(name)
    return drawn if len(drawn) >= _LEAST else []


def _is_apart(label: str, shown: Sequence[str]) -> bool:
    """Whether ``label`` of the same data set is another type than all of ``shown``."""
    return not any(_may_be_one(label, other) for other in shown)


def _may_be_one(label: str, other: str) -> bool:
    """Whether what one name means may be meant by the other; kinds of one thing are apart."""
    words, others = _words(label), _words(other)
    if _is_vague(words) or _is_vague(others) or words <= others or others <= words:
        return True
    return not words & others and (_may_mean(label, other) or _may_mean(other, label))


def _may_mean(label: str, other: str) -> bool:
    """Whether ``label`` is a broad name under which ``other`` falls."""
    return any(stem in label.lower() and _touches([other], _BROAD[stem]) for stem in _BROAD)


def _is_of_a_group(label: str) -> bool:
    """Whether it is known what a label means, as far as general names go."""
    is_named = any(_touches([label], stems) for stems in _GROUPS.values())
    return is_named and not any(_VAGUE.fullmatch(word) for word in _words(label))


def _is_vague(words: set[str]) -> bool:
    return all(_VAGUE.fullmatch(word) for word in words)


def _touches(labels: Sequence[str], stems: Sequence[str]) -> bool:
    return any(stem in label.lower() for label in labels for stem in stems)


def _words(label: str) -> set[str]:
    """The words of a name without the s of a plural, to compare names by."""
    words = re.findall(r"[a-z0-9]+", label.lower())
    return {re.sub(r"(?<=[a-z]{3})(?<!s)s$", "", re.sub(r"(?<=ch|sh)es$", "", w)) for w in words}
