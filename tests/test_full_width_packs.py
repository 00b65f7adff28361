"""A golden pack of a model at full width, with two blocks on either side: exact from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from full_shape import full_config, write_checkpoint

from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.proof import synthetic_pairs
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.runtime.inspector import Inspector

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_from_disk_as_computed(tmp_path: Path) -> None:
    config = full_config("3b", layers=2, vocab_size=320)
    config.vision_config.depth = 2
    config.vision_config.fullatt_block_indexes = [1]
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    recipe = ExportRecipe(image_height=224, image_width=224, llm="int4", is_proven=False)
    pairs = synthetic_pairs(224, 224)
    bundle = export_bundle(checkpoint, tmp_path / "bundle", recipe, pairs=pairs, max_ram=3 << 30)
    pair = next(pairs)
    adding, reading = Inspector.open(bundle.path), Inspector.open(bundle.path)
    expected = adding.inspect(pair.golden, pair.test, task="describe", max_new_tokens=8)
    adding.add_golden(pair.golden)
    found = reading.inspect(pair.golden, pair.test, task="describe", max_new_tokens=8)
    assert (expected.golden_cached, found.golden_cached) == (False, True)
    assert found.anomaly_score == expected.anomaly_score
    assert (found.verdict, found.defects, found.text) == (
        expected.verdict,
        expected.defects,
        expected.text,
    )
    logits = []
    engine = reading.engine
    patches = engine.preprocessor.patches(engine.preprocessor.resize(pair.test))
    for reference in (adding.golden(pair.golden, cache=False), reading.golden(pair.golden)):
        encoded = engine.encoder.encode(patches)
        comparison = engine.encoder.compare(reference.features, encoded.features)
        engine.dialogue.show(reference.prefix, encoded.tokens, comparison.tokens)
        logits.append(engine.verdict_logits())
    computed, mapped = logits
    np.testing.assert_array_equal(mapped, computed)
