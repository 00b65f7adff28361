"""``demo``: the embedded bundle on the embedded pair; needs no options, no files, no network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_inspection, print_json
from adcopilot_edge.embedded import sample_pictures


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

    golden, test = sample_pictures()
    inspection = Inspector.open().inspect(golden, test)
    save_image(draw_overlay(open_image(golden), open_image(test), inspection), out)
    print(f"wrote {out}", file=sys.stderr)
    if as_json:
        print_json(inspection.to_json())
    else:
        print_inspection(inspection)
