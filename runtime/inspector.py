"""The public face of the runtime: open a bundle, read a golden image, inspect test images."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.errors import ConfigError, InputError
from adcopilot_edge.runtime.engine import Engine, open_engine
from adcopilot_edge.runtime.examine import Request, encode, examine, make_request
from adcopilot_edge.runtime.findings import Findings, interpret
from adcopilot_edge.runtime.golden import GoldenReference, pixel_hash
from adcopilot_edge.runtime.golden_packs import GoldenPacks, StoredPack
from adcopilot_edge.runtime.golden_set import GoldenSet, vote
from adcopilot_edge.runtime.golden_source import GoldenSource
from adcopilot_edge.runtime.health import HealthCheck, HealthLimits
from adcopilot_edge.runtime.images import ImageSource, check_same_aspect, open_image
from adcopilot_edge.runtime.ranges_store import read_ranges
from adcopilot_edge.runtime.tiled import TiledInspection
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.verdict_state import VerdictState
from adcopilot_edge.runtime.verdict_store import VerdictStates
from adcopilot_edge.runtime.vision import EncodedImage
from adcopilot_edge.types import ImageArray, Inspection, Task

TaskChoice = Task | Literal["all"] | Sequence[Task]


class Inspector:
    """Inspects test images against golden images with one bundle.

    ::

        inspector = Inspector.open("bundle/")
        golden = inspector.golden("reference.png")
        inspection = inspector.inspect(golden, "part.png", task="all")

    May be shared by threads; they take turns.
    """

    def __init__(
        self,
        engine: Engine,
        states: VerdictStates | None = None,
        packs: GoldenPacks | None = None,
        health: HealthLimits | None = None,
    ) -> None:
        self.engine = engine
        self.packs = packs
        self._states = states
        self._goldens = GoldenSource(engine, packs)
        self._health = HealthCheck(health or HealthLimits())
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        provider: str = "cpu",
        num_threads: int | None = None,
        verify: bool = True,
        state: str | os.PathLike[str] | None = None,
        calibrated: bool = True,
        packs: str | os.PathLike[str] | None = None,
        health: HealthLimits | None = None,
    ) -> Inspector:
        """Open a bundle.

        Args:
            path: Its folder; None is the small bundle inside this package.
            provider: Where to run: ``cpu``, ``cuda``, or with the vision side as engines, which
                ``adcopilot-edge build`` makes, ``tensorrt`` or ``tensorrt-rtx``. There is no silent
                fallback.
            num_threads: Threads of one operator; None leaves the choice to onnxruntime.
            verify: Hash every file first.
            state: A file of ``adcopilot-edge calibrate --state``, for all inspections; None takes
                what lies beside the bundle for a golden image, if anything does. A file is read
                once; open the inspector again after a calibration.
            calibrated: False leaves all of that alone, and ranges that ``calibrate --ranges``
                measured too: the bundle's own threshold and scores.
            packs: Folder of golden packs; None is ``goldens/`` beside the bundle. It need not
                exist. A pack of a golden image spares computing it anew, and changes nothing else.
            health: Limits whose breach is noted; the numbers are part of every inspection.

        Raises:
            BundleError: The bundle is missing, damaged, or of another format.
            ProviderUnavailableError: The provider is absent or did not start.
            SessionError: A graph can't be used.
            EngineError: There is no engine for this machine, or it can't be used.
            MissingExtraError: A package of the provider is not installed.
            StateError: ``state`` is missing or damaged, or measured ranges are.
            ConfigError: ``state`` is given and ``calibrated`` is false.
        """
        if state is not None and not calibrated:
            raise ConfigError("a verdict state can't be used in an uncalibrated inspection")
        bundle = open_bundle(embedded_bundle() if path is None else path, verify=verify)
        ranges = read_ranges(bundle) if calibrated else None
        states = VerdictStates(bundle, provider, state, ranges=ranges) if calibrated else None
        engine = open_engine(bundle, provider=provider, num_threads=num_threads, ranges=ranges)
        beside = GoldenPacks.beside(bundle)
        folder = beside if packs is None else GoldenPacks(Path(packs))
        return cls(engine, states, folder, health)

    def golden(self, image: ImageSource, *, cache: bool = True) -> GoldenReference:
        """Read a golden image: all that its inspections share.

        Args:
            image: A path, the bytes of a file, a Pillow image, or an (H, W, 3) uint8 RGB array.
            cache: Use what was kept for the same pixels, in memory or as a pack, and keep in memory
                what is computed.

        Raises:
            InputError: The image can't be used.
            SessionError: A graph fails.
        """
        with self._lock:
            return self._goldens.read(_open_golden(image), cache=cache)

    def add_golden(self, image: ImageSource, name: str | None = None) -> StoredPack:
        """Compute what is constant for a golden image and store it as a pack, for other processes.

        Args:
            image: As for ``golden``.
            name: The product's; its other packs stay.

        Raises:
            InputError: The image can't be used.
            PackError: The pack can't be written.
            SessionError: A graph fails.
        """
        with self._lock:
            return self._goldens.add(_open_golden(image), name)[1]

    def product(self, name: str) -> tuple[GoldenReference, ...]:
        """The golden references of a product, from its packs; no golden file is read.

        Raises:
            PackError: It has no pack that fits this bundle and provider, or one is damaged.
        """
        with self._lock:
            return self._goldens.product(name)

    def inspect(
        self,
        golden: GoldenReference | GoldenSet | ImageSource,
        test: ImageSource,
        *,
        task: TaskChoice = "verdict",
        ask: str | None = None,
        tile: bool = False,
        max_new_tokens: int = 128,
    ) -> Inspection:
        """Inspect a test image against a golden image.

        The verdict and, where the bundle has one, the anomaly map are always part of the result;
        the verdict costs no decoding. Boxes from the text need the task ``locate``.

        Args:
            golden: What ``golden`` returned, several of them as a set, or the image itself.
            test: The image of the part, of the golden's proportions.
            task: One task, several, or ``all``.
            ask: A question in free words; the answer is ``text["ask"]``.
            tile: Cut both images into overlapping tiles of the bundle's size instead of scaling
                them down. Questions are then asked of anomalous tiles only.
            max_new_tokens: Limit of each answer.

        Raises:
            ConfigError: An argument is out of range.
            InputError: An image can't be used, the proportions differ, or the question is too
                long or holds reserved tokens.
            SessionError: A graph fails.
            StateError: The golden's verdict state can't be used for this inspection.
        """
        request = make_request(self.engine, task, ask, max_new_tokens)
        if isinstance(golden, GoldenSet) and golden.choose == "vote":
            settings: dict[str, Any] = {"task": task, "ask": ask, "tile": tile}
            settings["max_new_tokens"] = max_new_tokens
            return vote([self.inspect(one, test, **settings) for one in golden.references])
        with self._lock:
            clock, num_made = StageClock(), self._goldens.num_made
            self._goldens.take_notes()  # those of calls before
            with clock.stage("decode_image"):
                picture = open_image(test)
            encoded: EncodedImage | None = None
            chosen: tuple[str, ...] = ()
            if isinstance(golden, GoldenSet):
                encoded = encode(self.engine, self._resized(picture, clock), clock)
                golden = golden.nearest(np.asarray(encoded.features))
                chosen = (f"golden_nearest:{golden.image_sha256[:16]}",)
            golden_picture = self._golden_picture(golden, clock)
            check_same_aspect(golden_picture.shape, picture.shape)
            sha256 = _sha256(golden, golden_picture)
            with clock.stage("health"):
                health, warnings = self._health.check(golden_picture, sha256, picture)
            state, rule, notes = self._find_rule(sha256, tile=tile)
            if tile:
                tiled = TiledInspection(
                    engine=self.engine,
                    read_golden=self._goldens.read,
                    request=request,
                    rule=rule,
                    clock=clock,
                )
                findings = tiled.run(golden_picture, picture)
            else:
                if not isinstance(golden, GoldenReference):
                    with clock.stage("golden"):
                        golden = self._goldens.read(golden_picture)
                findings = self._inspect_whole(golden, picture, request, rule, clock, encoded)
            return Inspection(
                verdict=findings.verdict,
                anomaly_score=rule.calibrate(findings.score),
                defects=findings.defects,
                text=findings.text,
                timings_ms=clock.timings_ms(),
                golden_cached=self._goldens.num_made == num_made,
                bundle=self.engine.bundle.id,
                provider=self.engine.provider,
                precision=self.engine.bundle.manifest.precision,
                calibration=None if state is None else state.id,
                notes=(
                    *(*findings.notes, *notes, *self.engine.notes),
                    *(*self._goldens.take_notes(), *warnings, *chosen),
                ),
                health=health,
                anomaly_map=findings.anomaly_map,
            )

    def _golden_picture(
        self, golden: GoldenReference | ImageSource, clock: StageClock
    ) -> ImageArray:
        if not isinstance(golden, GoldenReference):
            with clock.stage("golden"):
                return _open_golden(golden)
        if golden.bundle != self.engine.id:
            raise InputError(
                f"the golden was read by the bundle {golden.bundle}, this is "
                f"{self.engine.id}. Read it again with this inspector's golden()"
            )
        return golden.image

    def _find_rule(
        self, golden_sha256: str, *, tile: bool
    ) -> tuple[VerdictState | None, VerdictRule, tuple[str, ...]]:
        """The verdict state of a golden image, what verdicts go by, and what to note."""
        bundles_own = VerdictRule.from_threshold(self.engine.bundle.manifest.decision.threshold)
        if self._states is None or self._states.is_empty:
            return None, bundles_own, ()
        state = self._states.find(golden_sha256, tile=tile)
        if state is None:
            return None, bundles_own, ("golden_uncalibrated",)
        return state, state.rule, ()

    def _resized(self, picture: ImageArray, clock: StageClock) -> ImageArray:
        with clock.stage("preprocess"):
            return self.engine.preprocessor.resize(picture)

    def _inspect_whole(
        self,
        golden: GoldenReference,
        picture: ImageArray,
        request: Request,
        rule: VerdictRule,
        clock: StageClock,
        encoded: EncodedImage | None,
    ) -> Findings:
        """The findings in a picture that is scaled to the bundle's size."""
        engine = self.engine
        pixels = self._resized(picture, clock)
        examination = examine(
            engine, golden, pixels, request, rule=rule, clock=clock, encoded=encoded
        )
        height, width = picture.shape[:2]
        findings = interpret(examination, engine.bundle.manifest, height=height, width=width)
        if pixels.shape == picture.shape:
            return findings
        model = engine.bundle.manifest.model
        note = f"resized:{width}x{height}->{model.image_width}x{model.image_height}"
        return findings.with_note(note)


def embedded_bundle() -> Path:
    """The folder of the small bundle that this package brings."""
    return Path(str(files("adcopilot_edge"))) / "assets" / "nano"


def _open_golden(image: ImageSource) -> ImageArray:
    """Decode a golden image; an array is copied, since its owner may reuse it as a frame buffer."""
    picture = open_image(image)
    return picture.copy() if isinstance(image, np.ndarray) else picture


def _sha256(golden: GoldenReference | ImageSource, picture: ImageArray) -> str:
    """The identity of a golden's pixels."""
    return golden.image_sha256 if isinstance(golden, GoldenReference) else pixel_hash(picture)
