"""``merge``: a checkpoint and a LoRA adapter become one checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_json
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.commands.workshop import require_export


def merge(
    checkpoint: Annotated[
        str,
        typer.Argument(help="Hugging Face folder, a hub id as jiang-cc/AD-Copilot, or embedded."),
    ],
    adapter: Annotated[str, typer.Argument(help="LoRA adapter of peft: a folder or a hub id.")],
    out: Annotated[Path, typer.Option(help="Folder of the new checkpoint.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the hub id; default: main.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Merge a LoRA adapter into a checkpoint that training and export take.

    Weights are read, merged and written a piece at a time: a 7B model needs a few GB of memory.
    Each keeps its type. To export only, export --adapter does the same without a second checkpoint.

    Example: adcopilot-edge merge runs/stage1/checkpoint runs/stage2/checkpoint-200/adapter
    --out merged
    """
    require_export("merge")
    from adcopilot_edge.export.adapter import merge_adapter
    from adcopilot_edge.export.checkpoint import open_checkpoint
    from adcopilot_edge.export.merged import write_merged

    base = open_checkpoint(checkpoint, revision=revision)
    with StepProgress() as progress:
        written = write_merged(base, merge_adapter(base, adapter), out, on_step=progress)
    if as_json:
        print_json(
            {
                "checkpoint": str(written.folder),
                "tensors": written.num_tensors,
                "merged": written.num_merged,
            }
        )
        return
    print(f"merged {written.num_merged} of {written.num_tensors} tensors: {written.folder}")
    print(f"next: adcopilot-edge export {written.folder} --out bundle")
