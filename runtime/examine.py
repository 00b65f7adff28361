"""One pair at the bundle's size: the verdict's score, the anomaly map, the answers.

Everything here is in terms of the model: pixels of its input, words as it wrote them. What they
mean in pixels of a picture is the job of :mod:`adcopilot_edge.runtime.findings`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from adcopilot_edge.runtime.anomaly_map import map_probabilities
from adcopilot_edge.runtime.asking import asking
from adcopilot_edge.runtime.cascade import suspicion
from adcopilot_edge.runtime.dialogue import Answer
from adcopilot_edge.runtime.drain import drain
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.request import Request
from adcopilot_edge.runtime.stream import AnswerEvent, TextEvent, VerdictEvent
from adcopilot_edge.runtime.takt import Pace, Takt
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.vision import EncodedImage
from adcopilot_edge.types import DecisionPath, FloatArray, ImageArray, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the model said about one pair.

    score: 0..1, the softmax over the two answer letters, not calibrated. anomaly_map: (rows,
    columns) float32 in 0..1, or None where the bundle has no map. type_logits: as in
    ``Comparison``. answers: by name of the question. notes: what there is to say about the answers
    and the path. path: who decided; ``score`` is the cascade's suspicion where that was the map.
    """

    score: float
    verdict: Verdict
    anomaly_map: FloatArray | None
    answers: dict[str, Answer]
    type_logits: FloatArray | None = None
    notes: tuple[str, ...] = ()
    path: DecisionPath = "model"


def encode(engine: Engine, patches: FloatArray, clock: StageClock) -> EncodedImage:
    """The test image as the vision graph sees it; valid until the engine's next image.

    Args:
        engine: The bundle.
        patches: (N, 1176) float32, as the preprocessor makes them.
        clock: Gets the time.

    Raises:
        SessionError: The graph fails.
    """
    with clock.stage("vision"):
        return engine.encoder.encode(patches)


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
    """Examine a test image against a golden, all steps of ``examining`` without a limit of time."""
    return drain(
        examining(
            engine,
            golden,
            test,
            request,
            rule=rule,
            clock=clock,
            takt=Takt(None, Pace()),
            only_suspects=only_suspects,
            encoded=encoded,
        )
    )


def examining(
    engine: Engine,
    golden: GoldenReference,
    test: ImageArray,
    request: Request,
    *,
    rule: VerdictRule,
    clock: StageClock,
    takt: Takt,
    only_suspects: bool = False,
    encoded: EncodedImage | None = None,
) -> Generator[VerdictEvent | TextEvent | AnswerEvent, None, Examination]:
    """Examine a test image against a golden, step by step.

    The test image is read once: the verdict and each question are asked behind it. A cascade may
    let the part pass before that; notes are then ``cascade_unasked:NAME``, and ``cascade_missed``
    where an audit finds that it should not have.

    Args:
        engine: The bundle.
        golden: What the same engine made of the golden image.
        test: (image_height, image_width, 3) uint8 RGB, the bundle's size.
        request: The questions.
        rule: What the verdict goes by.
        clock: Gets the times.
        takt: The time for the questions; the verdict is never left out.
        only_suspects: Ask the questions only if the verdict is not normal.
        encoded: What ``encode`` made of the test image, if that was done.

    Raises:
        InputError: A question is too long for the bundle.
        SessionError: A graph fails.
    """
    if encoded is None:
        with clock.stage("preprocess"):
            patches = engine.preprocessor.patches(test)
        encoded = encode(engine, patches, clock)
    with clock.stage("comparison"):
        comparison = engine.encoder.compare(golden.features, encoded.features)
    logits = comparison.anomaly_logits
    anomaly_map = None if logits is None else map_probabilities(logits)
    path: DecisionPath = "model"
    if request.cascade is not None:
        suspected = suspicion(golden.features, encoded.features, comparison)
        path = request.cascade.choose(suspected, test)
        if path == "map":
            yield VerdictEvent(verdict="normal", anomaly_score=suspected)
            return Examination(
                score=suspected,
                verdict="normal",
                anomaly_map=anomaly_map,
                type_logits=comparison.type_logits,
                answers={},
                notes=tuple(f"cascade_unasked:{name}" for name in request.questions),
                path=path,
            )
    with clock.stage("prefill"):
        engine.dialogue.show(golden.prefix, encoded.tokens, comparison.tokens)
        score = engine.score(engine.verdict_logits())
    verdict = rule.decide(score)
    yield VerdictEvent(verdict=verdict, anomaly_score=rule.calibrate(score))
    if only_suspects and verdict == "normal":
        request = request.only()
    answers = yield from asking(engine, request, takt=takt, clock=clock)
    missed = ("cascade_missed",) if path == "audit" and verdict != "normal" else ()
    return Examination(
        score=score,
        verdict=verdict,
        anomaly_map=anomaly_map,
        type_logits=comparison.type_logits,
        answers=answers.by_name,
        notes=(*answers.notes, *missed),
        path=path,
    )
