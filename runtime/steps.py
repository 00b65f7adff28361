"""The steps of one inspection, from the pictures to the result; knows nothing of threads."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.examine import encode
from adcopilot_edge.runtime.golden import GoldenReference, pixel_hash
from adcopilot_edge.runtime.golden_picture import golden_picture
from adcopilot_edge.runtime.golden_set import GoldenSet
from adcopilot_edge.runtime.golden_source import GoldenSource
from adcopilot_edge.runtime.health import HealthCheck
from adcopilot_edge.runtime.images import ImageSource, check_same_aspect
from adcopilot_edge.runtime.part_image import PartImage
from adcopilot_edge.runtime.request import Request
from adcopilot_edge.runtime.rule_choice import choose_rule, stored_threshold
from adcopilot_edge.runtime.stream import Event
from adcopilot_edge.runtime.takt import Takt, overrun_notes
from adcopilot_edge.runtime.tiled import TiledInspection
from adcopilot_edge.runtime.verdict_store import VerdictStates
from adcopilot_edge.runtime.vision import EncodedImage
from adcopilot_edge.runtime.whole import inspecting_whole
from adcopilot_edge.types import ImageArray, Inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionSteps:
    """Inspects one picture at a time, with what an inspector has.

    states: the verdict states of the bundle, or None where they are left alone.
    """

    engine: Engine
    goldens: GoldenSource
    states: VerdictStates | None
    health: HealthCheck

    def run(
        self,
        golden: GoldenReference | GoldenSet | ImageSource,
        part: PartImage,
        request: Request,
        takt: Takt,
        *,
        tile: bool,
    ) -> Generator[Event, None, Inspection]:
        """Inspect a part and tell what is known as soon as it is known; nothing of tiles.

        Args:
            golden: As for ``Inspector.inspect``; of a set the nearest counts.
            part: Its test image.
            request: What is asked.
            takt: The time for it.
            tile: Inspect in tiles.

        Raises:
            InferenceError: The image can't be used, or a graph fails.
            StateError: The golden's verdict state can't be used for this inspection, or a cascade
                needs a threshold that it lacks.
        """
        clock, num_made = part.take_turn(), self.goldens.num_made
        self.goldens.take_notes()  # those of calls before
        _ = part.shape  # an image that can't be used is told before the golden is looked at
        encoded: EncodedImage | None = None
        chosen: tuple[str, ...] = ()
        if isinstance(golden, GoldenSet):
            encoded = encode(self.engine, part.patches, clock)
            golden = golden.nearest(np.asarray(encoded.features))
            chosen = (f"golden_nearest:{golden.image_sha256[:16]}",)
        reference = golden_picture(golden, self.engine, clock)
        check_same_aspect(reference.shape, part.shape)
        sha256 = _sha256(golden, reference)
        view = part.view
        with clock.stage("health"):
            health, warnings = self.health.check(reference, sha256, view)
        threshold = self.engine.bundle.manifest.decision.threshold
        state, rule, notes = choose_rule(self.states, threshold, sha256, tile=tile)
        rule = rule.with_threshold(request.threshold)
        model = self.engine.bundle.manifest.model
        request = request.with_threshold(lambda: stored_threshold(state, model))
        if tile:
            tiled = TiledInspection(
                engine=self.engine,
                read_golden=self.goldens.read,
                request=request,
                rule=rule,
                clock=clock,
            )
            findings = tiled.run(reference, part.picture)
        else:
            if not isinstance(golden, GoldenReference):
                with clock.stage("golden"):
                    golden = self.goldens.read(reference)
            findings = yield from inspecting_whole(
                self.engine,
                golden,
                part,
                request,
                rule=rule,
                clock=clock,
                takt=takt,
                encoded=encoded,
            )
        overrun_ms = takt.overrun_ms()
        return Inspection(
            verdict=findings.verdict,
            anomaly_score=findings.shown_score(rule),
            threshold=rule.threshold if findings.path != "map" else request.map_threshold,
            defects=findings.defects,
            text=findings.text,
            timings_ms=clock.timings_ms(),
            golden_cached=self.goldens.num_made == num_made,
            bundle=self.engine.bundle.id,
            provider=self.engine.provider,
            precision=self.engine.bundle.manifest.precision,
            calibration=None if state is None else state.id,
            notes=(
                *(*findings.notes, *notes, *self.engine.notes),
                *(*self.goldens.take_notes(), *warnings, *chosen, *overrun_notes(overrun_ms)),
            ),
            takt_overrun_ms=overrun_ms,
            path=findings.path,
            health=health,
            anomaly_map=findings.anomaly_map,
        )


def _sha256(golden: GoldenReference | ImageSource, picture: ImageArray) -> str:
    """The identity of a golden's pixels."""
    return golden.image_sha256 if isinstance(golden, GoldenReference) else pixel_hash(picture)
