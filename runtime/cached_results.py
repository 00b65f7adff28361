"""Whole inspections of a pair compared: golden not kept, kept in memory, and from a pack on disk.

The rungs of ``verify --data``. Knows nothing of what the parts really are: only whether the three
ways say the same.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from adcopilot_edge.manifest import StageParity
from adcopilot_edge.runtime.golden_packs import GoldenPacks
from adcopilot_edge.runtime.images import ImageSource
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import Tolerance, compare, worst
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.types import Inspection

# On a CPU all errors are 0. The score is a probability; a sum in another order moves its last
# digits, and 1e-3 is the room that the rungs of cached logits have.
TOLERANCES = {
    "score": Tolerance("max_abs", 1e-3),
    "verdict": Tolerance("mismatches", 0),
    "boxes": Tolerance("mismatches", 0),
    "text": Tolerance("mismatches", 0),
}
WAYS = ("memory", "pack")


def compare_results(
    inspector: Inspector,
    pairs: Iterable[tuple[ImageSource, ImageSource]],
    *,
    max_new_tokens: int,
    on_pair: Callable[[int], None] = lambda done: None,
) -> tuple[int, tuple[StageParity, ...]]:
    """Inspect every pair in three ways, all tasks, and compare with the golden read anew.

    Args:
        inspector: The bundle; its verdict states and packs have no part in it.
        pairs: Golden and test image of each.
        max_new_tokens: Limit of each answer.
        on_pair: Told how many pairs are done.

    Returns:
        How many pairs there were, and the worst of all, named ``memory_score``, ``pack_score`` and
        so on: of the score the error, of verdict, boxes and greedy text in how many places they
        differ.

    Raises:
        InputError: An image can't be used.
        PackError: There is no room for a pack in the folder for temporary files.
        SessionError: A graph fails.
    """
    found = []
    for done, (golden, test) in enumerate(pairs, start=1):
        found.append(_compare_pair(inspector, golden, test, max_new_tokens))
        on_pair(done)
    return len(found), worst(found) if found else ()


def _compare_pair(
    inspector: Inspector, golden: ImageSource, test: ImageSource, max_new_tokens: int
) -> tuple[StageParity, ...]:
    engine = inspector.engine

    def look(one: Inspector, *, is_kept: bool) -> dict[str, AnyArray]:
        reference = one.golden(golden, cache=is_kept)
        return _result(one.inspect(reference, test, task="all", max_new_tokens=max_new_tokens))

    memory = Inspector(engine)
    expected = look(memory, is_kept=False)
    memory.golden(golden)
    found = {"memory": look(memory, is_kept=True)}
    with tempfile.TemporaryDirectory() as folder:
        packs = GoldenPacks(Path(folder))
        Inspector(engine, packs=packs).add_golden(golden)
        found["pack"] = look(Inspector(engine, packs=packs), is_kept=True)
    return tuple(
        rung.model_copy(update={"stage": f"{way}_{rung.stage}"})
        for way in WAYS
        for rung in compare(expected, found[way], TOLERANCES)
    )


def _result(inspection: Inspection) -> dict[str, AnyArray]:
    """What an inspection says, as arrays; times and the origin of the golden are left out."""
    boxes = [[defect.label, defect.source, *defect.bbox_2d] for defect in inspection.defects]
    return {
        "score": np.array(inspection.anomaly_score, np.float64),
        "verdict": _bytes(inspection.verdict),
        "boxes": _bytes(json.dumps(boxes)),
        "text": _bytes(json.dumps(inspection.text, sort_keys=True)),
    }


def _bytes(text: str) -> AnyArray:
    return np.frombuffer(text.encode(), np.uint8)
