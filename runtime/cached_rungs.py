"""Cached against uncached: a pair inspected with the golden's pack from disk, and with none.

The last rungs of ``verify``. Packs are exact on a provider that computes the same twice; the limits
leave room for one that adds up in another order from run to run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from adcopilot_edge.errors import PackError
from adcopilot_edge.manifest import StageParity
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.golden_pack import PackOrigin, read_pack, write_pack
from adcopilot_edge.runtime.images import ImageSource, open_image
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import Tolerance, compare, run_from_golden
from adcopilot_edge.runtime.tensors import AnyArray

# Relative to the largest value. On a CPU all errors are 0; a float16 sum in another order is off by
# about 1e-3 of its largest term.
TOLERANCES = {
    "anomaly_logits": Tolerance("max_rel", 1e-3),
    "type_logits": Tolerance("max_rel", 1e-3),
    "logits": Tolerance("max_rel", 1e-3),
    "greedy_ids": Tolerance("mismatches", 0),
    "verdict": Tolerance("mismatches", 0),
}


def compare_cached(
    inspector: Inspector, golden: ImageSource, test: ImageSource, *, max_new_tokens: int
) -> tuple[StageParity, ...]:
    """Inspect a pair twice and compare: the golden read anew, and from a pack on disk.

    Args:
        inspector: The bundle.
        golden: The golden image, which is read twice, once for the pack.
        test: The test image.
        max_new_tokens: Limit of the answer whose ids are compared.

    Returns:
        One record for each stage that the bundle has, named ``cached_logits`` and so on.

    Raises:
        PackError: There is no room for a pack in the folder for temporary files.
        SessionError: A graph fails.
    """
    engine = inspector.engine
    patches = engine.preprocessor.patches(engine.preprocessor.resize(open_image(test)))

    def run(reference: GoldenReference) -> dict[str, AnyArray]:
        encoded = engine.encoder.encode(patches)
        stages = run_from_golden(engine, reference, encoded, max_new_tokens=max_new_tokens)
        return {stage: np.array(array) for stage, array in stages.items()}

    with tempfile.TemporaryDirectory() as folder:
        packed = _through_a_pack(inspector.golden(golden, cache=False), Path(folder))
        cached = run(packed)
    uncached = run(inspector.golden(golden, cache=False))
    tolerances = {stage: it for stage, it in TOLERANCES.items() if stage in uncached}
    return tuple(
        rung.model_copy(update={"stage": f"cached_{rung.stage}"})
        for rung in compare(uncached, cached, tolerances)
    )


def _through_a_pack(reference: GoldenReference, folder: Path) -> GoldenReference:
    """The same reference, mapped from a pack that is written into ``folder``."""
    path = folder / "golden.safetensors"
    origin = PackOrigin(key="0" * 64, provider="any", variant="", name=None)
    try:
        write_pack(path, reference, origin)
    except OSError as err:
        raise PackError(
            f"can't write the golden pack {path}: {err.strerror or err}. Set TMPDIR to a folder "
            "with more room"
        ) from err
    return read_pack(path, key=None, bundle=reference.bundle)[1]
