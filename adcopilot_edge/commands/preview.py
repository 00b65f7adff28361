"""A sheet of the pairs that a run would see, drawn before it starts."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

_PAIRS = 24
_SIDE = 224
_TOLD = 5


def draw_preview(path: Path, changes: Path | None = None) -> None:
    """Draw generated pairs, or pairs made from the photographs in the folder ``changes``."""
    from adcopilot_edge.runtime.overlay import save_image
    from adcopilot_edge.training.pair_sheet import draw_pairs
    from adcopilot_edge.training.synthetic.preview import contact_sheet

    if changes is None:
        sheet = contact_sheet(range(_PAIRS))
    else:
        from adcopilot_edge.training.changes import open_changes

        source = open_changes(changes)
        for finding in islice(source.skipped, _TOLD):
            print(f"left out: {finding.path}: {finding.what}", file=sys.stderr)
        print(f"{len(source.photos)} photographs, {len(source.skipped)} left out", file=sys.stderr)
        sheet = draw_pairs(source.pair(number, size=_SIDE) for number in range(_PAIRS))
    save_image(sheet, path)
    print(f"wrote {path}", file=sys.stderr)
