"""``export``: a checkpoint becomes a bundle, proven stage by stage."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from adcopilot_edge.bundle import Bundle
    from adcopilot_edge.export.plan import ExportPlan
    from adcopilot_edge.export.recipe import ExportRecipe
    from adcopilot_edge.manifest import Precision
    from adcopilot_edge.types import LabelledPair

_PACKAGES = ("torch", "transformers", "onnx_ir", "onnxruntime")
# Far above the seeds that training and its evaluations draw from.
_FIRST_SEED = 1 << 40
# The generator's smallest size, and one that still takes well under a second a pair.
_PAIR_SIZES = (112, 448)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the Hugging Face checkpoint.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    image_size: Annotated[
        str, typer.Option(help="Pixels of the fixed input: 448, or height x width as 448x560.")
    ] = "224",
    target: Annotated[
        Literal["cpu", "cuda", "tensorrt"], typer.Option(help="Device; this release has cpu.")
    ] = "cpu",
    fp32: Annotated[bool, typer.Option("--fp32", help="Vision in float32, the default.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Vision in float16; not for cpu.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Vision in dynamic INT8.")] = False,
    llm: Annotated[
        Literal["fp32", "int8", "int4"], typer.Option(help="Weights of the language model.")
    ] = "fp32",
    parity_pairs: Annotated[int, typer.Option(help="Image pairs that the proof runs.", min=1)] = 20,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes and memory, write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into a bundle, and prove the bundle against the checkpoint.

    The graphs are compared with torch on synthetic pairs, stage by stage. A stage out of its
    tolerance stops the export with code 4, and no bundle is written. An older bundle at --out is
    replaced, anything else there is left alone.

    Examples: adcopilot-edge export checkpoint --out bundle --int8 --llm int4;
    adcopilot-edge export checkpoint --out bundle --image-size 448x560 --dry-run
    """
    chosen: dict[Precision, bool] = {"fp32": fp32, "fp16": fp16, "int8": int8}
    precisions = [name for name, is_chosen in chosen.items() if is_chosen] or ["fp32"]
    if len(precisions) > 1:
        raise ConfigError(f"choose one of --{', --'.join(precisions)}")
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(feature="export", extra="export", package=package)
    from adcopilot_edge.export.checkpoint import open_checkpoint
    from adcopilot_edge.export.pipeline import export_bundle
    from adcopilot_edge.export.plan import plan_export
    from adcopilot_edge.export.recipe import ExportRecipe, parse_image_size

    height, width = parse_image_size(image_size)
    recipe = ExportRecipe(
        image_height=height,
        image_width=width,
        target=target,
        vision=precisions[0],
        llm=llm,
        num_parity_pairs=parity_pairs,
    )
    if dry_run:
        _print_plan(plan_export(open_checkpoint(checkpoint), recipe), as_json=as_json)
        return
    bundle = export_bundle(checkpoint, out, recipe, pairs=_pairs(recipe), on_step=_Progress())
    _print_bundle(bundle, as_json=as_json)


def _pairs(recipe: ExportRecipe) -> Iterator[LabelledPair]:
    """Synthetic pairs without end: squares, which the export scales to its own size."""
    from adcopilot_edge.training.synthetic import generate_pair

    smallest, largest = _PAIR_SIZES
    size = min(max(smallest, recipe.image_height, recipe.image_width), largest)
    return (generate_pair(seed, size=size).to_labelled() for seed in count(_FIRST_SEED))


class _Progress:
    """One line a step on stderr; on a terminal the line counts on."""

    def __init__(self) -> None:
        self._step = ""

    def __call__(self, step: str, done: int, total: int) -> None:
        is_new = step != self._step
        self._step = step
        text = f"{step} {done}/{total}" if total > 1 else step
        if sys.stderr.isatty():
            start = "\n" if is_new else "\r"
            print(f"{start}{text}", end="", file=sys.stderr, flush=True)
        elif is_new:
            print(text, file=sys.stderr, flush=True)


def _print_bundle(bundle: Bundle, *, as_json: bool) -> None:
    """The finished bundle: what it is, and how each stage of its proof came out."""
    manifest = bundle.manifest
    assert manifest.parity is not None
    size = sum(entry.size_bytes for entry in manifest.files.values())
    stages = manifest.parity.stages
    if as_json:
        print_json(
            {
                "bundle": bundle.id,
                "path": str(bundle.path),
                "precision": manifest.precision,
                "size_bytes": size,
                "num_pairs": manifest.parity.num_pairs,
                "stages": [{**stage.model_dump(), "passed": stage.passed} for stage in stages],
            }
        )
        return
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print_fact("bundle", f"{bundle.path}, {bundle.id}")
    print_fact("precision", manifest.precision)
    print_fact("size", f"{size / 1e6:.1f} MB")
    print_fact("pairs", str(manifest.parity.num_pairs))
    print_rows(
        (stage.stage, stage.metric, f"{stage.error:.3g}", f"limit {stage.tolerance:.3g}")
        for stage in stages
    )


def _print_plan(plan: ExportPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(plan.to_json())
        return
    print_rows((name, f"{size / 1e6:.1f} MB") for name, size in plan.files.items())
    print_fact("bundle", f"about {plan.total / 1e6:.0f} MB")
    print_fact("memory", f"about {plan.peak_memory / 1e6:.0f} MB at most, during the proof")
