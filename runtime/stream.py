"""What an inspection tells while it runs: first the verdict, then words, then the whole result.

Knows nothing of how it comes about.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from adcopilot_edge.types import Inspection, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictEvent:
    """The verdict, before any question is asked. anomaly_score: as in ``Inspection``."""

    verdict: Verdict
    anomaly_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEvent:
    """More words of an answer; ``name`` is its task, or ``ask``.

    The pieces of one answer in a row are its text.
    """

    name: str
    piece: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEvent:
    """An answer has ended. is_complete: false when a limit or the takt cut it short."""

    name: str
    text: str
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionEvent:
    """The end: what ``inspect`` returns."""

    inspection: Inspection


Event = VerdictEvent | TextEvent | AnswerEvent | InspectionEvent


def with_result(steps: Generator[Event, None, Inspection]) -> Generator[Event, None, None]:
    """The events of ``steps``, and what it returns as the last one."""
    inspection = yield from steps
    yield InspectionEvent(inspection=inspection)
