"""What a process of its own does in a test of golden packs; such a one imports it by name."""

from __future__ import annotations

from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

from adcopilot_edge import Inspector
from adcopilot_edge.types import ImageArray


def write_again_and_again(
    bundle: Path, golden: ImageArray, start: Event, errors: Queue[str]
) -> None:
    """Write the pack of ``golden`` 15 times once ``start`` is set; errors go to the parent."""
    try:
        inspector = Inspector.open(bundle, num_threads=1)
        start.wait(30)
        for _ in range(15):
            inspector.add_golden(golden, "lid")
    except BaseException as err:
        errors.put(repr(err))
        raise
