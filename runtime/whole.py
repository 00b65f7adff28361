"""A whole picture inspected at once, scaled to the bundle's size."""

from __future__ import annotations

from collections.abc import Generator

from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.examine import encode, examining
from adcopilot_edge.runtime.findings import Findings, interpret
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.part_image import PartImage
from adcopilot_edge.runtime.request import Request
from adcopilot_edge.runtime.stream import AnswerEvent, TextEvent, VerdictEvent
from adcopilot_edge.runtime.takt import Takt
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.vision import EncodedImage


def inspecting_whole(
    engine: Engine,
    golden: GoldenReference,
    part: PartImage,
    request: Request,
    *,
    rule: VerdictRule,
    clock: StageClock,
    takt: Takt,
    encoded: EncodedImage | None = None,
) -> Generator[VerdictEvent | TextEvent | AnswerEvent, None, Findings]:
    """Inspect a part as ``examining`` does; boxes are in pixels of its picture.

    Returns:
        The findings; the note ``resized:FROM->TO`` in front where the picture was scaled.

    Raises:
        InputError: A question is too long for the bundle.
        SessionError: A graph fails.
    """
    pixels = part.pixels
    if encoded is None:
        encoded = encode(engine, part.patches, clock)
    examination = yield from examining(
        engine, golden, pixels, request, rule=rule, clock=clock, takt=takt, encoded=encoded
    )
    height, width = part.shape
    findings = interpret(examination, engine.bundle.manifest, height=height, width=width)
    if pixels.shape[:2] == part.shape:
        return findings
    model = engine.bundle.manifest.model
    note = f"resized:{width}x{height}->{model.image_width}x{model.image_height}"
    return findings.with_note(note)
