"""The public face of the runtime: open a bundle, read a golden image, inspect test images."""

from __future__ import annotations

import os
from collections.abc import Generator
from importlib.resources import files
from pathlib import Path

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.cascade import Cascade
from adcopilot_edge.runtime.drain import drain
from adcopilot_edge.runtime.engine import Engine, open_engine
from adcopilot_edge.runtime.golden import GoldenReference, GoldenStore
from adcopilot_edge.runtime.golden_picture import golden_picture, open_golden
from adcopilot_edge.runtime.images import ImageSource, check_same_aspect, open_image
from adcopilot_edge.runtime.ranges_store import read_ranges
from adcopilot_edge.runtime.request import Request, read_request
from adcopilot_edge.runtime.request import TaskChoice as TaskChoice
from adcopilot_edge.runtime.rule_choice import choose_rule
from adcopilot_edge.runtime.stream import Event, with_result
from adcopilot_edge.runtime.takt import Pace, Takt, overrun_notes
from adcopilot_edge.runtime.tiled import TiledInspection
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.turns import Turns
from adcopilot_edge.runtime.verdict_store import VerdictStates
from adcopilot_edge.runtime.whole import inspecting_whole
from adcopilot_edge.types import ImageArray, Inspection


class Inspector:
    """Inspects test images against golden images with one bundle.

    ::

        inspector = Inspector.open("bundle/")
        golden = inspector.golden("reference.png")
        inspection = inspector.inspect(golden, "part.png", task="all")

    May be shared by threads; they take turns.
    """

    def __init__(self, engine: Engine, states: VerdictStates | None = None) -> None:
        self.engine = engine
        self._states = states
        self._goldens = GoldenStore()
        self._pace = Pace()
        self._lock = Turns()

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
        return cls(engine, states)

    def golden(self, image: ImageSource, *, cache: bool = True) -> GoldenReference:
        """Read a golden image: all that its inspections share.

        Args:
            image: A path, the bytes of a file, a Pillow image, or an (H, W, 3) uint8 RGB array.
            cache: Use what was kept for the same pixels, and keep what is computed.

        Raises:
            InputError: The image can't be used.
            SessionError: A graph fails.
        """
        with self._lock:
            return self._read_golden(open_golden(image), cache=cache)

    def inspect(
        self,
        golden: GoldenReference | ImageSource,
        test: ImageSource,
        *,
        task: TaskChoice = "verdict",
        ask: str | None = None,
        tile: bool = False,
        max_new_tokens: int = 128,
        constrained: bool = True,
        takt_ms: float | None = None,
        cascade: Cascade | None = None,
    ) -> Inspection:
        """Inspect a test image against a golden image.

        The verdict and, where the bundle has one, the anomaly map are always part of the result;
        the verdict costs no decoding. Boxes from the text need the task ``locate``.

        Args:
            golden: What ``golden`` returned, or the image itself.
            test: The image of the part, of the golden's proportions.
            task: One task, several, or ``all``.
            ask: A question in free words; the answer is ``text["ask"]``.
            tile: Cut both images into overlapping tiles of the bundle's size instead of scaling
                them down. Questions are then asked of anomalous tiles only.
            max_new_tokens: Limit of each answer.
            constrained: Decode boxes under their grammar, so that they parse and lie in the image;
                the note ``constrained:locate`` says when the model would have said something else.
            takt_ms: Time for all of it, from the call on. Questions that do not fit are left out,
                an answer is cut, the verdict never; notes say so. Not for tiles.
            cascade: Let parts that look like the golden pass without the language model, and miss
                defects that leave the anomaly map quiet. Not for tiles.

        Raises:
            ConfigError: An argument is out of range, or not for tiles.
            InputError: An image can't be used, the proportions differ, or the question is too
                long or holds reserved tokens.
            SessionError: A graph fails.
            StateError: The golden's verdict state can't be used for this inspection.
        """
        if tile and (takt_ms is not None or cascade is not None):
            raise ConfigError("tiles have no takt and no cascade: each of them needs its verdict")
        request = read_request(
            self.engine,
            task,
            ask,
            max_new_tokens=max_new_tokens,
            is_constrained=constrained,
            cascade=cascade,
        )
        takt = Takt(takt_ms, self._pace)
        return drain(self._inspecting(golden, test, request, takt, tile=tile))

    def stream(
        self,
        golden: GoldenReference | ImageSource,
        test: ImageSource,
        *,
        task: TaskChoice = "all",
        ask: str | None = None,
        max_new_tokens: int = 128,
        constrained: bool = True,
        takt_ms: float | None = None,
        cascade: Cascade | None = None,
    ) -> Generator[Event, None, None]:
        """Inspect as ``inspect`` does, and tell what is known as soon as it is known.

        Other calls wait until the stream is read to its end or closed. Its reader's time counts in
        the takt and the timings. Arguments and errors are those of ``inspect``.

        Yields:
            A ``VerdictEvent``; for each answer ``TextEvent``s and an ``AnswerEvent``; an
            ``InspectionEvent`` at last.

        Raises:
            InferenceError: This thread has another stream open.
        """
        request = read_request(
            self.engine,
            task,
            ask,
            max_new_tokens=max_new_tokens,
            is_constrained=constrained,
            has_pieces=True,
            cascade=cascade,
        )
        takt = Takt(takt_ms, self._pace)
        return with_result(self._inspecting(golden, test, request, takt))

    def _inspecting(
        self,
        golden: GoldenReference | ImageSource,
        test: ImageSource,
        request: Request,
        takt: Takt,
        *,
        tile: bool = False,
    ) -> Generator[Event, None, Inspection]:
        """The steps of an inspection; the lock is held from the first to the last of them."""
        with self._lock:
            clock, num_made = StageClock(), self._goldens.num_made
            with clock.stage("decode_image"):
                picture = open_image(test)
            reference = golden_picture(golden, self.engine, clock)
            check_same_aspect(reference.shape, picture.shape)
            state, rule, notes = choose_rule(
                self._states,
                self.engine.bundle.manifest.decision.threshold,
                golden if isinstance(golden, GoldenReference) else reference,
                tile=tile,
            )
            if tile:
                tiled = TiledInspection(
                    engine=self.engine,
                    read_golden=self._read_golden,
                    request=request,
                    rule=rule,
                    clock=clock,
                )
                findings = tiled.run(reference, picture)
            else:
                if not isinstance(golden, GoldenReference):
                    with clock.stage("golden"):
                        golden = self._read_golden(reference)
                findings = yield from inspecting_whole(
                    self.engine, golden, picture, request, rule=rule, clock=clock, takt=takt
                )
            overrun_ms = takt.overrun_ms()
            return Inspection(
                verdict=findings.verdict,
                anomaly_score=findings.shown_score(rule),
                defects=findings.defects,
                text=findings.text,
                timings_ms=clock.timings_ms(),
                golden_cached=self._goldens.num_made == num_made,
                bundle=self.engine.bundle.id,
                provider=self.engine.provider,
                precision=self.engine.bundle.manifest.precision,
                calibration=None if state is None else state.id,
                notes=(*findings.notes, *notes, *self._ranges_note(), *overrun_notes(overrun_ms)),
                takt_overrun_ms=overrun_ms,
                path=findings.path,
                anomaly_map=findings.anomaly_map,
            )

    def _ranges_note(self) -> tuple[str, ...]:
        """By which ranges its INT8 layers went, where not by the bundle's own."""
        ranges = self.engine.ranges
        return () if ranges is None else (f"ranges:{ranges.id}",)

    def _read_golden(self, image: ImageArray, *, cache: bool = True) -> GoldenReference:
        return self._goldens.get_or_make(
            image, self.engine.id, self.engine.read_golden, cache=cache
        )


def embedded_bundle() -> Path:
    """The folder of the small bundle that this package brings."""
    return Path(str(files("adcopilot_edge"))) / "assets" / "nano"
