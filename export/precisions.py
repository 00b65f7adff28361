"""One checkpoint quantized in every way its target knows, each held against float: a table.

The bundles stay, so that the one that is wanted is there; they are not proven.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.calibration.answer_log import AnswerLog
from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gate_figures import judge, own_figures
from adcopilot_edge.calibration.gate_run import ask
from adcopilot_edge.calibration.gates import GateLimits
from adcopilot_edge.calibration.held_out import HeldOut, check_unseen
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.speed import Work, paired_ratio
from adcopilot_edge.gate_record import Gate
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import OnStep

_FLOAT = "float"
_TIMED_PAIRS = 4
_LOG_FILE = "precisions.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRow:
    """One way to quantize.

    figures: of the bundle itself, as ``own_figures`` gives them, and ``escapes`` and ``overkill``
    as numbers of pairs. speed_ratio: how many times faster a whole verdict is than with the float
    bundle, the golden known. gate: None for the float bundle itself.
    """

    name: str
    size_bytes: int
    figures: Mapping[str, float]
    speed_ratio: float
    gate: Gate | None

    def to_json(self) -> dict[str, Any]:
        """The row as an object."""
        return {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "figures": dict(self.figures),
            "speed_ratio": self.speed_ratio,
            "passed": None if self.gate is None else self.gate.passed,
            "gate": self.gate and self.gate.model_dump(),
        }

    def figure(self, name: str) -> float | None:
        """One figure of the gate over all pairs, or None where it has none."""
        checks = () if self.gate is None else self.gate.checks
        found = (item.value for item in checks if item.name == name and item.category is None)
        return next(found, None)


def cpu_recipes(height: int, width: int) -> dict[str, ExportRecipe]:
    """Every way for a CPU, by name: the vision side, the language model, both."""
    floats = ExportRecipe(image_height=height, image_width=width, is_proven=False)
    dynamic = replace(floats, vision="int8", int8_form="dynamic")
    static = replace(floats, vision="int8", int8_form="static")
    return {
        "vision-int8-dynamic": dynamic,
        "vision-int8-static": static,
        "vision-int8-smooth": replace(static, smooth=True),
        "decoder-int8": replace(floats, llm="int8"),
        "decoder-int4": replace(floats, llm="int4"),
        "vision-int8-dynamic+decoder-int4": replace(dynamic, llm="int4"),
    }


def compare_precisions(
    checkpoint: Checkpoint,
    out: Path,
    recipes: Mapping[str, ExportRecipe],
    calibration: CalibrationPairs,
    held_out: HeldOut,
    limits: GateLimits,
    *,
    seed: int = 0,
    max_ram: int | None = None,
    on_step: OnStep = lambda *_: None,
) -> Iterator[PrecisionRow]:
    """Yield the float bundle's row, then one for each of ``recipes``.

    A run that was killed goes on behind its last row.

    Args:
        checkpoint: The model.
        out: A folder for the bundles and the log; it is made.
        recipes: By name.
        calibration: Pairs to learn from, where a recipe needs any.
        held_out: Pairs that all bundles are asked about.
        limits: What may be lost.
        seed: Of the pairs asked about in words, and of the intervals.
        max_ram: As for an export.
        on_step: Told of the progress.

    Raises:
        ConfigError: ``out`` holds another run's, or can't be written.
        DatasetError: Held-out pairs are among those of the calibration.
        TooFewSamplesError: The limits ask for more pairs.
    """
    origin = {
        "checkpoint": checkpoint.sha256(),
        "recipes": repr(recipes),
        "calibration": calibration.sha256(),
        "held_out": held_out.sha256,
        "limits": limits.model_dump(),
        "seed": seed,
    }
    with AnswerLog(out / _LOG_FILE, origin) as log:
        floats = next(iter(recipes.values())).all_float()
        if not (out / _FLOAT).exists():
            export_bundle(
                checkpoint, out / _FLOAT, floats, pairs=(), max_ram=max_ram, on_step=on_step
            )
        reference = Inspector.open(out / _FLOAT, calibrated=False)
        said = ask(reference, held_out, _FLOAT, seed=seed, on_step=on_step)
        yield PrecisionRow(
            name=_FLOAT,
            size_bytes=_size(out / _FLOAT),
            figures=_figures(held_out, said),
            speed_ratio=1.0,
            gate=None,
        )
        for name, recipe in recipes.items():
            if name not in log.answers:
                export_bundle(
                    checkpoint,
                    out / name,
                    recipe,
                    pairs=(),
                    calibration=calibration if recipe.needs_pairs else None,
                    max_ram=max_ram,
                    on_step=on_step,
                )
                candidate = Inspector.open(out / name, calibrated=False)
                check_unseen(held_out, candidate.engine.bundle)
                found = ask(candidate, held_out, name, seed=seed, on_step=on_step)
                row = PrecisionRow(
                    name=name,
                    size_bytes=_size(out / name),
                    figures=_figures(held_out, found),
                    speed_ratio=round(_speed(reference, candidate, held_out), 3),
                    gate=judge(held_out, found, said, limits, seed=seed).gate,
                )
                log.add(name, row.to_json())
            yield _row(log.answers[name])


def _row(record: Mapping[str, Any]) -> PrecisionRow:
    gate = {**record["gate"], "checks": tuple(record["gate"]["checks"])}
    return PrecisionRow(
        name=record["name"],
        size_bytes=record["size_bytes"],
        figures=record["figures"],
        speed_ratio=record["speed_ratio"],
        gate=Gate.model_validate(gate),
    )


def _figures(held_out: HeldOut, said: Predictions) -> dict[str, float]:
    both = list(zip(held_out.truths, said.is_anomaly, strict=True))
    return {
        **own_figures(held_out.truths, said),
        "escapes": sum(truth.is_anomaly and not verdict for truth, verdict in both),
        "overkill": sum(verdict and not truth.is_anomaly for truth, verdict in both),
    }


def _size(folder: Path) -> int:
    return sum(
        entry.size_bytes for entry in open_bundle(folder, verify=False).manifest.files.values()
    )


def _speed(reference: Inspector, candidate: Inspector, held_out: HeldOut) -> float:
    pairs = list(islice(held_out.pairs, _TIMED_PAIRS))

    def work(inspector: Inspector) -> Work:
        goldens = [inspector.golden(pair.golden) for pair in pairs]
        return lambda number: inspector.inspect(goldens[number], pairs[number].test)

    return paired_ratio(work(reference), work(candidate), len(pairs))
