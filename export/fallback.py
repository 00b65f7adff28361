"""One way to quantize before the gate: as it is, or with as few modules in float as will pass.

The modules that cost the task most go back first. The search halves: it takes for granted that
more modules in float never make the gate fail, and what it admits has itself passed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from adcopilot_edge.calibration.answer_log import AnswerLog
from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gate_run import run_gate
from adcopilot_edge.calibration.pairs import Pairs
from adcopilot_edge.errors import GateError
from adcopilot_edge.export.gate_plan import Admitted, GatePlan, tell_check, tell_failures
from adcopilot_edge.export.mixed import int8_modules
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.sensitivity import measure_sensitivity, rank
from adcopilot_edge.export.speed import vision_ratio
from adcopilot_edge.export.trials import Trials
from adcopilot_edge.gate_record import Fallback, Gate
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import OnStep

_TIMED_PAIRS = 4


def fewest_kept(count: int, passes: Callable[[int], bool]) -> int | None:
    """The least k in 0..count with ``passes(k)`` that halving finds, or None where not all will do.

    Args:
        count: How many modules there are.
        passes: Whether the gate passes with the first k of the ranking kept; called for 0, then for
            all of them, then in between.
    """
    if passes(0):
        return 0
    if not passes(count):
        return None
    failed, passed = 0, count
    while passed - failed > 1:
        middle = (failed + passed) // 2
        if passes(middle):
            passed = middle
        else:
            failed = middle
    return passed


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A recipe that wants to be admitted, and all that judges it.

    label: its name in the log, empty where there is one candidate alone. reference: asks the float
    bundle, once for all candidates. log: keeps every module and trial, so that they run once.
    """

    recipe: ExportRecipe
    label: str
    trials: Trials
    plan: GatePlan
    reference: Callable[[], Predictions]
    log: AnswerLog
    on_step: OnStep

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """What can be kept in float, in the order of computing."""
        return int8_modules(self.trials.checkpoint, self.recipe)

    def keeping(self, kept: Collection[str]) -> ExportRecipe:
        """The recipe with ``kept`` in float."""
        return replace(self.recipe, kept=tuple(name for name in self.modules if name in kept))

    def judge(self) -> Admitted:
        """The recipe as it is. Raises GateError where the gate does not pass."""
        gate = self.gate(self.recipe)
        if not gate.passed:
            raise GateError(f"the gate refuses {self._name}: {tell_failures(gate)}")
        return Admitted(self.recipe, gate)

    def fall_back(self, pairs: Pairs) -> Admitted:
        """The least of the ranking in float that passes; all of it where INT8 is not faster.

        Raises:
            GateError: Not even a vision side in float passes.
        """
        ranking: tuple[str, ...] = ()

        def passes(count: int) -> bool:
            nonlocal ranking
            if count and not ranking:
                ranking = rank(
                    measure_sensitivity(
                        self.trials, self.recipe, pairs, self.log, self.on_step, label=self.label
                    )
                )
            return self.gate(self.keeping(ranking[:count])).passed

        count = fewest_kept(len(self.modules), passes)
        kept = self.modules if count is None else ranking[:count]
        speed = self._speed(kept)
        if speed is not None and speed <= 1:
            kept = self.modules
        gate = self.gate(self.keeping(kept))
        if not gate.passed:
            raise GateError(
                f"the gate refuses {self._name} even with the whole vision side in "
                f"{self.recipe.float_vision}: {tell_failures(gate)}. What is left to blame is the "
                f"language model in {self.recipe.llm}, or another float bundle than this one's"
            )
        is_float = len(kept) == len(self.modules)
        recipe = self.recipe.in_float() if is_float else self.keeping(kept)
        trials = (key for key in self.log.answers if key.startswith(f"{self.label}trial "))
        fallback = Fallback(
            chosen=recipe.vision,
            num_kept=len(kept),
            num_modules=len(self.modules),
            num_trials=sum(1 for _ in trials),
            speed_ratio=speed,
        )
        return Admitted(recipe, gate, fallback)

    def gate(self, recipe: ExportRecipe) -> Gate:
        """The figures by ``recipe``, from the log where they are in it."""
        key = f"{self.label}trial {len(recipe.kept)}"
        if key not in self.log.answers:
            reference = self.reference()
            with self.trials.open(recipe) as engine:
                report = run_gate(
                    Inspector(engine),
                    reference,
                    self.plan.held_out,
                    self.plan.limits,
                    seed=self.plan.seed,
                    num_answers=self.plan.num_answers,
                    on_step=lambda _, done, total: self.on_step(key, done, total),
                )
            failures = [tell_check(check) for check in report.failures]
            self.log.add(
                key,
                {
                    "kept": list(recipe.kept),
                    "passed": not failures,
                    "failures": failures,
                    "gate": report.gate.model_dump(),
                },
            )
        gate = self.log.answers[key]["gate"]
        return Gate.model_validate({**gate, "checks": tuple(gate["checks"])})

    def ratio_to(self, other: Candidate, key: str) -> float:
        """How many times faster this vision side is than the other's, both open at once."""
        if key not in self.log.answers:
            pairs = list(islice(self.plan.held_out.pairs, _TIMED_PAIRS))
            with self.trials.open(other.recipe) as slow, self.trials.open(self.recipe) as fast:
                self.log.add(key, {"ratio": round(vision_ratio(slow, fast, pairs), 3)})
        return float(self.log.answers[key]["ratio"])

    def _speed(self, kept: Collection[str]) -> float | None:
        """How much faster the vision side is than in float; None where this machine can't tell."""
        if len(kept) == len(self.modules) or not self.trials.can_be_timed:
            return None
        floats = replace(self, recipe=self.keeping(self.modules))
        return replace(self, recipe=self.keeping(kept)).ratio_to(floats, f"{self.label}speed")

    @property
    def _name(self) -> str:
        """The candidate in words."""
        return f"INT8 in the form {self.recipe.vision_form!r}" if self.label else "this bundle"
