"""``train --curves``: the course of runs as a picture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def draw_runs(runs: Sequence[Path], picture: Path) -> None:
    """Draw the scores and losses of ``runs`` into ``picture``, each by its folder's name."""
    from adcopilot_edge.runtime.overlay import save_image
    from adcopilot_edge.training.curves import draw_curves, read_curves

    save_image(draw_curves({run.name: read_curves(run) for run in runs}), picture)
    print(f"wrote {picture}", file=sys.stderr)
