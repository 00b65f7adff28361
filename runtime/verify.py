"""Whether a bundle works here as it did where it was exported: hashes, then the stored pairs again.

Needs no torch: the exporter stored the pairs and the expected output of every stage.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.errors import ManifestError
from adcopilot_edge.manifest import Parity, StageParity
from adcopilot_edge.runtime.cached_results import compare_results
from adcopilot_edge.runtime.cached_rungs import compare_cached
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import Tolerance, compare, run_ladder, worst
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.types import LabelledPair

_OWN_TOKENS = 128  # of each answer about a pair of the caller's, as in inspect
_PAIR_KEY = re.compile(r"pair(\d+)/(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """How the stages of a bundle came out; nothing but hashes where a bundle holds no pairs.

    ranges: the id of the measured ranges that it went by, None for the bundle's own. num_own_pairs:
    pairs of the caller's that were inspected with and without a kept golden.
    """

    bundle: str
    provider: str
    num_files: int
    num_pairs: int
    stages: tuple[StageParity, ...]
    ranges: str | None = None
    num_own_pairs: int = 0

    @property
    def first_failure(self) -> StageParity | None:
        """The first stage, in the order of the inspection, that is out of its tolerance."""
        return next((stage for stage in self.stages if not stage.passed), None)

    def to_json(self) -> dict[str, Any]:
        """The report as the object that ``verify --json`` prints.

        The error of a stage is null where outputs could not be compared or held a NaN.
        """
        failure = self.first_failure
        return {
            "bundle": self.bundle,
            "provider": self.provider,
            "ranges": self.ranges,
            "passed": failure is None,
            "first_failure": failure.stage if failure else None,
            "num_files": self.num_files,
            "num_pairs": self.num_pairs,
            "num_own_pairs": self.num_own_pairs,
            "stages": [_stage_json(stage) for stage in self.stages],
        }


def verify_bundle(
    path: str | os.PathLike[str],
    *,
    provider: str = "cpu",
    num_threads: Threads | Path = None,
    own_pairs: Iterable[LabelledPair] = (),
    on_pair: Callable[[int], None] = lambda done: None,
) -> VerifyReport:
    """Check the hash of every file, then run the stored pairs and compare every stage.

    At the end the pairs run once more, with the golden from a pack on disk: the stages
    ``cached_logits`` and so on. Pairs of the caller's own give the stages of ``compare_results``.

    Args:
        path: The bundle.
        provider: Where to run, as for ``Inspector.open``.
        num_threads: As for ``Inspector.open``.
        own_pairs: Inspected with the golden not kept, in memory and from a pack.
        on_pair: Told how many of those are done.

    Raises:
        BundleError: The bundle is missing, damaged, or of another format.
        InferenceError: It can't be run here.
    """
    bundle = open_bundle(path, verify=True)
    inspector = Inspector.open(path, provider=provider, num_threads=num_threads, verify=False)
    ranges = inspector.engine.ranges
    num_pairs, stages = run_stored_pairs(inspector)
    cached = run_cached_pairs(inspector)
    num_own_pairs, own = compare_results(
        inspector,
        ((pair.golden, pair.test) for pair in own_pairs),
        max_new_tokens=_OWN_TOKENS,
        on_pair=on_pair,
    )
    return VerifyReport(
        bundle=bundle.id,
        provider=inspector.engine.provider,
        num_files=len(bundle.manifest.files),
        num_pairs=num_pairs,
        stages=(*stages, *cached, *own),
        ranges=None if ranges is None else ranges.id,
        num_own_pairs=num_own_pairs,
    )


def run_stored_pairs(inspector: Inspector) -> tuple[int, tuple[StageParity, ...]]:
    """How many pairs the bundle holds, and the worst error of every stage over them.

    Raises:
        ManifestError: The file of the pairs is damaged.
        InferenceError: A graph fails.
    """
    bundle = inspector.engine.bundle
    parity = bundle.manifest.parity
    pairs = [] if parity is None else _stored_pairs(bundle.file(parity.inputs), parity)
    tolerances = {
        stage.stage: Tolerance(stage.metric, stage.tolerance)
        for stage in (parity.stages if parity else ())
    }
    compared = [
        compare(
            pair,
            run_ladder(
                inspector,
                pair["golden"],
                pair["test"],
                # Ids as many as the reference has: an end token among them stops both alike.
                max_new_tokens=max(1, len(pair["greedy_ids"])),
            ),
            tolerances,
        )
        for pair in pairs
    ]
    return len(pairs), worst(compared) if compared else ()


def run_cached_pairs(inspector: Inspector) -> tuple[StageParity, ...]:
    """The stored pairs with the golden from a pack on disk, against the same without one.

    Raises as ``run_stored_pairs``.
    """
    bundle = inspector.engine.bundle
    parity = bundle.manifest.parity
    pairs = [] if parity is None else _stored_pairs(bundle.file(parity.inputs), parity)
    compared = [
        compare_cached(
            inspector,
            pair["golden"],
            pair["test"],
            max_new_tokens=max(1, len(pair["greedy_ids"])),
        )
        for pair in pairs
    ]
    return worst(compared) if compared else ()


def _stage_json(stage: StageParity) -> dict[str, Any]:
    """A stage without the numbers that JSON lacks."""
    error = stage.error if math.isfinite(stage.error) else None
    return {**stage.model_dump(), "error": error, "passed": stage.passed}


def _stored_pairs(path: Path, parity: Parity) -> list[dict[str, AnyArray]]:
    """The stored pairs, each with its two images and its expected outputs by name."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as err:
        raise ManifestError(
            f"{path} holds no parity inputs: {err}. Export the bundle again."
        ) from err
    pairs: dict[int, dict[str, AnyArray]] = {}
    for key, array in tensors.items():
        if (found := _PAIR_KEY.fullmatch(key)) is not None:
            pairs.setdefault(int(found[1]), {})[found[2]] = array
    lacking = [
        f"pair{index}/{name}"
        for index, pair in sorted(pairs.items())
        for name in ("golden", "test", "greedy_ids", *(stage.stage for stage in parity.stages))
        if name not in pair
    ]
    if lacking or not pairs:
        raise ManifestError(
            f"{path} lacks {', '.join(lacking) or 'all pairs'}. Export the bundle again."
        )
    return [pairs[index] for index in sorted(pairs)]
