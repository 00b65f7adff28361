"""Whether a bundle is admitted: held against the float one by the task's gate.

Where a vision side in INT8 may have either form, the faster one that passes is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from shutil import copyfile

from adcopilot_edge.calibration.answer_log import AnswerLog
from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gate_run import ask
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import GateError
from adcopilot_edge.export.fallback import Candidate
from adcopilot_edge.export.gate_plan import Admitted, GatePlan
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.trials import Trials
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import OnStep

LOG_FILE = "fallback.jsonl"


def admit(
    recipes: Sequence[ExportRecipe],
    trials: Trials,
    plan: GatePlan,
    calibration: CalibrationPairs | None,
    open_reference: Callable[[], Inspector],
    *,
    refused: Path,
    on_step: OnStep,
) -> Admitted:
    """Hold the vision sides of ``recipes`` against the float bundle; the fastest that passes wins.

    A search that was killed goes on behind its last trial: ``fallback.jsonl`` keeps them.

    Args:
        recipes: One, or one for each INT8 form that may be taken.
        trials: Where their vision sides are tried out.
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

    @cache
    def reference() -> Predictions:
        return ask(
            open_reference(),
            plan.held_out,
            "reference",
            seed=plan.seed,
            num_answers=plan.num_answers,
            on_step=on_step,
        )

    path = trials.folder / LOG_FILE
    with AnswerLog(path, {"recipes": repr(recipes), "gate": plan.key()}) as log:
        candidates = [
            Candidate(
                recipe=recipe,
                label=f"{recipe.vision_form} " if len(recipes) > 1 else "",
                trials=trials,
                plan=plan,
                reference=reference,
                log=log,
                on_step=on_step,
            )
            for recipe in recipes
        ]
        admitted, refusals = _try(_fastest_first(candidates), plan, calibration)
    if not admitted:
        copyfile(path, refused)
        raise GateError(
            f"{'; '.join(refusals)}. {_advice(recipes, plan)}All figures are in {refused}"
        )
    return max(admitted, key=_preference)


def _try(
    candidates: Sequence[Candidate], plan: GatePlan, calibration: CalibrationPairs | None
) -> tuple[list[Admitted], list[str]]:
    """What passes, and why the others do not; nothing behind one that passes all in INT8."""
    admitted: list[Admitted] = []
    refusals: list[str] = []
    for candidate in candidates:
        try:
            if plan.can_fall_back:
                assert calibration is not None
                found = candidate.fall_back(calibration.pairs)
            else:
                found = candidate.judge()
        except GateError as err:
            refusals.append(str(err))
            continue
        admitted.append(found)
        if found.recipe == candidate.recipe:
            break
    return admitted, refusals


def _fastest_first(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """The candidates by the speed of their vision sides; as given where that can't be told."""
    first, *others = candidates
    if not others or not first.trials.can_be_timed:
        return candidates
    ratios = {
        id(one): one.ratio_to(first, f"{one.label}against {first.label}".strip()) for one in others
    }
    return sorted(candidates, key=lambda one: -ratios.get(id(one), 1.0))


def _preference(admitted: Admitted) -> tuple[float, int]:
    """Sorts what passed by speed, then by how little had to go back."""
    fallback = admitted.fallback
    if fallback is None:
        return 1.0, 0
    speed = fallback.speed_ratio if fallback.chosen == "int8" else 1.0
    return speed or 1.0, -fallback.num_kept


def _advice(recipes: Sequence[ExportRecipe], plan: GatePlan) -> str:
    """What else may pass, as far as these recipes leave something to try."""
    ways = []
    if recipes[0].vision == "int8" and not plan.can_fall_back:
        ways.append("--fall-back puts modules back to float until it passes")
    if recipes[0].llm in ("int8", "int4"):
        ways.append("a finer language model is chosen with --llm, --llm-quantizer or --llm-block")
    return f"{'; '.join(ways).capitalize()}. " if ways else ""
