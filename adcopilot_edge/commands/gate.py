"""``gate``: may a quantized bundle stand for the float one?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.errors import ConfigError, GateError

if TYPE_CHECKING:
    from adcopilot_edge.calibration.gates import Check, GateReport


def gate(
    candidate: Annotated[Path, typer.Argument(help="Folder of the quantized bundle.")],
    reference: Annotated[Path, typer.Argument(help="Folder of the float bundle.")],
    data: Annotated[
        Path, typer.Option(help="Held-out pairs: DeepPCB's folder, none of it used to calibrate.")
    ],
    pairs: Annotated[
        int, typer.Option(help="How many pairs, half of them defective.", min=2)
    ] = 400,
    seed: Annotated[int, typer.Option(help="Which pairs.", min=0)] = 1,
    limits: Annotated[Path | None, typer.Option(help="TOML file with limits of your own.")] = None,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Hold a quantized bundle against the float one on the same held-out pairs.

    Verdict flips, escapes by category, overkill and the overlap of boxes, each with its bootstrap
    interval. By default at most 0.5 % of the verdicts may flip, the mean IoU may drop by 0.01,
    overkill may rise by 1 %, and escapes may rise in no category by more than chance explains.
    Exits with 8 when a limit is not kept.

    Example: adcopilot-edge gate nano-int8 nano-fp32 --data DeepPCB/ --limits gates.toml
    """
    from adcopilot_edge.calibration.deeppcb import read_tiles
    from adcopilot_edge.calibration.evaluate import predict
    from adcopilot_edge.calibration.gates import GateLimits, judge, read_limits
    from adcopilot_edge.runtime.inspector import Inspector

    chosen = GateLimits() if limits is None else read_limits(limits)
    inspectors = [
        Inspector.open(path, provider=provider, num_threads=threads, calibrated=False)
        for path in (candidate, reference)
    ]
    sizes = {
        (model.image_height, model.image_width)
        for model in (inspector.engine.bundle.manifest.model for inspector in inspectors)
    }
    if len(sizes) > 1:
        words = " and ".join(f"{height}x{width}" for height, width in sorted(sizes))
        raise ConfigError(f"the bundles are for images of {words}; both must be of one size")
    labelled = read_tiles(data, tile=max(*sizes.pop()), count=pairs, seed=seed)
    said = []
    with StepProgress() as progress:
        for path, inspector in zip((candidate, reference), inspectors, strict=True):
            done = 0

            def step(name: str = path.name) -> None:
                nonlocal done
                done += 1
                progress(name, done, len(labelled))

            said.append(predict(str(path), inspector, labelled, with_text=False, on_pair=step))
    report = judge(labelled, said[0], said[1], chosen, seed=seed)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if report.failures:
        raise typer.Exit(GateError.exit_code)


def _print_report(report: GateReport) -> None:
    print_fact("candidate", report.candidate)
    print_fact("reference", report.reference)
    print_fact("pairs", str(report.num_pairs))
    print_rows(map(_row, report.checks))
    failed = ", ".join(check.name for check in report.failures)
    print_fact("result", f"REFUSED: {failed}" if failed else "admitted")


def _row(check: Check) -> tuple[str, ...]:
    name = check.name if check.category is None else f"{check.name}, {check.category}"
    limit = "" if check.limit is None else f"limit {check.limit:g}"
    result = "" if check.limit is None else "passed" if check.passed else "FAILED"
    return name, f"{check.value:+.4f}", f"[{check.low:+.4f}, {check.high:+.4f}]", limit, result
