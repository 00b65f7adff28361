"""``build``: the vision side of a bundle becomes TensorRT engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress

if TYPE_CHECKING:
    from adcopilot_edge.bundle import Bundle
    from adcopilot_edge.runtime.engines.build import BuildPlan
    from adcopilot_edge.runtime.engines.record import EngineRecord


def build(
    bundle: Annotated[
        Path, typer.Argument(help="Folder of a bundle exported with --target tensorrt.")
    ],
    further: Annotated[
        list[str] | None,
        typer.Argument(help="Further compute capabilities.", metavar="capability"),
    ] = None,
    backend: Annotated[
        Literal["tensorrt", "tensorrt-rtx"],
        typer.Option(help="tensorrt builds for the GPU at hand, tensorrt-rtx anywhere, by name."),
    ] = "tensorrt",
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(help="What tensorrt-rtx builds for: 8.6, or several as 8.6,8.9 or 8.6 8.9."),
    ] = None,
    workspace: Annotated[
        str | None, typer.Option(help="Scratch memory that kernels may take, as 2G.")
    ] = None,
    weight_streaming: Annotated[
        bool, typer.Option("--weight-streaming", help="Weights may stay on the host.")
    ] = False,
    strip_weights: Annotated[
        bool,
        typer.Option(
            "--strip-weights", help="Engines without weights, which they take from the bundle."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print files and memory, build nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build TensorRT engines for the vision side of a bundle, beside its graphs.

    An engine fits one release of TensorRT on one kind of GPU, and its record says which. The
    decoder needs no engine. Free memory is checked first. A build that fails leaves no engine. An
    export to the same folder removes them all.

    Examples: adcopilot-edge build bundle;
    adcopilot-edge build bundle --backend tensorrt-rtx --compute-capability 8.6 8.9
    """
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.runtime.engines.api import load_api, parse_capabilities
    from adcopilot_edge.runtime.engines.build import BuildOptions, build_engine, plan_builds
    from adcopilot_edge.runtime.memory import parse_bytes

    options = BuildOptions(
        capabilities=parse_capabilities([*(compute_capability or ()), *(further or ())]),
        workspace_bytes=None if workspace is None else parse_bytes(workspace),
        streams_weights=weight_streaming,
        is_stripped=strip_weights,
    )
    api = load_api(backend)
    opened = open_bundle(bundle)
    plans = plan_builds(opened, api, options)
    if dry_run:
        _print_plans(opened, plans, as_json=as_json)
        return
    with StepProgress() as progress:
        records = [build_engine(opened, plan, api, options, on_step=progress) for plan in plans]
    _print_records(plans, records, as_json=as_json)


def _print_plans(bundle: Bundle, plans: list[BuildPlan], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "bundle": bundle.id,
                "engines": [
                    {
                        "graph": plan.graph,
                        "file": str(plan.engine),
                        "weight_bytes": plan.weight_bytes,
                        "memory_bytes": plan.memory_bytes,
                    }
                    for plan in plans
                ],
            }
        )
        return
    print_rows(
        (
            plan.graph,
            f"weights {plan.weight_bytes / 1e6:.1f} MB",
            f"memory about {plan.memory_bytes / 1e6:.0f} MB",
            str(plan.engine),
        )
        for plan in plans
    )


def _print_records(plans: list[BuildPlan], records: list[EngineRecord], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "engines": [
                    {"file": str(plan.engine), **record.model_dump(mode="json")}
                    for plan, record in zip(plans, records, strict=True)
                ]
            }
        )
        return
    print_fact("engines", str(plans[0].engine.parent))
    print_rows(
        (
            record.graph,
            record.precision,
            ", ".join(record.compute_capabilities),
            f"{record.build_seconds:.1f} s",
            f"{record.size_bytes / 1e6:.1f} MB",
            ", ".join(f"{count} {kind}" for kind, count in record.products.items()),
        )
        for record in records
    )
