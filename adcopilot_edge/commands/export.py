"""``export``: a checkpoint becomes a bundle, proven stage by stage."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adcopilot_edge.commands.export_report import print_bundle, print_plan
from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.commands.workshop import require_export
from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.calibration.pairs import CalibrationPairs
    from adcopilot_edge.export.gate_plan import GatePlan
    from adcopilot_edge.export.recipe import ExportRecipe
    from adcopilot_edge.record import Precision
    from adcopilot_edge.types import OnStep

# Other tiles than those of the calibration, whose seed is 0.
_GATE_SEED = 1


def export(
    checkpoint: Annotated[
        str,
        typer.Argument(help="Hugging Face folder, a hub id as jiang-cc/AD-Copilot, or embedded."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the hub id; default: main.")
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(help="LoRA adapter of peft to merge on the way: a folder or a hub id."),
    ] = None,
    image_size: Annotated[
        str, typer.Option(help="Pixels of the fixed input: 448, or height x width as 448x560.")
    ] = "224",
    threshold: Annotated[
        float,
        typer.Option(
            help="Score from which on a part is an anomaly; evaluate finds one, calibrate one by "
            "golden."
        ),
    ] = 0.5,
    target: Annotated[
        Literal["cpu", "cuda", "tensorrt"],
        typer.Option(help="What will run the bundle; tensorrt: cuda, with engines for the vision."),
    ] = "cpu",
    fp32: Annotated[
        bool, typer.Option("--fp32", help="Vision in float32, the default for cpu.")
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Vision in float16, the default for cuda and tensorrt.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Vision in INT8: dynamic on cpu, by --calib for tensorrt."),
    ] = False,
    int8_form: Annotated[
        Literal["dynamic", "static"] | None,
        typer.Option(
            help="Levels of what INT8 layers get: found in every run, or fixed by --calib.",
            show_default="dynamic for cpu, or with --gate and --calib the faster one that passes; "
            "static for tensorrt",
        ),
    ] = None,
    llm: Annotated[
        Literal["fp32", "fp16", "int8", "int4"] | None,
        typer.Option(
            help="Weights of the language model.", show_default="fp32 for cpu, int4 for a GPU"
        ),
    ] = None,
    llm_quantizer: Annotated[
        Literal["rtn", "k-quant", "hqq", "gptq"],
        typer.Option(help="How the levels of int8 and int4 are chosen; gptq needs --calib."),
    ] = "rtn",
    llm_block: Annotated[
        str,
        typer.Option(
            help="Weights of int8 and int4 that share a scale: 16 to 256, or row, for int8 all of "
            "an output's. Larger ones read a prompt faster, and are coarser."
        ),
    ] = "32",
    llm_head: Annotated[
        Literal["int8", "int4"] | None,
        typer.Option(
            help="Its output head, which decides between the answer letters; int4 writes words "
            "faster.",
            show_default="int8 beside int8 and int4",
        ),
    ] = None,
    calib: Annotated[
        Path | None,
        typer.Option(
            help="Pairs to learn from: a folder with golden/, good/ and bad/, one of DeepPCB's "
            "layout, or a file of JSON lines with golden, test, category, label, boxes or mask."
        ),
    ] = None,
    calib_pairs: Annotated[int, typer.Option(help="How many of them.", min=1)] = 16,
    calib_method: Annotated[
        Literal["min-max", "percentile", "entropy", "mse"],
        typer.Option(help="Where static INT8 levels end: at the largest value, or sooner."),
    ] = "min-max",
    smooth: Annotated[
        bool,
        typer.Option(
            "--smooth/--no-smooth",
            help="Move the spread of channels into the weights, exactly, before static INT8.",
        ),
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A module of the INT8 vision side that stays in float; repeatable."),
    ] = None,
    gate: Annotated[
        list[Path] | None,
        typer.Option(
            help="Held-out pairs, in the forms of --calib, on which the bundle may lose no more "
            "than the gate's limits against the float bundle; repeatable."
        ),
    ] = None,
    gate_pairs: Annotated[int, typer.Option(help="How many of each source.", min=2)] = 400,
    gate_limits: Annotated[
        Path | None, typer.Option(help="TOML file with limits of your own; see gate --help.")
    ] = None,
    gate_reference: Annotated[
        Path | None,
        typer.Option(help="The float bundle; without it one is made, all of it in float32."),
    ] = None,
    fall_back: Annotated[
        bool,
        typer.Option(
            "--fall-back",
            help="With --gate and --calib: modules go back to float until the gate passes.",
        ),
    ] = False,
    no_proof: Annotated[
        bool,
        typer.Option(
            "--no-proof", help="Write the bundle only; prove it later: verify --reference."
        ),
    ] = False,
    parity_pairs: Annotated[
        int | None,
        typer.Option(help="Image pairs that the proof runs: 20, or 1 above --max-ram.", min=1),
    ] = None,
    max_ram: Annotated[
        str | None, typer.Option(help="Memory it may take, as 4G; default: 80 % of what is free.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes and memory, write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into a bundle, and prove the bundle against the checkpoint.

    The graphs are compared with torch on synthetic pairs, stage by stage. A stage out of its
    tolerance stops the export with code 4, and no bundle is written. With --gate the bundle is also
    held against the float one on labelled pairs, and stopped with code 8 where it loses too much;
    with --fall-back the modules that cost the task most then stay in float, as few as will do.

    An older bundle in its place is replaced, anything else there is left alone. A model larger than
    --max-ram is written and proven piece by piece; an export that was killed goes on where it was.

    Examples: adcopilot-edge export checkpoint --out bundle --int8 --llm int4;
    adcopilot-edge export checkpoint --out bundle --image-size 448x560 --max-ram 4G --dry-run;
    adcopilot-edge export checkpoint --out bundle --int8 --int8-form static --calib line-images;
    adcopilot-edge export checkpoint --out bundle --target tensorrt --int8 --calib line-images;
    adcopilot-edge export checkpoint --out bundle --int8 --calib line --gate held-out --fall-back;
    adcopilot-edge export Qwen/Qwen2.5-VL-3B-Instruct --adapter lora --out bundle --llm int4
    """
    chosen: dict[Precision, bool] = {"fp32": fp32, "fp16": fp16, "int8": int8}
    precisions = [name for name, is_chosen in chosen.items() if is_chosen]
    if no_proof and parity_pairs is not None:
        raise ConfigError("--no-proof runs no pairs: leave --parity-pairs out")
    if len(precisions) > 1:
        raise ConfigError(f"choose one of --{', --'.join(precisions)}")
    require_export("export")
    from adcopilot_edge.export.adapter import merge_adapter
    from adcopilot_edge.export.checkpoint import open_checkpoint
    from adcopilot_edge.export.pipeline import export_bundle
    from adcopilot_edge.export.plan import plan_export
    from adcopilot_edge.export.proof import synthetic_pairs
    from adcopilot_edge.export.recipe import (
        LLM_PRECISIONS,
        VISION_PRECISIONS,
        ExportRecipe,
    )
    from adcopilot_edge.export.words import parse_block_size, parse_image_size
    from adcopilot_edge.runtime.memory import parse_bytes

    height, width = parse_image_size(image_size)
    recipe = ExportRecipe(
        image_height=height,
        image_width=width,
        target=target,
        vision=precisions[0] if precisions else VISION_PRECISIONS[target][0],
        llm=llm or LLM_PRECISIONS[target][0],
        quantizer=llm_quantizer,
        block_size=parse_block_size(llm_block),
        head=llm_head,
        threshold=threshold,
        is_proven=not no_proof,
        num_parity_pairs=parity_pairs,
        int8_form=int8_form,
        calib_method=calib_method,
        smooth=smooth,
        kept=tuple(keep or ()),
    )
    if not gate and (fall_back or gate_limits is not None or gate_reference is not None):
        raise ConfigError("name the held-out pairs of the gate with --gate")
    # By the gate's search, or by a form that it may choose.
    is_used = fall_back or (bool(gate) and len(recipe.forms(has_pairs=True)) > 1)
    limit = None if max_ram is None else parse_bytes(max_ram)
    calibration = None if dry_run else _calibration(recipe, calib, calib_pairs, is_used=is_used)
    opened = open_checkpoint(checkpoint, revision=revision, headers_only=dry_run)
    if adapter is not None:
        opened = merge_adapter(opened, adapter)
    if dry_run:
        print_plan(plan_export(opened, recipe, limit), as_json=as_json)
        return
    with StepProgress() as progress:
        plan = _gate_plan(recipe, gate, gate_pairs, gate_limits, progress) if gate else None
        bundle = export_bundle(
            opened,
            out,
            recipe,
            pairs=synthetic_pairs(height, width),
            calibration=calibration,
            gate=plan and replace(plan, reference=gate_reference, can_fall_back=fall_back),
            max_ram=limit,
            on_step=progress,
        )
    # A revision has a folder of its own in the hub's cache.
    reference = ["--reference", checkpoint if revision is None else str(opened.path)]
    if adapter is not None:
        reference += ["--adapter", adapter]
    print_bundle(bundle, calibration, reference=reference, as_json=as_json)


def _gate_plan(
    recipe: ExportRecipe,
    roots: list[Path],
    count: int,
    limits: Path | None,
    on_step: OnStep,
) -> GatePlan:
    """Held-out pairs and limits."""
    from adcopilot_edge.calibration.gates import GateLimits, read_limits
    from adcopilot_edge.calibration.held_out import read_held_out
    from adcopilot_edge.export.gate_plan import GatePlan

    chosen = GateLimits() if limits is None else read_limits(limits)
    tile = max(recipe.image_height, recipe.image_width)
    held_out = read_held_out(roots, count=count, tile=tile, seed=_GATE_SEED, on_step=on_step)
    return GatePlan(held_out=held_out, limits=chosen, seed=_GATE_SEED)


def _calibration(
    recipe: ExportRecipe, root: Path | None, count: int, *, is_used: bool
) -> CalibrationPairs | None:
    """The pairs that the export sees, where the recipe needs any or they are used otherwise.

    Scales of INT8 and the inputs of the decoder come from real pairs only. The limits of float16
    may come from synthetic ones, which the bundle then says.
    """
    from adcopilot_edge.calibration.pairs import choose_pairs, read_calibration
    from adcopilot_edge.export.proof import synthetic_pairs

    if not recipe.needs_pairs and not (is_used and root is not None):
        if root is not None:
            form = f" ({recipe.vision_form})" if recipe.vision_form else ""
            raise ConfigError(
                f"--calib has no use for --target {recipe.target} with the vision in "
                f"{recipe.vision}{form} and the quantizer {recipe.quantizer!r}. Leave it out."
            )
        return None
    if root is not None:
        tile = max(recipe.image_height, recipe.image_width)
        return read_calibration(root, count=count, tile=tile)
    if recipe.vision_form == "static":
        raise ConfigError(
            f"--int8 for --target {recipe.target} in the static form takes its scales from pairs "
            "of the line: name a folder with --calib"
        )
    if recipe.quantizer == "gptq":
        raise ConfigError(
            "--llm-quantizer gptq sees what the decoder's layers get on pairs of the line: name a "
            "folder with --calib"
        )
    pairs = synthetic_pairs(recipe.image_height, recipe.image_width)
    return choose_pairs("synthetic boards", list(islice(pairs, count)), count=count)
