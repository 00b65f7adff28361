"""Small words of English: articles, lists, numbers, plurals, capitals. Knows nothing of defects."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMERALS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
# As in unit, used or one, but not as in uninsulated.
_SOUNDS_AS_CONSONANT = re.compile(r"eu|one$|once|ubi|uni[cfloqtv]|ura|us[aeu]|uti")
_MUTE_H = ("heir", "honest", "honour", "hour")
_BEGINS_WITH_VOWEL_BY_LETTER = "AEFHILMNORSX"
_LONGEST_SPELLED = 3
_IRREGULAR = {"tooth": "teeth", "foot": "feet", "leaf": "leaves", "die": "dies"}
_SENTENCE_START = re.compile(r"(^|[.?!:]\n|[.?!] )([a-z])")


def article(words: str) -> str:
    """``a`` or ``an``, as it stands before ``words``."""
    first = re.split(r"[^A-Za-z0-9]", words.strip("\"'“ "), maxsplit=1)[0]
    lower = first.lower()
    if first.isdigit():
        is_vowel = first.startswith("8") or first in ("11", "18")
    elif first.isupper() and (len(first) <= _LONGEST_SPELLED or not set(first) & set("AEIOU")):
        is_vowel = first[0] in _BEGINS_WITH_VOWEL_BY_LETTER
    else:
        is_vowel = lower.startswith(("a", "e", "i", "o", "u", *_MUTE_H))
        is_vowel = is_vowel and not _SOUNDS_AS_CONSONANT.match(lower)
    return "an" if is_vowel else "a"


def listed(parts: Sequence[str], *, last: str = "and") -> str:
    """``parts`` as a list in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def numeral(number: int) -> str:
    """A count as a word up to twelve, then in digits."""
    return _NUMERALS[number] if 0 <= number < len(_NUMERALS) else str(number)


def plural(noun: str) -> str:
    """The plural of a noun, of whose words the last one changes."""
    *before, head = noun.split(" ")
    lower = head.lower()
    if lower in _IRREGULAR:
        many = _IRREGULAR[lower]
    elif re.search(r"(s|x|z|ch|sh)$", lower):
        many = head + "es"
    elif re.search(r"[^aeiou]y$", lower):
        many = head[:-1] + "ies"
    else:
        many = head + "s"
    return " ".join([*before, many])


def sentences(text: str) -> str:
    """``text`` with a capital letter at the beginning of each sentence."""
    return _SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), text)
