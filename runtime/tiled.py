"""A large picture, tile by tile at native scale, joined to one set of findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from adcopilot_edge.runtime.answer import parse_types
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.examine import examine
from adcopilot_edge.runtime.findings import Findings, interpret
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.request import Request
from adcopilot_edge.runtime.tiling import Tile, merge_boxes, plan_tiles, stitch_maps
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.types import Defect, ImageArray

# Each anomalous tile has boxes and types of its own; other words come from the worst tile.
_ASKED_IN_EACH = ("classify", "locate")


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledInspection:
    """Inspects every tile of a test image against the same tile of the golden image.

    engine: its image size is the size of a tile. read_golden: gives the reference of a golden
    tile, kept or new. request: the questions, asked where the verdict is not normal. rule:
    what the verdicts go by. clock: gets the times, summed over the tiles.
    """

    engine: Engine
    read_golden: Callable[[ImageArray], GoldenReference]
    request: Request
    rule: VerdictRule
    clock: StageClock

    def run(self, golden: ImageArray, test: ImageArray) -> Findings:
        """Inspect ``test`` (H, W, 3) against ``golden``, which takes its size if it has another.

        Returns:
            The highest score of all tiles and the joined boxes. Beside the notes of the tiles:
            ``tiles:NUMBER``, ``tiles_anomalous:NUMBER`` (those that are not normal), and where
            there are words ``text_from_tile:X,Y``, the corner of the tile they are about.

        Raises:
            InferenceError: A tile can't be inspected.
        """
        height, width = test.shape[:2]
        model = self.engine.bundle.manifest.model
        tiles = plan_tiles(
            height, width, tile_height=model.image_height, tile_width=model.image_width
        )
        with self.clock.stage("golden"):
            golden = resized(golden, height, width)
        in_each = self.request.only(*_ASKED_IN_EACH)
        found = [(tile, self._inspect(tile, golden, test, in_each)) for tile in tiles]
        found.sort(key=lambda item: item[1].score, reverse=True)
        tile, worst = found[0]
        others = self.request.without(*_ASKED_IN_EACH)
        if worst.verdict != "normal" and others.questions:
            more = self._inspect(tile, golden, test, others)
            worst = replace(
                worst, text={**worst.text, **more.text}, notes=(*worst.notes, *more.notes)
            )
            found[0] = tile, worst
        return _join(found, height=height, width=width)

    def _inspect(
        self, tile: Tile, golden: ImageArray, test: ImageArray, request: Request
    ) -> Findings:
        """The findings in one tile, boxes in pixels of the tile."""
        with self.clock.stage("golden"):
            reference = self.read_golden(np.ascontiguousarray(tile.crop(golden)))
        with self.clock.stage("preprocess"):
            pixels = self.engine.preprocessor.resize(np.ascontiguousarray(tile.crop(test)))
        examination = examine(
            self.engine,
            reference,
            pixels,
            request,
            rule=self.rule,
            clock=self.clock,
            only_suspects=True,
        )
        manifest = self.engine.bundle.manifest
        return interpret(examination, manifest, height=tile.height, width=tile.width)


def resized(image: ImageArray, height: int, width: int) -> ImageArray:
    """``image`` (H, W, 3) at another size, as a golden takes that of the test image."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _join(found: Sequence[tuple[Tile, Findings]], *, height: int, width: int) -> Findings:
    """The findings of the picture from those of its tiles, the highest score first."""
    corner, worst = found[0]
    anomalous = [findings for _, findings in found if findings.verdict != "normal"]
    notes = [f"tiles:{len(found)}", f"tiles_anomalous:{len(anomalous)}"]
    text = dict(worst.text)
    if text:
        notes.append(f"text_from_tile:{corner.x},{corner.y}")
    if "classify" in text:
        answers = [findings.text["classify"] for findings in anomalous]
        types = dict.fromkeys(name for answer in answers for name in parse_types(answer))
        text["classify"] = ", ".join(types) or text["classify"]
    defects = [
        Defect(label=defect.label, bbox_2d=tile.to_image(defect.bbox_2d), source=defect.source)
        for tile, findings in found
        for defect in findings.defects
    ]
    maps = [findings.anomaly_map for _, findings in found if findings.anomaly_map is not None]
    return Findings(
        score=worst.score,
        verdict=worst.verdict,
        defects=merge_boxes(defects),
        text=text,
        notes=(*notes, *dict.fromkeys(note for _, one in found for note in one.notes)),
        anomaly_map=stitch_maps([tile for tile, _ in found], maps, height, width) if maps else None,
    )
