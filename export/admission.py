"""Whether a vision side in INT8 is admitted: held against the float bundle by the task's gate.

What fails is refused, or, where the caller allows it, modules go back to float until it passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from shutil import copyfile

from adcopilot_edge.calibration.answer_log import AnswerLog
from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gate_run import NUM_ANSWERS, ask, run_gate
from adcopilot_edge.calibration.gates import GateLimits
from adcopilot_edge.calibration.held_out import HeldOut
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import ConfigError, GateError
from adcopilot_edge.export.fallback import fewest_kept
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.sensitivity import measure_sensitivity, rank
from adcopilot_edge.export.speed import vision_ratio
from adcopilot_edge.export.trials import Trials
from adcopilot_edge.manifest import Fallback, Gate, GateCheck
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import OnStep

LOG_FILE = "fallback.jsonl"
_TIMED_PAIRS = 4
# Failed figures that an error names; all of them are in the log.
_MOST_FAILURES = 4
_ADVICE = (
    "With --fall-back modules go back to float until it passes; other ranges (--calib, "
    "--calib-method, --smooth) or a finer language model (--llm) may pass as well"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePlan:
    """How a bundle is to be admitted.

    held_out: labelled pairs that nothing was learned from. limits: what may be lost. num_answers:
    how many pairs are asked about in words; seed: which, and of the intervals. reference: the
    folder of the float bundle, or None to make one for the time of the gate. can_fall_back: whether
    modules may go back to float.
    """

    held_out: HeldOut
    limits: GateLimits
    seed: int = 0
    num_answers: int = NUM_ANSWERS
    reference: Path | None = None
    can_fall_back: bool = False

    def key(self) -> str:
        """What the outcome depends on."""
        settings = (self.limits, self.seed, self.num_answers, self.reference, self.can_fall_back)
        return repr((self.held_out.sha256, *settings))

    def check(self, recipe: ExportRecipe, calibration: CalibrationPairs | None) -> None:
        """Raise ConfigError where there is nothing to fall back, or nothing to rank it by."""
        if not self.can_fall_back:
            return
        if recipe.vision != "int8":
            raise ConfigError(
                f"only a vision side in int8 can fall back, and it is to be {recipe.vision}"
            )
        if recipe.kept:
            raise ConfigError("which modules are kept is either named or searched for, not both")
        if calibration is None:
            raise ConfigError(
                "the fall-back ranks modules on other pairs than the gate's: name them with --calib"
            )


@dataclass(frozen=True, slots=True)
class Admitted:
    """What passed the gate: the recipe, the figures, and what the search found, where one ran."""

    recipe: ExportRecipe
    gate: Gate
    fallback: Fallback | None = None


def admit(
    trials: Trials,
    plan: GatePlan,
    calibration: CalibrationPairs | None,
    open_reference: Callable[[], Inspector],
    *,
    refused: Path,
    on_step: OnStep,
) -> Admitted:
    """Hold the vision side of ``trials`` against the float bundle.

    A search that was killed goes on behind its last trial: ``fallback.jsonl`` keeps them.

    Args:
        trials: The vision sides.
        plan: Pairs and limits.
        calibration: Pairs that modules are ranked on, where the plan may fall back.
        open_reference: Opens the float bundle.
        refused: Where the log goes if nothing passes.
        on_step: Told of the progress.

    Raises:
        GateError: Nothing passed.
        DatasetError: Held-out pairs are among those of the calibration.
        TooFewSamplesError: The limits ask for more pairs.
    """
    path = trials.folder / LOG_FILE
    try:
        with AnswerLog(path, {"recipe": repr(trials.recipe), "gate": plan.key()}) as log:
            search = _Search(trials, plan, open_reference, log, on_step)
            if plan.can_fall_back:
                assert calibration is not None
                return search.fall_back(calibration)
            return search.judge()
    except GateError as err:
        copyfile(path, refused)
        raise GateError(f"{err}. All figures are in {refused}") from None


def tell_failures(gate: Gate) -> str:
    """The figures out of their limit in words, the first few of them."""
    words = [tell_check(check) for check in gate.failures]
    rest = len(words) - _MOST_FAILURES
    return "; ".join(words[:_MOST_FAILURES]) + (f"; and {rest} more" if rest > 0 else "")


def tell_check(check: GateCheck) -> str:
    """One figure, and what would have been allowed."""
    name = check.name if check.category is None else f"{check.name} in {check.category}"
    value = f"{check.value:.4f} [{check.low:.4f}, {check.high:.4f}]"
    return f"{name} {value}, but {check.rule}, {check.limit:g}"


class _Search:
    """One run of the gate, and of the search for what passes it."""

    def __init__(
        self,
        trials: Trials,
        plan: GatePlan,
        open_reference: Callable[[], Inspector],
        log: AnswerLog,
        on_step: OnStep,
    ) -> None:
        self._trials = trials
        self._plan = plan
        self._open_reference = open_reference
        self._log = log
        self._on_step = on_step

    @cached_property
    def _reference(self) -> Predictions:
        """What the float bundle says; asked only if a trial is left to judge."""
        return ask(
            self._open_reference(),
            self._plan.held_out,
            "reference",
            seed=self._plan.seed,
            num_answers=self._plan.num_answers,
            on_step=self._on_step,
        )

    def judge(self) -> Admitted:
        """The recipe as it is."""
        recipe = self._trials.recipe
        gate = self.gate(recipe.kept)
        if not gate.passed:
            raise GateError(f"the gate refuses this bundle: {tell_failures(gate)}. {_ADVICE}")
        return Admitted(recipe, gate)

    def fall_back(self, calibration: CalibrationPairs) -> Admitted:
        """The least of the ranking in float that passes; all of it where INT8 is not faster."""
        trials = self._trials
        ranking: tuple[str, ...] = ()

        def passes(count: int) -> bool:
            nonlocal ranking
            if count and not ranking:
                ranking = rank(
                    measure_sensitivity(trials, calibration.pairs, self._log, self._on_step)
                )
            return self.gate(ranking[:count]).passed

        count = fewest_kept(len(trials.modules), passes)
        kept = trials.modules if count is None else ranking[:count]
        speed = self._speed(kept)
        if speed is not None and speed <= 1:
            kept = trials.modules
        gate = self.gate(kept)
        if not gate.passed:
            raise GateError(
                "the gate refuses this bundle even with the whole vision side in "
                f"{trials.recipe.float_vision}: {tell_failures(gate)}. The language model in "
                f"{trials.recipe.llm} is to blame: choose a finer one with --llm or "
                "--llm-quantizer"
            )
        is_float = len(kept) == len(trials.modules)
        recipe = (
            trials.recipe.in_float()
            if is_float
            else replace(trials.recipe, kept=trials.in_order(kept))
        )
        fallback = Fallback(
            chosen=recipe.vision,
            num_kept=len(kept),
            num_modules=len(trials.modules),
            num_trials=sum(key.startswith("trial ") for key in self._log.answers),
            speed_ratio=speed,
        )
        return Admitted(recipe, gate, fallback)

    def _speed(self, kept: tuple[str, ...]) -> float | None:
        """How much faster the vision side is than in float; None where this machine can't tell."""
        trials = self._trials
        if len(kept) == len(trials.modules) or not trials.can_be_timed:
            return None
        if "speed" not in self._log.answers:
            pairs = list(islice(self._plan.held_out.pairs, _TIMED_PAIRS))
            with trials.open(trials.modules) as floats, trials.open(kept) as int8:
                self._log.add("speed", {"ratio": round(vision_ratio(floats, int8, pairs), 3)})
        return float(self._log.answers["speed"]["ratio"])

    def gate(self, kept: tuple[str, ...]) -> Gate:
        """The figures with ``kept`` in float, from the log where they are in it."""
        key = f"trial {len(kept)}"
        if key not in self._log.answers:
            reference = self._reference
            with self._trials.open(kept) as engine:
                report = run_gate(
                    Inspector(engine),
                    reference,
                    self._plan.held_out,
                    self._plan.limits,
                    seed=self._plan.seed,
                    num_answers=self._plan.num_answers,
                    on_step=lambda _, done, total: self._on_step(key, done, total),
                )
            failures = [tell_check(check) for check in report.failures]
            self._log.add(
                key,
                {
                    "kept": list(kept),
                    "passed": not failures,
                    "failures": failures,
                    "gate": report.gate.model_dump(),
                },
            )
        gate = self._log.answers[key]["gate"]
        return Gate.model_validate({**gate, "checks": tuple(gate["checks"])})
