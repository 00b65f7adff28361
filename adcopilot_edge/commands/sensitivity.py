"""``sensitivity``: what each module costs the task when it alone is INT8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.commands.workshop import require_export


def sensitivity(
    checkpoint: Annotated[str, typer.Argument(help="Hugging Face folder, a hub id, or embedded.")],
    calib: Annotated[
        Path, typer.Option(help="Pairs, in the forms that export --calib takes; no label is read.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the table, the picture and the log.")],
    calib_pairs: Annotated[int, typer.Option(help="How many of the pairs.", min=1)] = 16,
    image_size: Annotated[str, typer.Option(help="As for export.")] = "224",
    target: Annotated[
        Literal["cpu", "tensorrt"], typer.Option(help="What will run the bundle.")
    ] = "cpu",
    int8_form: Annotated[
        Literal["dynamic", "static"] | None,
        typer.Option(
            help="Levels found in every run, or fixed by --calib.", show_default="as for export"
        ),
    ] = None,
    smooth: Annotated[
        bool, typer.Option("--smooth/--no-smooth", help="As for export, in the static form.")
    ] = False,
    llm: Annotated[
        Literal["fp32", "fp16", "int8", "int4"] | None,
        typer.Option(help="Of the language model behind it.", show_default="as for export"),
    ] = None,
    max_ram: Annotated[str | None, typer.Option(help="Memory it may take, as 4G.")] = None,
    as_json: Json = False,
) -> None:
    """Measure what each module of the vision side costs the task when it alone is INT8.

    The loss is the divergence, in nats, of the verdict's probability and of the anomaly map's from
    those of the float vision side, under the same language model. Beside it stand the error of the
    tokens that the language model gets, and the verdicts that flip. Writes sensitivity.json and
    sensitivity.png; a run that was killed goes on where it was.

    Example: adcopilot-edge sensitivity checkpoint --calib line-images --out sensitivity
    """
    require_export("sensitivity")
    from adcopilot_edge.calibration.pairs import read_calibration
    from adcopilot_edge.export.checkpoint import open_checkpoint
    from adcopilot_edge.export.recipe import LLM_PRECISIONS, ExportRecipe
    from adcopilot_edge.export.sensitivity import rank
    from adcopilot_edge.export.sensitivity_report import report_sensitivity, shares, short_name
    from adcopilot_edge.export.words import parse_image_size
    from adcopilot_edge.runtime.memory import parse_bytes

    height, width = parse_image_size(image_size)
    recipe = ExportRecipe(
        image_height=height,
        image_width=width,
        target=target,
        vision="int8",
        llm=llm or LLM_PRECISIONS[target][0],
        int8_form=int8_form,
        smooth=smooth,
    )
    pairs = read_calibration(calib, count=calib_pairs, tile=max(height, width))
    with StepProgress() as progress:
        found = report_sensitivity(
            open_checkpoint(checkpoint),
            out,
            recipe,
            pairs,
            max_ram=None if max_ram is None else parse_bytes(max_ram),
            on_step=progress,
        )
    if as_json:
        print_json(
            {"modules": [item.to_json() for item in found], "ranking": rank(found), "out": str(out)}
        )
        return
    print_fact("pairs", f"{len(pairs.pairs)} of {pairs.name}")
    print_rows(
        [("module", "loss", "share", "error of tokens", "flips")]
        + [
            (
                short_name(item.module),
                f"{item.loss:.2e}",
                f"{100 * share:.1f} %",
                f"{100 * item.error:.2f} %",
                f"{item.flips} of {item.num_pairs}",
            )
            for item, share in zip(found, shares(found), strict=True)
        ]
    )
    print_fact("wrote", str(out))
