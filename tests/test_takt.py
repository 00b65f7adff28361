"""The time of an inspection: what is dropped, cut and reported, by a clock of the test's own."""

from __future__ import annotations

import pytest

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime import takt as takt_module
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.takt import DROP_ORDER, Pace, Takt, overrun_notes

# A run of the decoder takes 1 ms and 0.1 ms a token; all else takes no time.
RUN_MS, TOKEN_MS = 1.0, 0.1
WORDS = 20
ALL = {"task": "all", "ask": "Why?", "max_new_tokens": WORDS, "constrained": False}


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.ms = 1000.0

    def __call__(self) -> float:
        return self.ms


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(takt_module, "now_ms", clock)
    return clock


@pytest.fixture
def inspector(toy_bundle, clock, monkeypatch):
    inspector = Inspector(open_engine(open_bundle(toy_bundle.path), provider="cpu", num_threads=1))
    decoder = inspector.engine.dialogue._decoder
    run = decoder._run

    def slow(embeds, end):
        clock.ms += RUN_MS + TOKEN_MS * embeds.shape[1]
        return run(embeds, end)

    monkeypatch.setattr(decoder, "_run", slow)
    return inspector


@pytest.fixture
def pair(inspector, image_pair):
    """The golden, read already, and the test image."""
    return inspector.golden(image_pair[0]), image_pair[1]


def verdict_ms(inspector, pair, clock):
    before = clock.ms
    inspector.inspect(*pair)
    return clock.ms - before


def test_without_a_takt_nothing_is_dropped_or_said(inspector, pair):
    inspection = inspector.inspect(*pair, **ALL)
    assert set(inspection.text) == {"classify", "locate", "describe", "ask"}
    assert not [note for note in inspection.notes if note.startswith("takt")]
    assert inspection.takt_overrun_ms is None
    assert inspection.to_json()["takt_overrun_ms"] is None


def test_a_takt_that_is_long_enough_changes_nothing(inspector, pair):
    free = inspector.inspect(*pair, **ALL)
    timed = inspector.inspect(*pair, **ALL, takt_ms=1e6)
    assert timed.takt_overrun_ms == 0
    assert list(timed.text.items()) == list(free.text.items())
    assert timed.notes == free.notes


def test_questions_are_dropped_in_the_stated_order(inspector, pair, clock):
    needed = verdict_ms(inspector, pair, clock)
    for kept in range(5):
        inspector._pace = pace = Pace()
        inspector.inspect(*pair, **ALL)  # all answers are measured
        costs = [pace.expected_ms(name) for name in reversed(DROP_ORDER)]
        assert min(costs) > WORDS * RUN_MS
        takt_ms = needed + sum(costs[:kept]) + 0.5
        inspection = inspector.inspect(*pair, **ALL, takt_ms=takt_ms)
        assert set(inspection.text) == set(DROP_ORDER[4 - kept :])
        dropped = [f"takt_dropped:{name}" for name in DROP_ORDER[: 4 - kept]]
        assert [note for note in inspection.notes if "takt" in note] == dropped
        assert (inspection.verdict, inspection.takt_overrun_ms) == ("anomaly", 0)


def test_an_answer_is_cut_at_the_deadline(inspector, pair, clock):
    needed = verdict_ms(inspector, pair, clock)
    before = clock.ms
    inspection = inspector.inspect(
        *pair, task="describe", max_new_tokens=WORDS, takt_ms=needed + 15
    )
    assert clock.ms - before <= needed + 15
    assert clock.ms - before > needed + 15 - 2 * (RUN_MS + TOKEN_MS)
    assert inspection.notes == ("answer_truncated:describe", "takt_cut:describe")
    whole = inspector.inspect(*pair, task="describe", max_new_tokens=WORDS).text["describe"]
    assert whole.startswith(inspection.text["describe"])
    assert 0 < len(inspection.text["describe"]) < len(whole)


def test_the_verdict_is_never_dropped_and_an_overrun_is_said(inspector, pair, clock):
    needed = verdict_ms(inspector, pair, clock)
    inspection = inspector.inspect(*pair, **ALL, takt_ms=needed - 2.5)
    assert (inspection.verdict, inspection.text) == ("anomaly", {})
    assert inspection.takt_overrun_ms == pytest.approx(2.5)
    assert inspection.notes[-1] == "takt_overrun:+3 ms"
    assert inspection.to_json()["takt_overrun_ms"] == pytest.approx(2.5)


def test_a_dropped_question_is_tried_again(inspector, pair, clock):
    needed = verdict_ms(inspector, pair, clock)
    inspector.inspect(*pair, task="describe", max_new_tokens=WORDS)
    takt_ms = needed + inspector._pace.expected_ms("describe") * 0.8
    texts = [
        inspector.inspect(*pair, task="describe", max_new_tokens=WORDS, takt_ms=takt_ms).text
        for _ in range(8)
    ]
    assert texts[0] == {}
    assert any(texts)


@pytest.mark.parametrize("takt_ms", [0, -1, float("nan"), float("inf")])
def test_a_takt_that_is_none(inspector, pair, takt_ms):
    with pytest.raises(ConfigError, match="takt_ms must be a positive number"):
        inspector.inspect(*pair, takt_ms=takt_ms)


def test_tiles_have_no_takt(inspector, pair):
    with pytest.raises(ConfigError, match="tiles and votes have no takt"):
        inspector.inspect(*pair, tile=True, takt_ms=100)


def test_the_time_of_an_answer_is_an_average(clock):
    pace = Pace()
    assert pace.expected_ms("ask") == 0
    pace.learn("ask", 100, was_cut=False)
    assert pace.expected_ms("ask") == 100
    pace.learn("ask", 200, was_cut=False)
    assert pace.expected_ms("ask") == 125
    pace.learn("ask", 30, was_cut=True)  # at least 30: nothing new
    assert pace.expected_ms("ask") == 125
    pace.learn("ask", 90, was_cut=True)
    assert pace.expected_ms("ask") == 180
    assert Takt(50, pace).fits("locate")
    assert not Takt(179, pace).fits("ask")
    pace.learn_dropped("ask")
    assert pace.expected_ms("ask") == 171
    assert Takt(179, pace).fits("ask")


def test_a_block_that_fails_teaches_nothing(clock):
    pace = Pace()
    with pytest.raises(ZeroDivisionError), Takt(50, pace).answering("ask"):
        clock.ms /= 0
    assert pace.expected_ms("ask") == 0


def test_the_note_of_an_overrun():
    assert overrun_notes(None) == overrun_notes(0.0) == ()
    assert overrun_notes(11.2) == ("takt_overrun:+12 ms",)


def test_the_command(cli, toy_bundle, image_pair, tmp_path):
    from PIL import Image

    for name, image in zip(("golden", "part"), image_pair, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    words = ["inspect", tmp_path / "golden.png", tmp_path / "part.png", "--bundle", toy_bundle.path]
    code, out, err = cli(*words, "--task", "all", "--takt-ms", "0.001", "--json")
    assert (code, err) == (0, "")
    assert '"takt_dropped:describe"' in out
    assert '"takt_overrun:+' in out
    code, _, err = cli(*words, "--takt-ms", "0")
    assert code == 2
    assert "takt_ms must be a positive number" in err
