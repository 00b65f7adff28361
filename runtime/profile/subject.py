"""The thing that is profiled: a bundle opened and timed, and its inspections as measured trials.

Each trial is a call of the public ``Inspector.inspect``; nothing is measured apart from it but what
is no part of it: opening, reading a golden, drawing the picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.images import ImageSource, open_image
from adcopilot_edge.runtime.inspector import Inspector, TaskChoice
from adcopilot_edge.runtime.ort import load_onnxruntime
from adcopilot_edge.runtime.overlay import draw_overlay
from adcopilot_edge.runtime.profile.recorder import ListeningDialogue
from adcopilot_edge.runtime.profile.settings import ProfileSettings
from adcopilot_edge.runtime.thread_store import ThreadsInUse
from adcopilot_edge.runtime.tiled import resized
from adcopilot_edge.runtime.tiling import plan_tiles
from adcopilot_edge.types import Inspection

T = TypeVar("T")
_SUMS = ("prefill", "decode", "total")  # told apart by what the dialogue did


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One inspection. start_s, latency_ms: as its caller sees it, waiting for its turn included.

    stages_ms: what it is made of; they add up to the latency. decode_ms, written_tokens: by task,
    of answers in words, and num_answers how often. read_tokens: of the prompt, by stage. num_tiles:
    None for a part inspected as a whole. num_looks: how often vision and prefill ran.
    """

    start_s: float
    latency_ms: float
    stages_ms: dict[str, float]
    decode_ms: dict[str, float] = field(default_factory=dict)
    read_tokens: dict[str, int] = field(default_factory=dict)
    written_tokens: dict[str, int] = field(default_factory=dict)
    num_answers: dict[str, int] = field(default_factory=dict)
    num_tiles: int | None = None
    num_looks: int = 1

    @property
    def verdict_ms(self) -> float:
        """From the call until the verdict is known; answers in words come later.

        But in tiles, where each anomalous one is asked for types and boxes before the next one.
        """
        seeing = ("decode_image", "health", "golden", "preprocess", "vision", "comparison")
        asked = () if self.num_tiles is None else ("classify", "locate")
        before = ("wait", *seeing, "prefill", "verdict", *asked)
        return sum(self.stages_ms.get(stage, 0.0) for stage in before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Milliseconds until the first inspection is done, each counted once.

    hash: all files read and hashed. load: graphs, table and tokenizer opened; the files were just
    read, so they come from memory. golden: the golden image read, and its tiles. first: the first
    inspection.
    """

    hash_ms: float
    load_ms: float
    golden_ms: float
    first_ms: float

    def to_json(self) -> dict[str, float]:
        """The figures by name."""
        return {
            "hash": round(self.hash_ms, 3),
            "load": round(self.load_ms, 3),
            "golden": round(self.golden_ms, 3),
            "first_inspection": round(self.first_ms, 3),
        }


class Subject:
    """A bundle that is open, with its golden image read.

    Args:
        settings: Which, and how its inspections are.
        verify: Hash every file first.

    Raises:
        EdgeError: As ``Inspector.open``, ``golden`` and ``inspect``.
    """

    def __init__(self, settings: ProfileSettings, *, verify: bool = True) -> None:
        load_onnxruntime()  # its import is no part of opening a bundle
        path = embedded_bundle() if settings.bundle is None else settings.bundle
        hash_ms, self.bundle = timed(lambda: open_bundle(path, verify=verify))
        load_ms, self._inspector = timed(
            lambda: Inspector.open(
                path, provider=settings.provider, num_threads=settings.threads, verify=False
            )
        )
        engine = self._inspector.engine
        self._dialogue = ListeningDialogue(engine.dialogue, self.bundle.manifest.prompt.tasks)
        self._inspector.engine = replace(engine, dialogue=self._dialogue)
        self._settings = settings
        self._task: TaskChoice = settings.task  # type: ignore[assignment]
        golden_ms, self._golden = timed(lambda: self._inspector.golden(settings.golden))
        self._golden_parts = self._cut_golden()
        golden_ms += timed(lambda: self._read_golden(cache=True))[0] if settings.tile else 0.0
        first = self.inspect(0)
        self.opening = Opening(
            hash_ms=hash_ms, load_ms=load_ms, golden_ms=golden_ms, first_ms=first.latency_ms
        )

    @property
    def threads(self) -> ThreadsInUse:
        """The thread settings that it was opened with."""
        return self._inspector.engine.threads

    @property
    def num_golden_tokens(self) -> int:
        """Tokens of the prompt that are read once for a golden image."""
        return self._dialogue.num_golden_tokens()

    def inspect(self, index: int) -> Trial:
        """Inspect a test image, which of them by ``index``; any thread may."""
        test = self._settings.tests[index % len(self._settings.tests)]
        self._dialogue.take()
        start = time.perf_counter()
        inspection = self._inspector.inspect(
            self._golden,
            test,
            task=self._task,
            ask=self._settings.ask,
            tile=self._settings.tile,
            max_new_tokens=self._settings.max_new_tokens,
        )
        latency_ms = (time.perf_counter() - start) * 1000
        heard, timings = self._dialogue.take(), inspection.timings_ms
        stages = {stage: ms for stage, ms in timings.items() if stage not in _SUMS} | heard.ms
        wait = {"wait": latency_ms - timings["total"]} if self._settings.concurrency > 1 else {}
        other = latency_ms - sum(stages.values()) - sum(wait.values())
        return Trial(
            start_s=start,
            latency_ms=latency_ms,
            stages_ms={**wait, **stages, "other": max(other, 0.0)},
            decode_ms=heard.decode_ms,
            read_tokens=heard.read_tokens,
            written_tokens=heard.written_tokens,
            num_answers=heard.num_answers,
            num_looks=heard.num_looks,
            num_tiles=_num_tiles(inspection) if self._settings.tile else None,
        )

    def asides(self) -> dict[str, Callable[[], object]]:
        """What is no part of an inspection, by name: to be timed a few times each."""
        golden, test = self._settings.golden, self._settings.tests[0]
        pictures = open_image(golden), open_image(test)
        inspection = self._inspector.inspect(self._golden, test, tile=self._settings.tile)
        return {
            "golden_uncached": lambda: self._read_golden(cache=False),
            "golden_cached": lambda: self._read_golden(cache=True),
            "overlay": lambda: draw_overlay(*pictures, inspection),
        }

    def _cut_golden(self) -> list[ImageSource]:
        """What is read for a golden image: its file, or its tiles at the size of the first part."""
        if not self._settings.tile:
            return [self._settings.golden]
        model = self.bundle.manifest.model
        height, width = open_image(self._settings.tests[0]).shape[:2]
        golden = resized(self._golden.image, height, width)
        tiles = plan_tiles(
            height, width, tile_height=model.image_height, tile_width=model.image_width
        )
        return [np.ascontiguousarray(tile.crop(golden)) for tile in tiles]

    def _read_golden(self, *, cache: bool) -> None:
        for part in self._golden_parts:
            self._inspector.golden(part, cache=cache)

    def golden_reference(self) -> GoldenReference:
        """The golden image as it was read."""
        return self._golden

    def test_picture(self) -> Path:
        """The first test image."""
        return self._settings.tests[0]


def _num_tiles(inspection: Inspection) -> int:
    """How many tiles a tiled inspection looked at, as its notes say."""
    return next(
        int(note.removeprefix("tiles:")) for note in inspection.notes if note.startswith("tiles:")
    )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds that ``work`` takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1000, result
