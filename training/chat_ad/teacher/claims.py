"""Texts of a teacher held against the truth: a caption, and a question with its answer.

A text fails for what contradicts the truth and for what nobody can check. Knows no box and no
endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adcopilot_edge.training.chat_ad.teacher.asking import find_asked
from adcopilot_edge.training.chat_ad.teacher.lexicon import word_set
from adcopilot_edge.training.chat_ad.teacher.sentence import Failure, Scene, SentenceCheck
from adcopilot_edge.training.chat_ad.teacher.truth import Truth
from adcopilot_edge.training.chat_ad.teacher.words import sentences, unreadable

_ASKING = word_set("is are does do can has have was were did isn aren")
_YES = word_set("yes yeah correct indeed true right exactly certainly absolutely")
_NO = word_set("no nope negative incorrect false none nothing")
_ENDS = word_set(", . ; : !")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCheck:
    """What the check of a text found.

    failures: none where all of it holds. affirmed: labels that it says to be there. label: the last
    one that was spoken of. is_about_defects: it says whether something is wrong, or what. denies:
    it denies something.
    """

    failures: tuple[Failure, ...]
    affirmed: frozenset[str] = frozenset()
    label: str | None = None
    is_about_defects: bool = False
    denies: bool = False


def judge_text(text: str, truth: Truth, scene: Scene | None = None) -> TextCheck:
    """Hold a text against the truth, sentence by sentence."""
    scene = scene or Scene()
    if found := unreadable(text):
        return TextCheck(failures=(Failure(*found),), label=scene.label)
    parts = sentences(text)
    if not parts:
        return TextCheck(failures=(Failure("empty", text),), label=scene.label)
    return _judge(parts, truth, scene)


def judge_caption(text: str, truth: Truth) -> TextCheck:
    """Hold a caption against the truth: it must also name every defect, or say that there is none.

    Failures beside those of ``judge_text``: ``label_omitted``, and ``unchecked`` for a sentence
    about a normal pair that does not say that all is well.
    """
    check = judge_text(text, truth)
    missing = sorted(truth.labels.keys() - check.affirmed)
    if check.failures or not missing:
        return check
    return TextCheck(
        failures=tuple(Failure("label_omitted", label) for label in missing), label=check.label
    )


def judge_exchange(question: str, answer: str, truth: Truth, label: str | None = None) -> TextCheck:
    """Hold a question and its answer against the truth.

    A question claims what it takes for granted; a question for yes or no claims nothing, and its
    answer claims all of it, or that some of it is wrong. Where its places, sizes and the like pick
    out some of several defects, the answer is held against those alone.

    Args:
        question: Of the user.
        answer: Of the assistant.
        truth: Of the pair.
        label: The last label that was spoken of before.
    """
    for text in (question, answer):
        if found := unreadable(text):
            return TextCheck(failures=(Failure(*found),), label=label)
    asked, said = sentences(question), sentences(answer)
    if not asked or not said:
        return TextCheck(failures=(Failure("empty", question if said else answer),), label=label)
    says = _yes_or_no(said[0])
    if _is_yes_or_no(asked[-1]):
        return _judge_yes_or_no(asked, said, says, truth, label)
    scene = Scene(label=label, is_question=True)
    presumed = _judge(_without_how(asked), truth, scene, needs_evidence=False, plurals=False)
    about = find_asked(_without_how(asked), truth, label)
    words = [word for part in asked for word in part]
    asked_count = "how many" in " ".join(words) or "number" in words
    is_none = says is False and said[0][0] in ("none", "nothing")
    failures = list(presumed.failures)
    if says is not None and not is_none:
        failures.append(Failure("yes_or_no", " ".join(said[0][:3])))
    if is_none and truth.is_anomaly:
        failures.append(Failure("verdict", said[0][0]))
    if about.truth is None:
        failures.append(Failure("unchecked", " ".join(words)))
    rest = _without_opening(said, says)
    check = _judge(
        rest,
        about.truth or truth,
        Scene(label=about.label, asked_count=asked_count),
        needs_evidence=not is_none,
    )
    return TextCheck(
        failures=(*failures, *check.failures),
        affirmed=check.affirmed,
        label=check.label,
        is_about_defects=True,
    )


def asked_about(question: str, truth: Truth) -> Truth | None:
    """The truth of the defects that a question picks out; None where nobody can tell which."""
    return find_asked(_without_how(sentences(question)), truth, None).truth


def judge_question(question: str, truth: Truth) -> TextCheck:
    """Hold what a question takes for granted against the truth; one that denies fails."""
    if found := unreadable(question):
        return TextCheck(failures=(Failure(*found),))
    scene = Scene(is_question=True)
    asked = _without_how(sentences(question))
    check = _judge(asked, truth, scene, needs_evidence=False, plurals=False)
    if not asked or not check.denies:
        return check
    return replace(check, failures=(*check.failures, Failure("negation_unclear", question)))


def is_true(question: str, truth: Truth) -> bool | None:
    """What a question for yes or no is answered with; None where that can't be told."""
    asked = sentences(question)
    if unreadable(question) or len(asked) != 1 or not _is_yes_or_no(asked[0]) or "or" in asked[0]:
        return None
    content = _judge(asked, truth, Scene(is_asked=True), needs_evidence=False, plurals=False)
    is_doubtful = content.denies or any(one.code in _DOUBTS for one in content.failures)
    if is_doubtful or not content.is_about_defects:
        return None
    return not content.failures


def _judge(
    parts: Sequence[Sequence[str]],
    truth: Truth,
    scene: Scene,
    *,
    needs_evidence: bool = True,
    plurals: bool = True,
) -> TextCheck:
    failures: list[Failure] = []
    affirmed: set[str] = set()
    label, is_about, denies = scene.label, False, False
    for words in parts:
        check = SentenceCheck(words, truth, replace(scene, label=label))
        failures += [one for one in check.failures if plurals or one.code != "count"]
        if needs_evidence and not truth.is_anomaly and not check.has_evidence:
            failures.append(Failure("unchecked", " ".join(words)))
        affirmed |= check.affirmed
        label = check.label
        is_about = is_about or check.is_about_defects
        denies = denies or bool(check.polarity.denied)
    return TextCheck(
        failures=tuple(failures),
        affirmed=frozenset(affirmed),
        label=label,
        is_about_defects=is_about,
        denies=denies,
    )


def _judge_yes_or_no(
    asked: Sequence[Sequence[str]],
    said: Sequence[Sequence[str]],
    says: bool | None,
    truth: Truth,
    label: str | None,
) -> TextCheck:
    words = asked[-1]
    scene = Scene(label=label, is_asked=True)
    content = _judge([words], truth, scene, needs_evidence=False, plurals=False)
    failures = list(_judge(asked[:-1], truth, Scene(label=label), needs_evidence=False).failures)
    doubts = [one for one in content.failures if one.code in _DOUBTS]
    if content.denies:
        doubts.append(Failure("negation_unclear", " ".join(words)))
    if doubts or ("or" in words and says is not None):
        failures += doubts or [Failure("choice_of_two", " ".join(words))]
    elif says is not None:
        claims = content.is_about_defects or bool(content.failures)
        if not claims and not _mentions_anything(words, truth, label):
            failures.append(Failure("unchecked", " ".join(words)))
        elif says == bool(content.failures):
            failures.append(Failure("yes_or_no", f"{' '.join(words)} {said[0][0]}"))
    about = find_asked(asked, truth, label, is_denied=says is False)
    rest = _without_opening(said, says)
    if about.truth is None and rest:
        failures.append(Failure("unchecked", " ".join(words)))
    check = _judge(
        rest,
        about.truth or truth,
        Scene(label=about.label),
        needs_evidence=says is None or len(rest) > 0,
    )
    if says is None and not check.is_about_defects:
        failures.append(Failure("unchecked", " ".join(said[0])))
    return TextCheck(
        failures=(*failures, *check.failures),
        affirmed=check.affirmed,
        label=check.label,
        is_about_defects=True,
    )


_DOUBTS = frozenset(
    (
        "negation_unclear",
        "unreadable",
        "unknown_thing",
        "unknown_word",
        "number",
        "place_unchecked",
        "unchecked",
        "colour",
    )
)


def _mentions_anything(words: Sequence[str], truth: Truth, label: str | None) -> bool:
    """Whether a question without defect words asks for a place, a size or the like."""
    check = SentenceCheck(words, truth, Scene(label=label))
    return truth.is_anomaly and any(one.kind != "vague" for one in check.mentions)


def _is_yes_or_no(words: Sequence[str]) -> bool:
    """Whether a question is one for yes or no."""
    openings = [0, *(index + 1 for index, word in enumerate(words) if word == ",")]
    return any(words[index] in _ASKING for index in openings if index < len(words))


def _without_how(asked: Sequence[Sequence[str]]) -> list[list[str]]:
    """The sentences of a question without the word behind ``how``, which claims nothing."""
    return [
        [word for before, word in zip(("", *words[:-1]), words, strict=True) if before != "how"]
        for words in asked
    ]


def _yes_or_no(words: Sequence[str]) -> bool | None:
    """What an answer opens with; ``no`` counts where it stands for itself."""
    is_alone = len(words) == 1 or words[1] in _ENDS
    if words[0] in _YES and is_alone:
        return True
    if words[0] in _NO and is_alone:
        return False
    return True if words[0] == "yes" else None


def _without_opening(said: Sequence[Sequence[str]], says: bool | None) -> list[list[str]]:
    """The sentences of an answer behind its yes or no."""
    if says is None:
        return [list(words) for words in said]
    first = list(said[0][1:])
    while first and first[0] in _ENDS:
        first = first[1:]
    rest = [list(words) for words in said[1:]]
    return [first, *rest] if first else rest
