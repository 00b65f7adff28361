"""One pair at the bundle's size: the verdict's score, the anomaly map, the answers.

Everything here is in terms of the model: pixels of its input, words as it wrote them. What they
mean in pixels of a picture is the job of :mod:`adcopilot_edge.runtime.findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.anomaly_map import map_probabilities
from adcopilot_edge.runtime.dialogue import Answer
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.vision import EncodedImage
from adcopilot_edge.types import TASKS, FloatArray, ImageArray, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask beside the verdict: questions by name, and how long an answer may get.

    The names are those of the tasks, and ``ask`` for the user's own question.
    """

    questions: dict[str, str]
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")

    def only(self, *names: str) -> Request:
        """The same request with these questions alone, as far as it has them."""
        kept = {name: text for name, text in self.questions.items() if name in names}
        return Request(questions=kept, max_new_tokens=self.max_new_tokens)

    def without(self, *names: str) -> Request:
        """The same request without these questions."""
        return self.only(*(name for name in self.questions if name not in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the model said about one pair.

    score: 0..1, the softmax over the two answer letters, not calibrated. anomaly_map: (rows,
    columns) float32 in 0..1, or None where the bundle has no map. answers: by name of the question.
    """

    score: float
    verdict: Verdict
    anomaly_map: FloatArray | None
    answers: dict[str, Answer]


def encode(engine: Engine, test: ImageArray, clock: StageClock) -> EncodedImage:
    """The test image as the vision graph sees it; valid until the engine's next image.

    Args:
        engine: The bundle.
        test: (image_height, image_width, 3) uint8 RGB, the bundle's size.
        clock: Gets the times.

    Raises:
        SessionError: A graph fails.
    """
    with clock.stage("preprocess"):
        patches = engine.preprocessor.patches(test)
    with clock.stage("vision"):
        return engine.encoder.encode(patches)


def make_request(
    engine: Engine, task: str | Sequence[str], ask: str | None, max_new_tokens: int
) -> Request:
    """Check what is asked for, before any work.

    Raises:
        ConfigError: There is no such task, or the question is empty.
        InputError: The question holds reserved tokens.
    """
    tasks: Sequence[str] = (task,) if isinstance(task, str) else task
    if unknown := [name for name in tasks if name not in (*TASKS, "all")]:
        raise ConfigError(
            f"task must be of {', '.join(TASKS)} or all, got {', '.join(map(repr, unknown))}"
        )
    words = engine.bundle.manifest.prompt.tasks
    questions: dict[str, str] = {
        name: words[name]
        for name in TASKS
        if name != "verdict" and (name in tasks or "all" in tasks)
    }
    if ask is not None:
        if not ask.strip():
            raise ConfigError("the question is empty; ask something or leave it out")
        engine.tokenizer.check_plain(ask)
        questions["ask"] = ask.strip()
    return Request(questions=questions, max_new_tokens=max_new_tokens)


def examine(
    engine: Engine,
    golden: GoldenReference,
    test: ImageArray,
    request: Request,
    *,
    rule: VerdictRule,
    clock: StageClock,
    only_suspects: bool = False,
    encoded: EncodedImage | None = None,
) -> Examination:
    """Examine a test image against a golden.

    Args:
        engine: The bundle.
        golden: What the same engine made of the golden image.
        test: (image_height, image_width, 3) uint8 RGB, the bundle's size.
        request: The questions.
        rule: What the verdict goes by.
        clock: Gets the times.
        only_suspects: Ask the questions only if the verdict is not normal.
        encoded: What ``encode`` made of the test image, if that was done.

    Raises:
        InputError: A question is too long for the bundle.
        SessionError: A graph fails.
    """
    if encoded is None:
        encoded = encode(engine, test, clock)
    with clock.stage("comparison"):
        comparison = engine.encoder.compare(golden.features, encoded.features)
    with clock.stage("prefill"):
        engine.dialogue.show(golden.prefix, encoded.tokens, comparison.tokens)
        score = engine.score(engine.verdict_logits())
    verdict = rule.decide(score)
    questions = {} if only_suspects and verdict == "normal" else request.questions
    answers = {
        name: engine.dialogue.answer(text, max_new_tokens=request.max_new_tokens, clock=clock)
        for name, text in questions.items()
    }
    logits = comparison.anomaly_logits
    anomaly_map = None if logits is None else map_probabilities(logits)
    return Examination(score=score, verdict=verdict, anomaly_map=anomaly_map, answers=answers)
