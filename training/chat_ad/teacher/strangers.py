"""Things that a sentence brings up and no list knows: what ``a`` introduces, what a part ``shows``.

A defect may have any name. So whatever is introduced must be known: a defect of the pair, the part,
or one of the few words that claim nothing. Knows no truth beyond the pair's own words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adcopilot_edge.training.chat_ad.teacher.lexicon import NEUTRAL, stem, word_set
from adcopilot_edge.training.chat_ad.teacher.mentions import Mention
from adcopilot_edge.training.chat_ad.teacher.truth import Truth

_SHOWING = word_set("""
    show shows showing exhibit exhibits reveal reveals display displays contain contains bear
    bears feature features carry carries has have having with
    """)
_STOPS = word_set("""
    at in on of with to from near by for than as that which where while and or but nor is are was
    were be been has have had shows show showing visible can compared relative towards toward
    across along through over under between into onto within without located positioned found seen
    present running lying situated . , ; : ( ) ! ? " ' - / & there here because so then when
    whereas however it look looks looking appear appears seem seems remain remains match matches
    differ differs deviate deviates lie lies run runs extend extends do does not no stand stands
    sit sits reach reaches cover covers stay stays corresponds agrees touches crosses begins ends
    <box> against except besides despite rather only also too itself alone directly close next if
    whether whose during after before all any some free without neither
    """)
_STARTERS = word_set("""
    no a an the that how it its up only neither any both this these those one where not what them
    there everything nothing all each
    """)


def find_strangers(
    words: Sequence[str], mentions: Sequence[Mention], truth: Truth
) -> Iterator[tuple[int, int]]:
    """Where a thing is introduced that is not known, by start and end.

    The last word of what an article introduces, or a verb such as ``shows``, must be known.
    """
    named = {i for one in mentions for i in range(one.start, one.end) if _is_noun(one)}
    named |= {i for one in mentions if one.kind == "place" for i in range(one.start, one.end)}
    adjectives = {one.start for one in mentions if one.kind in _ADJECTIVES}
    states = {one.start for one in mentions if one.kind in _STATES}

    def is_known(index: int) -> bool:
        root = stem(words[index])
        is_noun = index in named or words[index] in _NOUNS
        return is_noun or root in NEUTRAL or root in truth.words

    for index, word in enumerate(words):
        start = index + 1
        is_bare = word in _SHOWING and start < len(words) and words[start] not in _STARTERS
        if word not in _ARTICLES and not is_bare:
            continue
        end = start
        while end < len(words) and not (end in states and is_known(end - 1)):
            is_listed = words[end] == "," and end - 1 in adjectives
            if _ends_noun(words[end], is_first=end == start) and not is_listed:
                break
            end += 1
        if end == start:
            continue
        if not is_known(end - 1):
            yield index, end


def _is_noun(one: Mention) -> bool:
    return one.kind in ("label", "other", "thing", "vague", "corner", "edge")


def _ends_noun(word: str, *, is_first: bool) -> bool:
    is_adverb = word.endswith("ly") and len(word) > 4
    return word in _STOPS or (is_adverb and not is_first)


_NOUNS = word_set("""
    defect flaw fault anomaly abnormality imperfection blemish irregularity deviation difference
    discrepancy damage problem issue change mismatch one defects flaws faults abnormalities
    imperfections blemishes irregularities deviations differences discrepancies damages problems
    issues changes
    """)
_STATES = frozenset(("generic", "normal", "size", "contrast", "shape", "direction"))
_ARTICLES = word_set("a an the this that these those its their")
_ADJECTIVES = frozenset(("size", "contrast", "shape", "direction", "colour", "odd place"))
