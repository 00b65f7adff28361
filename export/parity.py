"""Judge a bundle: the outputs of the exported graphs against the torch checkpoint's, by stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.numpy import save

from adcopilot_edge.errors import ParityError
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.tolerances import stage_tolerances
from adcopilot_edge.manifest import StageParity
from adcopilot_edge.runtime.ladder import Stages, compare, worst
from adcopilot_edge.types import ImageArray


def compare_pairs(
    recipe: ExportRecipe, references: Sequence[Stages], actuals: Sequence[Stages]
) -> tuple[StageParity, ...]:
    """Compare every stage over all pairs; the largest error counts, mismatches add up."""
    tolerances = stage_tolerances(recipe, references)
    pairs = [
        compare(reference, actual, tolerances)
        for reference, actual in zip(references, actuals, strict=True)
    ]
    return tuple(
        record
        if record.metric != "mismatches"
        else record.model_copy(update={"error": sum(pair[index].error for pair in pairs)})
        for index, record in enumerate(worst(pairs))
    )


def require_passed(stages: Sequence[StageParity], num_pairs: int) -> None:
    """Raise ParityError where a stage is out of its tolerance: the first is named, all listed."""
    failed = next((stage for stage in stages if not stage.passed), None)
    if failed is not None:
        errors = ", ".join(f"{stage.stage} {stage.error:.3g}" for stage in stages)
        raise ParityError(
            f"the exported graphs differ from the checkpoint, first at the stage "
            f"'{failed.stage}': {failed.metric} {failed.error:.3g}, allowed {failed.tolerance:.3g} "
            f"({num_pairs} pairs; all stages: {errors}). No bundle was written."
        )


def store_pair(path: Path, golden: ImageArray, test: ImageArray, reference: Stages) -> None:
    """Write a pair and its expected outputs to ``path``, for ``verify`` on the device.

    One pair shows every stage; more would only make the bundle larger.
    """
    arrays = {"golden": golden, "test": test, **reference}
    # The library's own writer makes files that nobody but their owner reads, whatever the umask.
    path.write_bytes(save({f"pair0/{name}": array.copy() for name, array in arrays.items()}))
