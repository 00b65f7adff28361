"""Listens to a bundle's dialogue: the time and the tokens of each question, and of the verdict.

An inspection sums its stages up; which question took how long only its dialogue knows. Everything
runs as it does without a listener.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from adcopilot_edge.runtime.decode import Guide
from adcopilot_edge.runtime.dialogue import Answer, Dialogue, GoldenPrefix
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.types import FloatArray, Task


@dataclass(slots=True)
class Heard:
    """What the dialogue did in one inspection: milliseconds and tokens by name, in order.

    In tiles a name comes several times, and counts together. num_answers: how often it was asked.
    num_looks: how often an image was shown: of tiles the worst twice, if there is more to ask.
    """

    ms: dict[str, float] = field(default_factory=dict)
    decode_ms: dict[str, float] = field(default_factory=dict)
    read_tokens: dict[str, int] = field(default_factory=dict)
    written_tokens: dict[str, int] = field(default_factory=dict)
    num_answers: dict[str, int] = field(default_factory=dict)
    num_looks: int = 0

    def add_read(self, name: str, start_s: float, num_tokens: int) -> None:
        """Count what was done since ``start_s``, of the clock ``perf_counter``, under a name."""
        self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start_s) * 1000
        self.read_tokens[name] = self.read_tokens.get(name, 0) + num_tokens

    def add_answer(self, name: str, decode_ms: float, num_tokens: int) -> None:
        """Count an answer under a name."""
        self.decode_ms[name] = self.decode_ms.get(name, 0.0) + decode_ms
        self.written_tokens[name] = self.written_tokens.get(name, 0) + num_tokens
        self.num_answers[name] = self.num_answers.get(name, 0) + 1


class ListeningDialogue(Dialogue):
    """The same dialogue, and a record of it for each thread.

    Args:
        dialogue: The one to take over: its parts are shared.
        questions: The words of each task, by name; other words count as ``ask``.
    """

    def __init__(self, dialogue: Dialogue, questions: Mapping[Task, str]) -> None:
        self.__dict__.update(dialogue.__dict__)
        self._names: dict[str, str] = {words: name for name, words in questions.items()}
        self._heard = threading.local()

    def take(self) -> Heard:
        """What this thread's inspections did since the last call."""
        heard = self._record()
        self._heard.record = Heard()
        return heard

    def num_golden_tokens(self) -> int:
        """Tokens up to the reuse boundary."""
        return len(self._segments.golden.ids)

    def show(self, golden: GoldenPrefix, *image_tokens: FloatArray) -> None:
        """As for ``Dialogue``; counts as ``prefill``."""
        start = time.perf_counter()
        super().show(golden, *image_tokens)
        heard = self._record()
        heard.add_read("prefill", start, len(self._segments.test.ids))
        heard.num_looks += 1

    def first_logits(self, question: str) -> FloatArray:
        """As for ``Dialogue``; counts as ``verdict``."""
        start = time.perf_counter()
        logits = super().first_logits(question)
        self._record().add_read("verdict", start, len(self._question(question).ids))
        return logits

    def answering(
        self,
        question: str,
        *,
        max_new_tokens: int,
        clock: StageClock,
        guide: Guide | None = None,
        may_go_on: Callable[[], bool] | None = None,
    ) -> Generator[int, None, Answer]:
        """As for ``Dialogue``; counts under the task's name."""
        start, decoded_ms = time.perf_counter(), clock.timings_ms().get("decode", 0.0)
        answer = yield from super().answering(
            question, max_new_tokens=max_new_tokens, clock=clock, guide=guide, may_go_on=may_go_on
        )
        heard, name = self._record(), self._names.get(question, "ask")
        heard.add_read(name, start, len(self._question(question).ids))
        heard.add_answer(name, clock.timings_ms().get("decode", 0.0) - decoded_ms, len(answer.ids))
        return answer

    def _record(self) -> Heard:
        if not hasattr(self._heard, "record"):
            self._heard.record = Heard()
        record: Heard = self._heard.record
        return record
