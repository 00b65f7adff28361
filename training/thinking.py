"""Thinking aloud before the answer: how it is asked for, and how a completion is taken apart.

The tags are settings; a model that does not think has none, and the whole completion is its answer.
Knows no task.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model said, taken apart.

    thought: None where there is none. answer: None where it can't be told which words are the
    answer. is_well_formed: whether the layout is kept to the letter.
    """

    thought: str | None
    answer: str | None
    is_well_formed: bool


class ThinkingTags(BaseModel):
    """The four tags around the thought and the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    think_open: str = Field(default="<think>", min_length=1)
    think_close: str = Field(default="</think>", min_length=1)
    answer_open: str = Field(default="<answer>", min_length=1)
    answer_close: str = Field(default="</answer>", min_length=1)

    @model_validator(mode="after")
    def _check(self) -> ThinkingTags:
        tags = self.all
        for tag in tags:
            if tag != tag.strip():
                raise ValueError(f"a tag must not begin or end with blanks: {tag!r}")
            if sum(tag in other for other in tags) > 1:
                raise ValueError(f"a tag must not be part of another: {tag!r}")
        return self

    @property
    def all(self) -> tuple[str, str, str, str]:
        """The tags in the order in which they must come."""
        return self.think_open, self.think_close, self.answer_open, self.answer_close

    @property
    def request(self) -> str:
        """What stands behind a question to ask for the layout; begins with a blank."""
        return (
            f" First think inside {self.think_open} {self.think_close}, "
            f"then give only the answer inside {self.answer_open} {self.answer_close}."
        )


def asked(question: str, tags: ThinkingTags | None) -> str:
    """The question with the request to think, if there are tags."""
    return question + tags.request if tags else question


def split_completion(text: str, tags: ThinkingTags | None) -> Completion:
    """Take a completion apart; never raises.

    With tags it is well formed if each of the four occurs exactly once, in their order, with
    nothing but white space before the first, between the two parts and behind the last, and neither
    part is blank. Where it is not, the answer is still read if nothing speaks against it: it stands
    between the only pair of answer tags, or behind the only closed thought if there is no answer
    tag at all. A tag twice, an answer that is not closed or a thought that never ends leave no
    answer. Without tags any text that is not blank is an answer and well formed.
    """
    if tags is None:
        return Completion(None, text.strip() or None, bool(text.strip()))
    counts = [text.count(tag) for tag in tags.all]
    if max(counts) > 1:
        return Completion(None, None, is_well_formed=False)
    places = [text.find(tag) for tag in tags.all]
    thought = _between(text, tags.think_open, tags.think_close)
    answer = _between(text, tags.answer_open, tags.answer_close)
    if counts == [1, 1, 1, 1] and places == sorted(places):
        before, _, rest = text.partition(tags.think_open)
        middle = _between(rest, tags.think_close, tags.answer_open)
        _, _, after = rest.partition(tags.answer_close)
        is_bare = not any(part.strip() for part in (before, middle or "", after))
        return Completion(thought, answer, is_bare and bool(thought and answer))
    if counts[2:] == [0, 0] and thought is not None:
        _, _, after = text.partition(tags.think_close)
        return Completion(thought, after.strip() or None, is_well_formed=False)
    if counts[:2] not in ([0, 0], [1, 1]) or counts[2:] != [1, 1]:
        return Completion(thought, None, is_well_formed=False)
    return Completion(thought, answer, is_well_formed=False)


def _between(text: str, opening: str, closing: str) -> str | None:
    """What stands between two tags, without white space around it; None if nothing or no tags."""
    start, end = text.find(opening), text.find(closing)
    if start < 0 or end < start + len(opening):
        return None
    return text[start + len(opening) : end].strip() or None
