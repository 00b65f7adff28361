"""``doctor --tune``: what is tried, what is chosen by given times, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from adcopilot_edge.commands import tune as command
from adcopilot_edge.errors import ConfigError, StateError
from adcopilot_edge.runtime import memory
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.profile import tune as tuning_module
from adcopilot_edge.runtime.profile.subject import Trial
from adcopilot_edge.runtime.profile.tune import DEFAULT, Run, Tuning, _candidates, tune
from adcopilot_edge.runtime.threads import ThreadSettings

ONE, TWO = ThreadSettings(num_threads=1), ThreadSettings(num_threads=2)
CANDIDATES = [ONE, TWO]
# The milliseconds of a verdict, by settings and the number of the session with these settings.
Times = Callable[[ThreadSettings, int], float]


def trial(ms: float) -> Trial:
    return Trial(
        start_s=0.0,
        latency_ms=2 * ms,
        stages_ms={"vision": ms / 2, "prefill": ms / 4, "verdict": ms / 4, "describe": ms},
        decode_ms={"describe": ms},
        written_tokens={"describe": 5},
    )


def opener(times: Times) -> Callable[[ThreadSettings], Run]:
    opened: dict[ThreadSettings, int] = {}

    def open_run(settings: ThreadSettings) -> Run:
        session = opened[settings] = opened.get(settings, -1) + 1
        runs = count()
        # Every other trial is slow, for both sides of a pair.
        return lambda _: trial(times(settings, session) * (1 + 0.02 * (next(runs) % 3)))

    return open_run


def tuned(times: Times, *, rounds: int = 20, waits: list[float] | None = None) -> Tuning:
    ticks = count()
    return tune(
        CANDIDATES,
        opener(times),
        max_time_s=rounds * (len(CANDIDATES) + 2),
        clock=lambda: float(next(ticks)),
        pause=([] if waits is None else waits).append,
    )


def test_a_faster_setting_is_chosen() -> None:
    waits: list[float] = []
    result = tuned(lambda settings, _: 8.0 if settings == ONE else 10.0, waits=waits)
    assert result.chosen == ONE
    assert result.confirmed is not None
    assert result.confirmed.ratio == pytest.approx(0.8, abs=0.02)
    assert "of the default's time" in result.reason
    (row, other) = result.candidates
    assert row.settings == ONE
    assert set(row.figures_ms) == {"verdict", "vision", "prefill", "decode step"}
    assert row.figures_ms["decode step"] == pytest.approx(row.figures_ms["verdict"] / 4)
    assert other.ratio == pytest.approx(1, abs=0.02)
    assert len(waits) == 4 * sum(
        it.num_rounds for it in (result.control, row, other, result.confirmed)
    )


def test_the_fastest_of_several() -> None:
    speeds = {ONE: 9.0, TWO: 5.0, DEFAULT: 10.0}
    assert tuned(lambda settings, _: speeds[settings]).chosen == TWO


@pytest.mark.parametrize("ms", [10.0, 9.9, 12.0])
def test_the_default_stays_where_nothing_is_faster(ms: float) -> None:
    result = tuned(lambda settings, _: 10.0 if settings == DEFAULT else ms)
    assert result.is_default
    assert result.confirmed is None
    assert "nothing beats the default" in result.reason


def test_luck_is_not_confirmed() -> None:
    result = tuned(lambda settings, session: 8.0 if (settings, session) == (ONE, 0) else 10.0)
    assert result.is_default
    assert result.confirmed is not None
    assert "measured again it was not" in result.reason


def test_no_setting_beats_the_scatter_of_the_default_itself() -> None:
    # Opened a second time the default itself is that much faster, so a gain like it is nothing.
    result = tuned(lambda settings, session: 10.0 if (settings, session) == (DEFAULT, 0) else 8.0)
    assert result.is_default
    assert result.control.ratio == pytest.approx(0.8, abs=0.02)


def test_too_little_time_chooses_nothing() -> None:
    result = tuned(lambda settings, _: 5.0 if settings == ONE else 10.0, rounds=2)
    assert result.is_default
    assert result.candidates[0].interval is None
    assert "--max-time" in result.reason
    assert not result.is_conclusive
    with pytest.raises(ConfigError, match="above 0"):
        tune(CANDIDATES, opener(lambda *_: 1.0), max_time_s=0)


def test_candidates() -> None:
    assert _candidates(1, []) == [ONE]
    assert _candidates(2, []) == [ONE, TWO, ThreadSettings(num_threads=2, spins=False)]
    many = _candidates(12, [(0, 2, 4, 6, 8, 10)])
    assert sorted({it.num_threads or 0 for it in many}) == [1, 2, 4, 6, 8, 12]
    assert many[-1] == ThreadSettings(num_threads=6, cores=(0, 2, 4, 6, 8, 10))
    assert len(set(many)) == len(many)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that nobody measured: one thread takes half."""
    monkeypatch.setattr(
        command, "_opener", lambda _: opener(lambda it, _: 5.0 if it == ONE else 10.0)
    )
    monkeypatch.setattr(tuning_module, "_PAUSE_S", 0.0)


def test_a_dry_run_writes_nothing(cli, damaged_bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr(tuning_module, "allowed_cores", lambda: frozenset({0, 1}))
    before = sorted(damaged_bundle.rglob("*"))
    code, out, _ = cli("doctor", damaged_bundle, "--tune", "--dry-run")
    assert code == 0
    assert "1 thread\n" in out
    assert "2 threads, not spinning" in out
    planned = json.loads(cli("doctor", damaged_bundle, "--tune", "--dry-run", "--json")[1])
    assert [it["num_threads"] for it in planned["candidates"]] == [1, 2, 2]
    assert sorted(damaged_bundle.rglob("*")) == before


@pytest.mark.usefixtures("given")
def test_what_is_chosen_is_stored_and_used(cli, damaged_bundle: Path) -> None:
    code, out, err = cli("doctor", damaged_bundle, "--tune", "--json")
    assert code == 0
    record = json.loads(out)
    assert record["stored"] in err
    assert record["default_chosen"] is False
    assert record["state"]["num_threads"] == 1
    engine = Inspector.open(damaged_bundle).engine
    assert engine.threads.state == record["state"]["id"]
    assert engine.threads.settings == ONE
    assert "1 thread" in cli("doctor", damaged_bundle)[1]
    code, out, _ = cli("doctor", damaged_bundle, "--tune")
    assert "again: 1 thread" in out
    assert "chosen     1 thread: measured again" in out


@pytest.mark.usefixtures("given")
def test_too_little_time_stores_nothing(cli, damaged_bundle: Path) -> None:
    code, out, _ = cli("doctor", damaged_bundle, "--tune", "--max-time", "0.000001", "--json")
    assert code == 1
    assert json.loads(out)["stored"] is None
    assert not (damaged_bundle / "threads").exists()


@pytest.mark.usefixtures("given")
def test_a_profile_names_them(cli, damaged_bundle: Path, image_pair, tmp_path: Path) -> None:
    assert cli("doctor", damaged_bundle, "--tune")[0] == 0
    for name, image in zip(("golden", "part"), image_pair, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    words = ["profile", damaged_bundle, "--no-limits", "--duration", "0.01", "--task", "verdict"]
    words += ["--golden", tmp_path / "golden.png", "--images", tmp_path / "part.png", "--json"]
    (tuned_case,) = json.loads(cli(*words)[1])["cases"]
    assert tuned_case["threads"] is None
    assert tuned_case["threads_in_use"].startswith("1 thread (tuned, ")
    (explicit,) = json.loads(cli(*words, "--threads", 2)[1])["cases"]
    assert (explicit["threads"], explicit["threads_in_use"]) == (2, "2 threads")


@pytest.mark.usefixtures("given")
def test_out(cli, damaged_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "threads.json"
    assert cli("doctor", damaged_bundle, "--tune", "--out", file)[0] == 0
    assert not (damaged_bundle / "threads").exists()
    assert Inspector.open(damaged_bundle, num_threads=file).engine.threads.settings == ONE


@pytest.mark.usefixtures("given")
def test_a_place_that_can_not_be_written(cli, damaged_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = cli("doctor", damaged_bundle, "--tune", "--out", tmp_path / "file" / "t.json")
    assert code == StateError.exit_code
    assert "can't write the thread settings" in err
    assert "--out" in err
    assert "measure" not in err.splitlines()[0]  # it says so before it measures


@pytest.mark.usefixtures("given")
def test_memory_for_one_bundle_only(cli, damaged_bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 10)
    code, _, err = cli("doctor", damaged_bundle, "--tune")
    assert code == ConfigError.exit_code
    assert "--sweep threads=1,2" in err


def test_options_without_tune(cli, tmp_path: Path) -> None:
    assert cli("doctor", "--dry-run")[0] == 2
    assert cli("doctor", "--out", tmp_path / "t.json")[0] == 2
    assert cli("doctor", "--tune", "--max-time", "soon")[0] == 2
