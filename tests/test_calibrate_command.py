"""``calibrate`` from end to end: parts in folders, a state, and inspections that go by it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from line import assert_fails, inspect, noisy_line, save
from PIL import Image

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.calibration.verdicts import VerdictRecipe, calibrate
from adcopilot_edge.errors import ConfigError, StateError
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.verdict_store import VERDICTS, state_path

NUM_GOOD = 19  # the least for a share of 0.05
OPTIONS = ("--max-overkill", "0.05", "--max-review", "0.3", "--threads", "1")


@pytest.fixture
def call(cli):
    return cli


@pytest.fixture
def line(tmp_path, image_pair, rng):
    return noisy_line(tmp_path / "line", image_pair, rng, num_good=NUM_GOOD, step=1 / 2, num_bad=4)


@pytest.fixture
def words(damaged_bundle, line):
    """A calibration of a bundle that may be written to."""
    folders = ("--golden", line / "golden.png", "--good", line / "good")
    return ["calibrate", damaged_bundle, *folders, *OPTIONS]


def test_from_parts_to_verdicts(call, words, line, damaged_bundle):
    code, out, err = call(*words, "--bad", line / "bad", "--json")
    assert code == 0
    record = json.loads(out)
    bundle = open_bundle(damaged_bundle)
    golden = pixel_hash(np.asarray(Image.open(line / "golden.png")))
    path = state_path(bundle, golden)
    state = VERDICTS.read(path)
    assert (record["id"], record["stored"]) == (state.id, str(path))
    assert err == f"check 1/23\ngood 1/19\nbad 1/4\nwrote {path}\n"
    assert state.bad is not None
    assert (state.bundle, state.golden_sha256) == (bundle.id, golden)
    assert (state.good.num, state.bad.num, state.confidence) == (19, 4, 0.95)
    assert state.temperature is not None
    assert state.good.normal_up_to < state.good.anomaly_above < 1

    plain = Inspector.open(bundle.path, num_threads=1, calibrated=False)
    scores = [
        plain.inspect(line / "golden.png", part).anomaly_score
        for part in sorted((line / "good").iterdir())
    ]
    # Of 20 ranks, 19 good parts and the next one, one is above the highest and six above the 14th.
    assert state.good.anomaly_above == max(scores)
    assert state.good.normal_up_to == sorted(scores)[19 - 6]

    seen = []
    for index, raw in enumerate(scores):
        part = line / "good" / f"{index:02}.png"
        _, found = inspect(call, damaged_bundle, line / "golden.png", part)
        assert found["calibration"] == state.id
        assert found["anomaly_score"] == round(state.rule.calibrate(raw), 6)
        assert found["verdict"] == state.rule.decide(raw)
        seen.append(found["verdict"])
    assert (seen.count("normal"), seen.count("uncertain")) == (14, 5)
    bad = inspect(call, damaged_bundle, line / "golden.png", line / "bad" / "0.png")[1]
    assert bad["verdict"] == "anomaly"
    # None of four: the chance of that is 5 % at a share of 1 - 0.05 ** (1 / 4).
    assert (state.bad.escapes, state.bad.not_rejected) == (0, 0)
    assert state.bad.escape_bound == pytest.approx(1 - 0.05**0.25)


def test_for_people(call, words, line, tmp_path):
    code, out, err = call(*words, "--bad", line / "bad", "--diagram", tmp_path / "diagram.png")
    assert code == 0
    names = {text[:10].strip() for text in out.splitlines() if not text.startswith(" ")}
    assert {"state", "good parts", "anomaly", "normal", "bad parts", "escapes"} <= names
    assert f"wrote {tmp_path / 'diagram.png'}\n" in err
    with Image.open(tmp_path / "diagram.png") as picture:
        assert picture.size == (980, 568)


def test_without_bad_parts_nothing_is_said_about_escapes(call, words):
    code, out, _ = call(*words)
    assert code == 0
    assert "no bound without bad parts" in out
    record = json.loads(call(*words, "--json")[1])
    assert (record["bad"], record["temperature"]) == (None, None)


def test_a_dry_run_stores_nothing(call, words, damaged_bundle, line):
    code, out, err = call(*words, "--dry-run", "--json")
    assert (code, json.loads(out)["stored"]) == (0, None)
    assert "wrote" not in err
    assert not (damaged_bundle / "verdicts").exists()
    found = inspect(call, damaged_bundle, line / "golden.png", line / "bad" / "0.png")[1]
    assert (found["calibration"], found["notes"]) == (None, [])


def test_roll_back(call, words, damaged_bundle, line):
    back = ["calibrate", damaged_bundle, "--golden", line / "golden.png", "--roll-back"]
    assert_fails(call, back, code=5, kind="StateError", message="no state before")
    first = json.loads(call(*words, "--json")[1])
    second = json.loads(call(*words, "--max-review", "0.5", "--json")[1])
    assert first["id"] != second["id"]
    code, out, _ = call(*back, "--json")
    assert (code, json.loads(out)["id"]) == (0, first["id"])
    found = inspect(call, damaged_bundle, line / "golden.png", line / "bad" / "0.png")[1]
    assert found["calibration"] == first["id"]
    assert_fails(call, back, code=5, kind="StateError", message="no state before")
    wrong = [*back, "--good", line / "good"]
    assert_fails(call, wrong, code=2, kind="ConfigError", message="--roll-back goes with")


def test_a_state_in_a_file_of_its_own(call, words, damaged_bundle, line, tmp_path):
    state = tmp_path / "state.json"
    assert call(*words, "--state", state)[0] == 0
    assert not (damaged_bundle / "verdicts").exists()
    pair = line / "golden.png", line / "bad" / "0.png"
    assert inspect(call, damaged_bundle, *pair)[1]["calibration"] is None
    found = inspect(call, damaged_bundle, *pair, "--state", state)[1]
    assert found["calibration"] == VERDICTS.read(state).id
    code, error = inspect(call, damaged_bundle, pair[1], pair[1], "--state", state)
    assert (code, error["kind"]) == (5, "StateError")
    code, error = inspect(call, damaged_bundle, *pair, "--state", state, "--uncalibrated")
    assert (code, error["kind"]) == (2, "ConfigError")


def test_a_golden_without_a_state_is_noted(call, words, damaged_bundle, line):
    assert call(*words)[0] == 0
    part = line / "good" / "00.png"
    found = inspect(call, damaged_bundle, part, part)[1]
    assert (found["calibration"], found["notes"]) == (None, ["golden_uncalibrated"])
    found = inspect(call, damaged_bundle, line / "golden.png", part, "--uncalibrated")[1]
    assert (found["calibration"], found["notes"]) == (None, [])


def test_a_state_of_another_bundle_or_way(call, words, damaged_bundle, line, tmp_path):
    assert call(*words)[0] == 0
    pair = line / "golden.png", line / "bad" / "0.png"
    code, error = inspect(call, damaged_bundle, *pair, "--tile")
    assert (code, error["kind"]) == (5, "StateError")
    assert "as a whole, this is in tiles" in error["message"]
    manifest = damaged_bundle / "manifest.json"
    manifest.write_text(manifest.read_text() + " \n")  # another export has another id
    code, error = inspect(call, damaged_bundle, *pair)
    assert (code, error["kind"]) == (5, "StateError")
    assert "was measured with the bundle" in error["message"]


def test_a_damaged_state(call, words, damaged_bundle, line):
    assert call(*words)[0] == 0
    (path,) = (damaged_bundle / "verdicts").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    inspector = Inspector.open(damaged_bundle, num_threads=1)
    with pytest.raises(StateError, match="is no verdict state"):
        inspector.inspect(line / "golden.png", line / "bad" / "0.png")


def test_in_tiles(call, words, line, damaged_bundle, rng):
    for path in line.rglob("*.png"):
        with Image.open(path) as image:
            large = image.resize((126, 84))
        large.save(path)
    code, out, _ = call(*words, "--tile", "--json")
    assert (code, json.loads(out)["tile"]) == (0, True)
    pair = line / "golden.png", line / "good" / "00.png"
    found = inspect(call, damaged_bundle, *pair, "--tile")[1]
    assert found["calibration"] == json.loads(out)["id"]
    assert found["verdict"] == "normal"


def test_scores_that_are_calibrated_already_set_no_limits(call, words, line, damaged_bundle):
    assert call(*words)[0] == 0
    inspector = Inspector.open(damaged_bundle, num_threads=1)
    golden = inspector.golden(line / "golden.png")
    recipe = VerdictRecipe(max_overkill=0.05)
    with pytest.raises(ConfigError, match="open the inspector with calibrated=False"):
        calibrate(inspector, golden, line / "good", None, recipe, on_step=lambda *_: None)


def test_without_room_for_doubt(call, words):
    record = json.loads(call(*words, "--max-review", "0.05", "--json")[1])
    assert record["good"]["normal_up_to"] == record["good"]["anomaly_above"]


def test_a_place_that_can_not_be_written_is_told_at_once(call, words, tmp_path):
    (tmp_path / "file").write_text("")
    failing = [*words, "--state", tmp_path / "file" / "state.json"]
    assert_fails(call, failing, code=5, kind="StateError", message="can't write the verdict state")
    assert "good 1/19" not in call(*failing)[2]


def test_a_diagram_that_can_not_be_drawn_costs_no_state(call, words, line, damaged_bundle):
    failing = [*words, "--bad", line / "bad", "--diagram", line / "diagram.txt"]
    assert_fails(call, failing, code=2, kind="ConfigError", message="the image format")
    assert len(list((damaged_bundle / "verdicts").iterdir())) == 1


def test_good_parts_that_all_look_like_the_worst(call, words, monkeypatch):
    monkeypatch.setattr("adcopilot_edge.runtime.engine.Engine.score", lambda *_: 1.0)
    message = "so no part could ever be an anomaly"
    assert_fails(call, words, code=5, kind="CalibrationError", message=message)


def test_copies_are_no_further_parts(call, words, line):
    shutil.copy(line / "good" / "00.png", line / "good" / "copy.png")
    shutil.copy(line / "golden.png", line / "good" / "golden.png")
    record = json.loads(call(*words, "--json")[1])
    assert (record["good"]["num"], record["repeated_pictures"]) == (19, 2)
    (line / "good" / "18.png").unlink()
    message = "18 good parts can't bound a share of 0.05: at least 19 are needed"
    assert_fails(call, words, code=5, kind="TooFewSamplesError", message=message)


def test_every_unusable_picture_is_told(call, words, line, image_pair):
    (line / "good" / "00.png").write_bytes(b"no picture")
    (line / "bad" / "0.png").write_bytes(b"")
    save(image_pair[1][::2, ::2], line / "bad" / "3.png")
    save(image_pair[1].transpose(1, 0, 2), line / "bad" / "1.png")
    shutil.copy(line / "good" / "01.png", line / "bad" / "2.png")
    failing = [*words, "--bad", line / "bad"]
    for message in (
        "5 pictures can't be used",
        "00.png is no image of a known format",
        "0.png is empty",
        "the test image 56x84",
        "3.png has 42x28 pixels, the first part 84x56",
        "2.png: the same picture is among the good parts",
    ):
        assert_fails(call, failing, code=5, kind="DatasetError", message=message)


def test_folders_without_pictures(call, words, line, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("mine")
    for folder, message in ((tmp_path / "empty", "has no picture"), (tmp_path / "no", "no folder")):
        for option in ("--good", "--bad"):
            failing = [*words, option, folder]
            assert_fails(call, failing, code=5, kind="DatasetError", message=message)
    shutil.copy(line / "golden.png", tmp_path / "empty" / "golden.png")
    failing = [*words, "--bad", tmp_path / "empty"]
    message = "nothing but the golden image"
    assert_fails(call, failing, code=5, kind="CalibrationError", message=message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-overkill", "0"], "max_overkill must be between 0 and 1"),
        (["--max-review", "1"], "max_review must be between 0 and 1"),
        (["--confidence", "95"], "confidence must be between 0 and 1"),
        (["--max-review", "0.01"], "max_review, 0.01, is below max_overkill, 0.05"),
        (["--diagram", "x.png"], "--diagram needs bad parts"),
        (["--state", "golden.png"], "a verdict state is a .json file"),
    ],
)
def test_settings_out_of_range(call, words, options, message):
    assert_fails(call, [*words, *options], code=2, kind="ConfigError", message=message)


def test_bad_parts_alone(call, line, damaged_bundle):
    words = ["calibrate", damaged_bundle, "--golden", line / "golden.png", "--bad", line / "bad"]
    message = "--bad alone sets no limit: name a folder of good parts with --good"
    assert_fails(call, words, code=2, kind="ConfigError", message=message)


def test_a_golden_that_can_not_be_read(call, words, line):
    (line / "golden.png").write_bytes(b"")
    assert_fails(call, words, code=6, kind="ImageDecodeError", message="golden.png is empty")
