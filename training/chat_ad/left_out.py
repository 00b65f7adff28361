"""What a curation leaves out, where and why. Knows no rule that leaves anything out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Step = Literal["read", "exclude", "mine", "duplicates", "dialogues", "teacher"]
STEPS: tuple[Step, ...] = get_args(Step)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An image, pair or sample that is not in the set.

    what: its path or key. step: which step left it out. reason: one of few words, to be counted.
    detail: for a person, as the picture that it repeats.
    """

    what: str
    source: str
    step: Step
    reason: str
    detail: str = ""
