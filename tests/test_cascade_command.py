"""The cascade on the command line: its threshold from good parts, stored, gone by, and refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from line import assert_fails, inspect, noisy_line, save
from toy import MODEL, write_toy_bundle
from verdict_states import make_state

from adcopilot_edge.calibration.cascade import measure_cascade, measure_suspicion
from adcopilot_edge.calibration.conformal import upper_limit_bound, upper_share
from adcopilot_edge.errors import CalibrationError, ConfigError, StateError
from adcopilot_edge.runtime.cascade import Cascade
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.verdict_store import VERDICTS

NUM_GOOD = 19
OPTIONS = ("--max-overkill", "0.05", "--max-review", "0.3", "--threads", "1")


@pytest.fixture
def line(tmp_path, image_pair, rng):
    """A line on which two of six bad parts can't be told from good ones."""
    folder = tmp_path / "line"
    noisy_line(folder, image_pair, rng, num_good=NUM_GOOD, step=1 / 2, num_bad=4)
    for index in range(2):
        part = image_pair[0].copy()
        part[index, 1] ^= 1
        save(part, folder / "bad" / f"quiet-{index}.png")
    return folder


@pytest.fixture
def bundle(damaged_bundle):
    return damaged_bundle


@pytest.fixture
def words(bundle, line):
    folders = ("--golden", line / "golden.png", "--good", line / "good")
    return ["calibrate", bundle, *folders, *OPTIONS, "--cascade", "--max-asked", "0.2"]


def suspicions(bundle, line, kind):
    inspector = Inspector.open(bundle, num_threads=1, calibrated=False)
    golden = inspector.golden(line / "golden.png")
    paths = sorted((line / kind).iterdir())
    return {path: measure_suspicion(inspector.engine, golden, path) for path in paths}


def test_from_parts_to_a_cascade(cli, words, line, bundle):
    code, out, _ = cli(*words, "--bad", line / "bad", "--json")
    assert code == 0
    state, good = json.loads(out), suspicions(bundle, line, "good")
    found = state["cascade"]
    # (19 + 1) * 0.2 = 4: the fourth highest.
    assert found["threshold"] == sorted(good.values())[-4]
    assert (found["max_asked"], found["good_passing"]) == (0.2, 16)
    assert found["asked_bound"] == upper_limit_bound(19, 0.2, 0.95)
    bad = suspicions(bundle, line, "bad")
    assert found["bad_passing"] == sum(it <= found["threshold"] for it in bad.values()) == 2
    assert found["bad_passing_bound"] == upper_share(2, 6, 0.95)
    assert found["escapes"] >= max(state["bad"]["escapes"], 2)

    paths = {}
    for path, value in {**good, **bad}.items():
        code, result = inspect(
            cli, bundle, line / "golden.png", path, "--cascade", "--audit-share", "0"
        )
        assert code == 0
        assert (result["path"] == "map") == (value <= found["threshold"])
        assert result["calibration"] == state["id"]
        if result["path"] == "map":
            assert result["verdict"] == "normal"
            assert result["anomaly_score"] == pytest.approx(value, abs=1e-6)
        paths[path.name] = result["path"]
    assert (paths["quiet-0.png"], paths["0.png"]) == ("map", "model")
    # Off by default: the same state, and the model is asked about every part.
    quiet = line / "good" / "00.png"
    assert inspect(cli, bundle, line / "golden.png", quiet)[1]["path"] == "model"


def test_an_audit_is_asked_for_by_its_share(cli, words, line, bundle):
    assert cli(*words)[0] == 0
    pair = (line / "golden.png", line / "good" / "00.png")
    assert inspect(cli, bundle, *pair, "--cascade", "--audit-share", "1")[1]["path"] == "audit"
    told = cli("inspect", *pair, "--bundle", bundle, "--threads", 1, "--cascade")[1]
    assert "\ndecided by the anomaly map alone" in told
    told = cli("inspect", *pair, "--bundle", bundle, "--threads", 1)[1]
    assert "decided by" not in told


def test_for_people(cli, words, line):
    out = cli(*words, "--bad", line / "bad")[1]
    assert "of good parts 16 of 19 pass: at least 0.8 on average over calibrations" in out
    assert "of bad parts 2 of 6 pass, so at most 0.7287" in out
    assert "escapes with the cascade: " in out
    out = cli(*words)[1]
    assert "how many bad parts pass unseen is not known: measure some with --bad" in out
    assert "cascade" not in cli(*words[:-3])[1]


def test_no_stored_threshold(cli, words, line, bundle):
    pair = (line / "golden.png", line / "good" / "00.png")
    code, error = inspect(cli, bundle, *pair, "--cascade")
    assert (code, error["kind"]) == (5, "StateError")
    assert "no verdict state is in use" in error["message"]
    assert "calibrate --cascade" in error["message"]
    assert cli(*words[:-3])[0] == 0  # a calibration without a cascade
    code, error = inspect(cli, bundle, *pair, "--cascade")
    assert (code, error["kind"]) == (5, "StateError")
    assert "has none" in error["message"]
    with pytest.raises(StateError, match="no threshold of the cascade"):
        Inspector.open(bundle, num_threads=1, calibrated=False).inspect(*pair, cascade=Cascade())


def test_a_state_of_another_bundle(cli, words, line, bundle):
    assert cli(*words)[0] == 0
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text() + " \n")  # another export has another id
    pair = (line / "golden.png", line / "good" / "00.png")
    code, error = inspect(cli, bundle, *pair, "--cascade")
    assert (code, error["kind"]) == (5, "StateError")
    assert "was measured with the bundle" in error["message"]


def test_a_bundle_without_a_map(cli, line, tmp_path):
    model = MODEL.model_copy(update={"compare_token_size": 0, "has_anomaly_map": False})
    plain = write_toy_bundle(tmp_path / "plain", model).path
    folders = ("--golden", line / "golden.png", "--good", line / "good")
    words = ["calibrate", plain, *folders, *OPTIONS, "--cascade"]
    assert_fails(cli, words, code=2, kind="ConfigError", message="has no anomaly map")
    code, error = inspect(cli, plain, line / "golden.png", line / "good" / "00.png", "--cascade")
    assert (code, error["kind"]) == (2, "ConfigError")
    assert cli(*words[:-1])[0] == 0


def test_too_few_good_parts(cli, words):
    words[-1] = "0.01"
    message = "19 good parts can't bound a share of 0.01: at least 99 are needed"
    assert_fails(cli, words, code=5, kind="TooFewSamplesError", message=message)
    assert "good 1/19" not in cli(*words)[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-asked", "1.5"], "max_asked must be between 0 and 1"),
        (["--tile"], "tiles have no cascade"),
        (["--roll-back"], "--roll-back goes with"),
    ],
)
def test_calibrations_that_can_not_be(cli, words, options, message):
    assert_fails(cli, [*words, *options], code=2, kind="ConfigError", message=message)


def test_options_without_a_cascade(cli, words, line, bundle):
    alone = [word for word in words if word != "--cascade"]
    message = "--max-asked goes with --cascade"
    assert_fails(cli, alone, code=2, kind="ConfigError", message=message)
    pair = (line / "golden.png", line / "good" / "00.png")
    for options, message in (
        (["--audit-share", "0.1"], "--audit-share goes with --cascade"),
        (["--cascade", "--uncalibrated"], "leave --uncalibrated out"),
        (["--cascade", "--audit-share", "2"], "audit_share must be in 0..1"),
        (["--cascade", "--tile"], "no cascade"),
    ):
        code, error = inspect(cli, bundle, *pair, *options)
        assert (code, error["kind"]) == (2, "ConfigError")
        assert message in error["message"]


def test_maps_that_leave_no_room():
    none, normal = np.empty(0), np.empty(0, dtype=np.bool_)
    for good in (np.ones(9), np.full(9, np.nan)):
        with pytest.raises(CalibrationError, match="every part would pass"):
            measure_cascade(good, none, normal, max_asked=0.1, confidence=0.95)
    with pytest.raises(ConfigError):
        measure_cascade(np.zeros(9), none, normal, max_asked=1, confidence=0.95)


def test_escapes_are_those_of_either(rng):
    good, bad = rng.random(99), np.array([0.0, 0.0, 2.0, 2.0])
    says_normal = np.array([True, False, True, False])
    found = measure_cascade(good, bad, says_normal, max_asked=0.1, confidence=0.9)
    assert (found.bad_passing, found.escapes) == (2, 3)
    assert found.escape_bound == upper_share(3, 4, 0.9)


def test_states_from_before_are_read_as_they_were(tmp_path):
    """What a release without cascades wrote: no such key, and an id that is over the others."""
    content = make_state().model_dump(mode="json")
    del content["cascade"], content["ranges"]
    sha256 = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"id": sha256[:16], **content}))
    state = VERDICTS.read(path)
    assert (state.id, state.cascade) == (sha256[:16], None)


def test_a_threshold_that_was_edited_is_refused(cli, words, bundle):
    assert cli(*words)[0] == 0
    (path,) = (bundle / "verdicts").iterdir()
    content = json.loads(path.read_text())
    content["cascade"]["threshold"] = 0.99
    path.write_text(json.dumps(content))
    with pytest.raises(StateError, match="was edited"):
        VERDICTS.read(path)
