"""What ``export`` prints: the finished bundle with its figures, or the plan of one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adcopilot_edge.commands.printing import print_fact, print_json, print_rows

if TYPE_CHECKING:
    from adcopilot_edge.bundle import Bundle
    from adcopilot_edge.calibration.pairs import CalibrationPairs
    from adcopilot_edge.export.plan import ExportPlan
    from adcopilot_edge.manifest import Manifest

# Rows of the coverage that are printed; all of them lie in the bundle.
_MOST_STRATA = 24


def print_bundle(
    bundle: Bundle,
    calibration: CalibrationPairs | None,
    *,
    reference: Sequence[str],
    as_json: bool,
) -> None:
    """The finished bundle: what it is, what it saw, and how each stage of its proof came out.

    reference: the words by which ``verify`` finds what the bundle was made of.
    """
    from adcopilot_edge.export.calibrate import SMOOTHING_FILE
    from adcopilot_edge.export.smooth import read_smoothing, tell_smoothing

    manifest = bundle.manifest
    coverage = None if calibration is None else calibration.coverage
    size = sum(entry.size_bytes for entry in manifest.files.values())
    parity = manifest.parity
    stages = () if parity is None else parity.stages
    if as_json:
        print_json(
            {
                "bundle": bundle.id,
                "path": str(bundle.path),
                "precision": manifest.precision,
                "int8_form": manifest.graphs["vision"].form,
                "size_bytes": size,
                "exact": [
                    module.model_dump()
                    for graph in manifest.graphs.values()
                    for module in graph.exact
                ],
                "kept": [module for graph in manifest.graphs.values() for module in graph.kept],
                "gate": _gate_json(manifest),
                "fallback": manifest.fallback and manifest.fallback.model_dump(),
                "calibration": None if coverage is None else coverage.to_json(),
                "num_pairs": 0 if parity is None else parity.num_pairs,
                "stages": [{**stage.model_dump(), "passed": stage.passed} for stage in stages],
            }
        )
        return
    print_fact("bundle", f"{bundle.path}, {bundle.id}")
    form = manifest.graphs["vision"].form
    print_fact("precision", manifest.precision + (f", INT8 {form}" if form else ""))
    if not manifest.model.compare_token_size:
        print_fact("comparison", "none, this checkpoint has no Comparison Encoder")
    print_fact("size", f"{size / 1e6:.1f} MB")
    if coverage is not None:
        print_fact("calibrated", str(coverage))
        print_rows(
            (s.category, s.kind, f"{s.difference} difference", f"{s.num_chosen} of {s.num_seen}")
            for s in coverage.strata[:_MOST_STRATA]
        )
        if (rest := len(coverage.strata) - _MOST_STRATA) > 0:
            print_fact("", f"and {rest} rows more in calibration.json")
    if SMOOTHING_FILE in manifest.files:
        print_fact("smoothed", tell_smoothing(read_smoothing(bundle.file(SMOOTHING_FILE))))
    _print_gate(manifest)
    if parity is None:
        print_fact(
            "proof",
            "NONE: these graphs were not held against the checkpoint. Do it with:\n"
            + shlex.join(["adcopilot-edge", "verify", str(bundle.path), *reference]),
        )
    else:
        print_fact("pairs", str(parity.num_pairs))
    for graph in manifest.graphs.values():
        for module in graph.exact:
            print_fact("float32", f"{module.name}: {module.reason}")
    print_rows(
        (stage.stage, stage.metric, f"{stage.error:.3g}", f"limit {stage.tolerance:.3g}")
        for stage in stages
    )


def _gate_json(manifest: Manifest) -> dict[str, Any] | None:
    gate = manifest.gate
    return None if gate is None else {"passed": gate.passed, **gate.model_dump()}


def _print_gate(manifest: Manifest) -> None:
    """How the task's gate came out, or that there was none for what was quantized."""
    if (found := manifest.fallback) is not None:
        speed = (
            "its speed is not known here"
            if found.speed_ratio is None
            else f"in INT8 {found.speed_ratio:g} times as fast as in float"
        )
        chosen = "" if found.chosen == "int8" else f"{found.chosen.upper()} chosen; "
        print_fact(
            "fall-back",
            f"{chosen}{found.num_kept} of {found.num_modules} modules in float, "
            f"{found.num_trials} trials, {speed}",
        )
    gate = manifest.gate
    if gate is not None:
        print_fact(
            "gate", f"admitted on {gate.num_good} good and {gate.num_bad} bad held-out pairs"
        )
        print_rows(
            (
                check.name,
                f"{check.value:+.4f}",
                f"[{check.low:+.4f}, {check.high:+.4f}]",
                f"{check.rule.replace('limit', f'{check.limit:g}')}",
            )
            for check in gate.checks
            if check.limit is not None and check.category is None
        )
    elif any(graph.precision in ("int8", "int4") for graph in manifest.graphs.values()):
        print_fact(
            "gate", "NONE: what the task loses is not known. Name held-out pairs with --gate"
        )


def print_plan(plan: ExportPlan, *, as_json: bool) -> None:
    """What an export would write, and how much memory it would take."""
    if as_json:
        print_json(plan.to_json())
        return
    print_rows((name, f"{size / 1e6:.1f} MB") for name, size in plan.files.items())
    print_fact("bundle", f"about {plan.total / 1e6:.0f} MB")
    memory = plan.memory
    how = "the whole model at once" if memory.is_whole else "in pieces"
    print_fact("memory", f"about {memory.peak / 1e6:.0f} MB of {memory.limit / 1e6:.0f} MB")
    print_fact("proof", how)
