"""``gate``: may a quantized bundle stand for the float one?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.errors import GateError

if TYPE_CHECKING:
    from adcopilot_edge.calibration.gates import GateReport
    from adcopilot_edge.gate_record import Gate, GateCheck


def gate(
    candidate: Annotated[Path, typer.Argument(help="Folder of the quantized bundle.")],
    reference: Annotated[Path, typer.Argument(help="Folder of the float bundle.")],
    data: Annotated[
        list[Path],
        typer.Option(
            help="Held-out pairs: a list in JSONL, a folder with pairs.jsonl or golden/, good/ and "
            "bad/, or DeepPCB's folder. May be given several times."
        ),
    ],
    pairs: Annotated[
        int,
        typer.Option(help="How many pairs of each source at most, half of them bad.", min=2),
    ] = 400,
    seed: Annotated[int, typer.Option(help="Which pairs.", min=0)] = 1,
    answers: Annotated[
        int,
        typer.Option(
            help="On how many pairs both are also asked where the defects are, in words.", min=0
        ),
    ] = 20,
    limits: Annotated[Path | None, typer.Option(help="TOML file with limits of your own.")] = None,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Hold a quantized bundle against the float one on the same held-out pairs.

    Verdict flips, balanced accuracy, escapes, overkill, the overlap of boxes and the agreement of
    answers in words, each with its bootstrap interval. By default at most 0.5 % of the verdicts may
    flip, the mean IoU may drop by 0.01, overkill may rise by 1 %, and escapes may rise in no
    category by more than chance explains. Pairs that the quantized bundle was calibrated on are
    refused. Exits with 8 when a limit is not kept.

    The keys of --limits: max_flip_rate, max_miou_drop, max_overkill_rise,
    max_balanced_accuracy_drop, min_answer_agreement, min_pairs.

    Examples: adcopilot-edge gate nano-int8 nano-fp32 --data DeepPCB/ --limits gates.toml;
    adcopilot-edge gate int8/ fp32/ --data line-images/ --data other-line/pairs.jsonl --json
    """
    from adcopilot_edge.calibration.gate_run import image_size, run_gate
    from adcopilot_edge.calibration.gates import GateLimits, read_limits
    from adcopilot_edge.calibration.held_out import read_held_out
    from adcopilot_edge.runtime.inspector import Inspector

    chosen = GateLimits() if limits is None else read_limits(limits)
    one, other = (
        Inspector.open(path, provider=provider, num_threads=threads, calibrated=False)
        for path in (candidate, reference)
    )
    tile = max(image_size(one, other))
    with StepProgress() as progress:
        held_out = read_held_out(data, count=pairs, tile=tile, seed=seed, on_step=progress)
        report = run_gate(
            one, other, held_out, chosen, seed=seed, num_answers=answers, on_step=progress
        )
    if as_json:
        print_json({**report.to_json(), "repeated_pictures": held_out.num_repeated})
    else:
        _print_report(report, num_repeated=held_out.num_repeated)
    if report.failures:
        raise typer.Exit(GateError.exit_code)


def _print_report(report: GateReport, *, num_repeated: int) -> None:
    gate = report.gate
    repeated = f", {num_repeated} repeated left out" if num_repeated else ""
    precision = f", {gate.reference_precision}" if gate.reference_precision else ""
    print_fact("candidate", report.candidate)
    own = ", ".join(f"{name} {value:.4f}" for name, value in gate.reference_figures.items())
    print_fact("reference", f"{report.reference}{precision}\n{own}")
    print_fact("pairs", f"{gate.num_good} good and {gate.num_bad} bad{repeated}\n{gate.data}")
    if not gate.num_placed:
        print_fact("boxes", "not judged: of no bad pair it is known where its defects are")
    print_fact("figures", "value, 95 % interval, limit")
    print_rows(_row(check) for check in gate.checks if check.category is None)
    _print_categories(gate)
    failed = ", ".join(map(_name, report.failures))
    print_fact("result", f"REFUSED: {failed}" if failed else "admitted")


def _print_categories(gate: Gate) -> None:
    """A row for each category, if there are several; what is judged comes with its interval."""
    found = {
        (check.category, check.name): check for check in gate.checks if check.category is not None
    }
    if not found:
        return
    names = list(dict.fromkeys(name for _, name in found))
    print_fact("categories", "values, and the intervals of what is judged")
    print_rows(
        [("", *names)]
        + [
            (category, *(_cell(found.get((category, name))) for name in names))
            for category in sorted({category for category, _ in found})
        ]
    )


def _cell(check: GateCheck | None) -> str:
    if check is None:
        return "-"
    if check.limit is None:
        return f"{check.value:+.4f}"
    result = "" if check.passed else " FAILED"
    return f"{check.value:+.4f} [{check.low:+.4f}, {check.high:+.4f}]{result}"


def _row(check: GateCheck) -> tuple[str, ...]:
    limit, result = "", ""
    if check.limit is not None:
        limit = check.rule.replace("limit", f"{check.limit:g}")
        result = "passed" if check.passed else "FAILED"
    interval = f"[{check.low:+.4f}, {check.high:+.4f}]"
    return check.name, f"{check.value:+.4f}", interval, limit, result


def _name(check: GateCheck) -> str:
    return check.name if check.category is None else f"{check.name} of {check.category}"
