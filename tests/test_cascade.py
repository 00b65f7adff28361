"""The cascade: off unless asked for, what it lets pass, what the audit sees, and its threshold."""

from __future__ import annotations

import numpy as np
import pytest
from toy import MODEL, write_toy_bundle

from adcopilot_edge.calibration.cascade import calibrate_cascade, measure_suspicion
from adcopilot_edge.errors import AspectMismatchError, ConfigError, TooFewSamplesError
from adcopilot_edge.runtime.cascade import Cascade, suspicion
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.stream import InspectionEvent, VerdictEvent
from adcopilot_edge.runtime.vision import Comparison


@pytest.fixture
def inspector(toy_inspector):
    return toy_inspector


def test_it_is_off_by_default(inspector, image_pair):
    golden, _ = image_pair
    inspection = inspector.inspect(golden, golden)
    assert inspection.path == inspection.to_json()["path"] == "model"
    assert "prefill" in inspection.timings_ms


def test_a_part_like_the_golden_passes_without_the_model(inspector, image_pair, fed):
    golden = inspector.golden(image_pair[0])
    fed.clear()
    cascade = Cascade(threshold=0.3, audit_share=0)
    passed = inspector.inspect(golden, image_pair[0], task="all", ask="Why?", cascade=cascade)
    assert fed == []
    assert (passed.verdict, passed.path, passed.text, passed.defects) == ("normal", "map", {}, ())
    assert passed.anomaly_map is not None
    assert passed.anomaly_score == pytest.approx(passed.anomaly_map.max())
    assert passed.notes == tuple(
        f"cascade_unasked:{name}" for name in ("classify", "locate", "describe", "ask")
    )


def test_a_part_that_differs_is_the_models(inspector, image_pair):
    free = inspector.inspect(*image_pair, task="classify", max_new_tokens=4)
    held = inspector.inspect(
        *image_pair, task="classify", max_new_tokens=4, cascade=Cascade(threshold=0.3)
    )
    assert (held.path, held.verdict, held.text) == ("model", "anomaly", free.text)
    assert held.anomaly_score == free.anomaly_score


def test_an_audit_asks_the_model_and_says_what_was_missed(inspector, image_pair):
    golden, test = image_pair
    blind = Cascade(threshold=1, audit_share=1)
    missed = inspector.inspect(golden, test, cascade=blind)
    assert (missed.path, missed.verdict, missed.notes) == ("audit", "anomaly", ("cascade_missed",))
    confirmed = inspector.inspect(golden, golden, cascade=blind)
    assert (confirmed.path, confirmed.verdict, confirmed.notes) == ("audit", "normal", ())
    without = inspector.inspect(golden, test, cascade=Cascade(threshold=1, audit_share=0))
    # What the cascade can miss: a defect below the threshold is called normal.
    assert (without.path, without.verdict, without.notes) == ("map", "normal", ("map_disagrees",))


def test_the_audit_is_a_seeded_share_of_pictures(rng):
    pictures = rng.integers(0, 256, (2000, 4, 4, 3), dtype=np.uint8)
    one, other = Cascade(threshold=0.5, audit_share=0.1), Cascade(threshold=0.5, seed=1)
    chosen = [one.choose(0.2, picture) for picture in pictures]
    assert chosen == [one.choose(0.2, picture) for picture in pictures]
    assert 150 < chosen.count("audit") < 250
    assert chosen.count("audit") + chosen.count("map") == 2000
    assert 15 < [other.choose(0.2, picture) for picture in pictures].count("audit") < 75
    assert one.choose(0.5, pictures[0]) != "model"
    assert one.choose(0.51, pictures[0]) == "model"


def test_a_suspicion_that_is_no_number_is_the_models(rng):
    picture = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    assert Cascade(threshold=1, audit_share=0).choose(float("nan"), picture) == "model"


def test_without_a_map_the_features_tell(image_pair, tmp_path):
    model = MODEL.model_copy(update={"compare_token_size": 0, "has_anomaly_map": False})
    inspector = Inspector.open(write_toy_bundle(tmp_path / "plain", model).path, num_threads=1)
    reference = inspector.golden(image_pair[0])
    same, other = (measure_suspicion(inspector.engine, reference, image) for image in image_pair)
    assert same == pytest.approx(0, abs=1e-6)
    assert 0.01 < other <= 1
    cascade = Cascade(threshold=other / 2, audit_share=0)
    paths = [inspector.inspect(reference, image, cascade=cascade).path for image in image_pair]
    assert paths == ["map", "model"]


def test_the_largest_difference_counts():
    golden = np.eye(3, dtype=np.float32)
    test = golden.copy()
    plain = Comparison(tokens=golden, anomaly_logits=None)
    assert suspicion(golden, test, plain) == 0
    test[1] *= 7  # longer, in the same direction
    assert suspicion(golden, test, plain) == pytest.approx(0)
    test[1] = -golden[1]
    assert suspicion(golden, test, plain) == pytest.approx(1)
    logits = np.array([[-2.0, 0.0], [-9.0, -1.0]], dtype=np.float32)
    assert suspicion(golden, test, Comparison(tokens=golden, anomaly_logits=logits)) == 0.5


def test_a_threshold_from_good_parts(inspector, image_pair, rng):
    golden = inspector.golden(image_pair[0])
    parts = []
    for _ in range(9):
        noise = rng.integers(-12, 13, image_pair[0].shape)
        parts.append(np.clip(image_pair[0].astype(int) + noise, 0, 255).astype(np.uint8))
    cascade = calibrate_cascade(inspector.engine, golden, parts, max_asked=0.2, audit_share=0)
    values = sorted(measure_suspicion(inspector.engine, golden, part) for part in parts)
    assert cascade.threshold == values[-2]  # (9 + 1) * 0.2 = 2: the second highest
    for part in parts:
        inspection = inspector.inspect(golden, part, cascade=cascade)
        assert inspection.anomaly_map is not None
        is_asked = float(inspection.anomaly_map.max()) > cascade.threshold
        assert (inspection.path == "model") == is_asked
    assert inspector.inspect(golden, image_pair[1], cascade=cascade).verdict == "anomaly"


def test_what_calibration_refuses(inspector, image_pair):
    golden = inspector.golden(image_pair[0])
    with pytest.raises(TooFewSamplesError, match="at least 9 are needed"):
        calibrate_cascade(inspector.engine, golden, [image_pair[0]] * 3, max_asked=0.1)
    with pytest.raises(AspectMismatchError):
        measure_suspicion(inspector.engine, golden, image_pair[1].transpose(1, 0, 2))


@pytest.mark.parametrize(
    "change", [{"threshold": 1.1}, {"threshold": float("nan")}, {"audit_share": -0.1}]
)
def test_settings_that_are_none(change):
    with pytest.raises(ConfigError, match=r"must be in 0\.\.1"):
        Cascade(**{"threshold": 0.5} | change)


def test_tiles_have_no_cascade(inspector, image_pair):
    with pytest.raises(ConfigError, match="tiles and votes have no takt and no cascade"):
        inspector.inspect(*image_pair, tile=True, cascade=Cascade(threshold=0.5))


def test_a_stream_says_the_same(inspector, image_pair):
    golden, _ = image_pair
    cascade = Cascade(threshold=0.3, audit_share=0)
    first, last = inspector.stream(golden, golden, cascade=cascade)
    assert isinstance(first, VerdictEvent)
    assert isinstance(last, InspectionEvent)
    assert (first.verdict, last.inspection.path) == ("normal", "map")
    assert first.anomaly_score == last.inspection.anomaly_score
