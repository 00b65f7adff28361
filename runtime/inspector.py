"""The public face of the runtime: open a bundle, read a golden image, inspect test images."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from pathlib import Path

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.cascade import Cascade
from adcopilot_edge.runtime.drain import drain
from adcopilot_edge.runtime.engine import Engine, open_engine
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.golden_packs import GoldenPacks, StoredPack
from adcopilot_edge.runtime.golden_picture import open_golden
from adcopilot_edge.runtime.golden_set import GoldenSet, has_votes, vote
from adcopilot_edge.runtime.golden_source import GoldenSource
from adcopilot_edge.runtime.health import HealthCheck, HealthLimits
from adcopilot_edge.runtime.images import ImageSource
from adcopilot_edge.runtime.many import check_tests, inspecting_many
from adcopilot_edge.runtime.part_image import PartImage
from adcopilot_edge.runtime.ranges_store import read_ranges
from adcopilot_edge.runtime.request import Request, check_limits, read_request
from adcopilot_edge.runtime.request import TaskChoice as TaskChoice
from adcopilot_edge.runtime.steps import InspectionSteps
from adcopilot_edge.runtime.stream import Event, with_result
from adcopilot_edge.runtime.takt import Pace, Takt
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.runtime.turns import Turns
from adcopilot_edge.runtime.verdict_store import VerdictStates
from adcopilot_edge.types import Inspection, PartResult


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
        self._goldens = GoldenSource(engine, packs)
        self._states = states
        self._health = HealthCheck(health or HealthLimits())
        self._pace = Pace()
        self._lock = Turns()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        provider: str = "cpu",
        num_threads: Threads | Path = None,
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
            num_threads: Threads of one operator, ``ThreadSettings``, or a file of
                ``adcopilot-edge doctor --tune --out``; None takes what ``doctor --tune`` stored
                beside the bundle for this machine, or else leaves the choice to onnxruntime.
            verify: Hash every file first.
            state: A file of ``adcopilot-edge calibrate --state``, read once, for all inspections;
                None takes what lies beside the bundle for a golden image, if anything does.
            calibrated: False leaves all of that alone, and ranges that ``calibrate --ranges``
                measured too: the bundle's own threshold and scores.
            packs: Folder of golden packs, which need not exist; None is ``goldens/`` beside the
                bundle. A pack spares computing a golden image anew, and changes nothing else.
            health: Limits whose breach is noted; the numbers are part of every inspection.

        Raises:
            BundleError: The bundle is missing, damaged, or of another format.
            ProviderUnavailableError: The provider is absent or did not start.
            SessionError: A graph can't be used.
            EngineError: There is no engine for this machine, or it can't be used.
            MissingExtraError: A package of the provider is not installed.
            StateError: ``state``, measured ranges or a file of thread settings can't be used.
            ConfigError: ``state`` is given and ``calibrated`` is false.
        """
        if state is not None and not calibrated:
            raise ConfigError("a verdict state can't be used in an uncalibrated inspection")
        bundle = open_bundle(path or embedded_bundle(), verify=verify)
        ranges = read_ranges(bundle) if calibrated else None
        states = VerdictStates(bundle, provider, state, ranges=ranges) if calibrated else None
        engine = open_engine(bundle, provider=provider, num_threads=num_threads, ranges=ranges)
        folder = GoldenPacks.beside(bundle) if packs is None else GoldenPacks(Path(packs))
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
            return self._goldens.read(open_golden(image), cache=cache)

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
            return self._goldens.add(open_golden(image), name)[1]

    def add_tiles(self, image: ImageSource, name: str | None = None) -> list[StoredPack]:
        """Store the tiles of a golden image as packs, for tiled inspections of parts of its size.

        Equal tiles share one. Arguments and errors are those of ``add_golden``.
        """
        with self._lock:
            return self._goldens.add_tiles(open_golden(image), name)

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
        constrained: bool = True,
        takt_ms: float | None = None,
        cascade: Cascade | None = None,
        threshold: float | None = None,
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
            constrained: Decode boxes under their grammar, so that they parse and lie in the image;
                the note ``constrained:locate`` says when the model would have said something else.
            takt_ms: Time for all of it, from the call on. Questions that do not fit are left out,
                an answer is cut, the verdict never; notes say so. Not for tiles or votes.
            cascade: Let parts that look like the golden pass without the language model, and miss
                defects that leave the anomaly map quiet. ``Cascade()`` goes by the threshold of
                the golden's verdict state. Not for tiles or votes.
            threshold: An anomaly is a score at or above this, 0..1, in place of the limits of the
                bundle or the golden's verdict state.

        Raises:
            ConfigError: An argument is out of range, or not for tiles or votes.
            InputError: An image can't be used, the proportions differ, or the question is too
                long or holds reserved tokens.
            SessionError: A graph fails.
            StateError: The golden's verdict state can't be used for this inspection.
        """
        check_limits(takt_ms, cascade, has_many_verdicts=tile or has_votes(golden))
        request = read_request(
            self.engine, task, ask, max_new_tokens, constrained, cascade, threshold=threshold
        )
        takt = Takt(takt_ms, self._pace)
        if isinstance(golden, GoldenSet) and golden.choose == "vote":
            votes = [
                self._taking_turns(one, test, request, takt, tile=tile) for one in golden.references
            ]
            return vote([drain(steps) for steps in votes])
        return drain(self._taking_turns(golden, test, request, takt, tile=tile))

    def inspect_many(
        self,
        golden: GoldenReference | GoldenSet | ImageSource,
        tests: Iterable[ImageSource],
        *,
        task: TaskChoice = "verdict",
        ask: str | None = None,
        tile: bool = False,
        max_new_tokens: int = 128,
        constrained: bool = True,
        takt_ms: float | None = None,
        cascade: Cascade | None = None,
        threshold: float | None = None,
    ) -> Generator[PartResult, None, None]:
        """Inspect test images as ``inspect`` does, each prepared while the one before is inspected.

        ``tests`` may be endless and may wait, as a camera does. A thread reads it, never further
        than one image behind the part in turn. Closing the generator ends the thread, and drops
        the image that it had ready. Arguments and results are those of ``inspect``; no set votes.
        A part's takt and ``total`` count from its turn on: the result before was taken, and its
        own image has come. What was done before that is ``timings_ms["ahead"]``.

        Yields:
            A result for each image, in order. One that can't be used is told there, no exception;
            a golden that can't be used raises at once.
        """
        check_tests(golden, tests)
        check_limits(takt_ms, cascade, has_many_verdicts=tile)
        request = read_request(
            self.engine, task, ask, max_new_tokens, constrained, cascade, threshold=threshold
        )
        Takt(takt_ms, self._pace)  # a limit out of range is told before the first part
        with self._lock:
            known, notes = self._goldens.known(golden)
        return inspecting_many(
            tests,
            self.engine.preprocessor,
            lambda part: drain(
                self._taking_turns(known, part, request, Takt(takt_ms, self._pace), tile=tile)
            ),
            tile=tile,
            notes=notes,
        )

    def stream(
        self,
        golden: GoldenReference | GoldenSet | ImageSource,
        test: ImageSource,
        *,
        task: TaskChoice = "all",
        ask: str | None = None,
        max_new_tokens: int = 128,
        constrained: bool = True,
        takt_ms: float | None = None,
        cascade: Cascade | None = None,
        threshold: float | None = None,
    ) -> Generator[Event, None, None]:
        """Inspect as ``inspect`` does, and tell what is known as soon as it is known.

        Other calls wait until the stream is read to its end or closed. Its reader's time counts in
        the takt and the timings. Arguments and errors are those of ``inspect``; no set votes.

        Yields:
            A ``VerdictEvent``; for each answer ``TextEvent``s and an ``AnswerEvent``; an
            ``InspectionEvent`` at last.

        Raises:
            InferenceError: This thread has another stream open.
        """
        if has_votes(golden):
            raise ConfigError("votes can't be streamed. Choose the nearest golden, or inspect")
        request = read_request(
            *(self.engine, task, ask, max_new_tokens, constrained, cascade),
            has_pieces=True,
            threshold=threshold,
        )
        takt = Takt(takt_ms, self._pace)
        return with_result(self._taking_turns(golden, test, request, takt))

    def _taking_turns(
        self,
        golden: GoldenReference | GoldenSet | ImageSource,
        test: ImageSource | PartImage,
        request: Request,
        takt: Takt,
        *,
        tile: bool = False,
    ) -> Generator[Event, None, Inspection]:
        """The steps of an inspection; the lock is held from the first to the last of them."""
        with self._lock:
            steps = InspectionSteps(
                engine=self.engine, goldens=self._goldens, states=self._states, health=self._health
            )
            if not isinstance(test, PartImage):
                test = PartImage(test, self.engine.preprocessor)
            return (yield from steps.run(golden, test, request, takt, tile=tile))
