"""``demo``: the embedded bundle on the embedded pair; needs no options, no files, no network."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_inspection, print_json


def demo(
    out: Annotated[Path, typer.Option(help="Where to draw the result.")] = Path(
        "adcopilot-demo.png"
    ),
    as_json: Json = False,
) -> None:
    """Inspect a sample pair with the small model inside this package, and draw the result.

    Example: adcopilot-edge demo
    """
    from adcopilot_edge.runtime.images import open_image
    from adcopilot_edge.runtime.inspector import Inspector
    from adcopilot_edge.runtime.overlay import draw_overlay, save_image

    samples = Path(str(files("adcopilot_edge"))) / "assets" / "samples"
    golden, test = samples / "golden.png", samples / "test.png"
    inspection = Inspector.open().inspect(golden, test)
    save_image(draw_overlay(open_image(golden), open_image(test), inspection), out)
    print(f"wrote {out}", file=sys.stderr)
    if as_json:
        print_json(inspection.to_json())
    else:
        print_inspection(inspection)
