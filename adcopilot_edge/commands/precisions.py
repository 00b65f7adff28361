"""``precisions``: a checkpoint quantized in every way, each held against float."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.commands.workshop import require_export

if TYPE_CHECKING:
    from adcopilot_edge.export.precisions import PrecisionRow


def precisions(
    checkpoint: Annotated[str, typer.Argument(help="Hugging Face folder, a hub id, or embedded.")],
    calib: Annotated[Path, typer.Option(help="Pairs to learn from, as for export --calib.")],
    gate: Annotated[
        list[Path], typer.Option(help="Held-out pairs, as for export --gate; repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundles and the log.")],
    calib_pairs: Annotated[int, typer.Option(help="How many to learn from.", min=1)] = 16,
    gate_pairs: Annotated[int, typer.Option(help="How many held-out of each source.", min=2)] = 400,
    gate_limits: Annotated[
        Path | None, typer.Option(help="TOML file with limits of your own; see gate --help.")
    ] = None,
    image_size: Annotated[str, typer.Option(help="As for export.")] = "224",
    only: Annotated[
        list[str] | None, typer.Option(help="Only the ways of these names; repeatable.")
    ] = None,
    max_ram: Annotated[str | None, typer.Option(help="Memory an export may take, as 4G.")] = None,
    as_json: Json = False,
) -> None:
    """Quantize a checkpoint for a CPU in every way, and print what each loses and gains.

    The vision side in INT8, dynamic, static, static and smoothed; the language model in INT8 and
    INT4; both. Every bundle is held against the float one on the same held-out pairs: verdicts that
    flip, escapes, overkill, overlap of the boxes, speed of a whole verdict, and whether the gate
    admits it. The bundles stay in --out, not proven: see verify --reference. A run that was killed
    goes on where it was.

    Example: adcopilot-edge precisions checkpoint --calib line --gate held-out --out precisions
    """
    require_export("precisions")
    from adcopilot_edge.calibration.gates import GateLimits, read_limits
    from adcopilot_edge.calibration.held_out import read_held_out
    from adcopilot_edge.calibration.pairs import read_calibration
    from adcopilot_edge.errors import ConfigError
    from adcopilot_edge.export.checkpoint import open_checkpoint
    from adcopilot_edge.export.precisions import compare_precisions, cpu_recipes
    from adcopilot_edge.export.words import parse_image_size
    from adcopilot_edge.runtime.memory import parse_bytes

    height, width = parse_image_size(image_size)
    recipes = cpu_recipes(height, width)
    if unknown := sorted(set(only or ()) - set(recipes)):
        raise ConfigError(f"--only knows {', '.join(recipes)}, not {', '.join(unknown)}")
    limits = GateLimits() if gate_limits is None else read_limits(gate_limits)
    tile = max(height, width)
    with StepProgress() as progress:
        learned = read_calibration(calib, count=calib_pairs, tile=tile)
        held_out = read_held_out(gate, count=gate_pairs, tile=tile, seed=1, on_step=progress)
        rows = list(
            compare_precisions(
                open_checkpoint(checkpoint),
                out,
                {name: recipe for name, recipe in recipes.items() if not only or name in only},
                learned,
                held_out,
                limits,
                seed=1,
                max_ram=None if max_ram is None else parse_bytes(max_ram),
                on_step=progress,
            )
        )
    if as_json:
        print_json({"held_out": held_out.name, "rows": [row.to_json() for row in rows]})
        return
    good = len(held_out.truths) - held_out.num_bad
    print_fact("pairs", f"{good} good and {held_out.num_bad} bad held-out\n{held_out.name}")
    print_fact("learned", f"from {len(learned.pairs)} pairs of {learned.name}")
    head = ("", "MB", "flips", "escapes", "overkill", "mIoU", "speed", "gate")
    print_rows([head, *map(_cells, rows)])
    for row in rows:
        if row.gate is not None and not row.gate.passed:
            failed = ", ".join(
                check.name if check.category is None else f"{check.name} of {check.category}"
                for check in row.gate.failures
            )
            print_fact("refused", f"{row.name}: {failed}")
    print_fact("bundles", str(out))


def _cells(row: PrecisionRow) -> tuple[str, ...]:
    flips = row.figure("verdict flips")
    miou = row.figures.get("mIoU, map")
    return (
        row.name,
        f"{row.size_bytes / 1e6:.1f}",
        "-" if flips is None else f"{100 * flips:.2f} %",
        f"{row.figures['escapes']:.0f}",
        f"{row.figures['overkill']:.0f}",
        "-" if miou is None else f"{miou:.3f}",
        f"{row.speed_ratio:.2f}x",
        "-" if row.gate is None else "admitted" if row.gate.passed else "REFUSED",
    )
