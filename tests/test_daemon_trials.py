"""The trials of the daemon in their short form; ``make trials`` runs all of them.

The long forms are the programs themselves: ``make soak``.
"""

from __future__ import annotations

import pytest
import trial_faults
import trial_hostile
import trial_kill
import trial_openapi
import trial_overhead
import trial_overload
import trial_power
import trial_soak
from daemon_process import show


def test_kills_under_load_lose_nothing(tmp_path):
    figures = trial_kill.run(tmp_path, rounds=2)
    show("kill -9 under load", figures)
    assert figures["accepted_parts"] >= figures["answered"] > 0
    assert figures["last_exit_code"] == 0


@pytest.mark.slow
def test_power_cuts_lose_nothing_that_was_answered(tmp_path):
    figures = trial_power.run(tmp_path, cuts=10)
    show("power cuts", figures)
    assert figures["answered_parts"] > 0


@pytest.mark.slow
def test_faults_are_told_and_recovered_from(tmp_path):
    figures = trial_faults.run(tmp_path)
    show("faults", figures)
    assert figures["stuck_reason"] == "worker_stuck"
    assert "used by another daemon" in figures["second_daemon"]


def test_hostile_inputs_do_no_harm(tmp_path):
    figures = trial_hostile.run(tmp_path, inputs=200)
    show("hostile inputs", figures)
    assert set(figures["pictures_by_status"]) == {200, 422}
    assert (figures["worker_restarts"], figures["last_exit_code"]) == (0, 0)


def test_no_request_of_the_description_gets_a_500(tmp_path):
    figures = trial_openapi.run(tmp_path, examples=5)
    show("requests of the description", figures)
    assert figures["routes"] > 25
    assert (figures["worker_restarts"], figures["last_exit_code"]) == (0, 0)


@pytest.mark.slow
def test_every_accepted_part_is_answered_in_an_overload(tmp_path):
    figures = trial_overload.run(tmp_path, seconds=10)
    show("overload", figures)
    assert figures["other_answers"] == 0
    assert sum(figures["verdicts"].values()) == figures["accepted"] > 0
    assert figures["refused_429"] > 0


@pytest.mark.slow
def test_a_steady_load_leaves_nothing_behind(tmp_path):
    figures = trial_soak.run(tmp_path, seconds=20)
    show("soak", figures)
    assert figures["answered_200"] == figures["parts"] > 0
    assert figures["alarms"] == []
    before, after = figures["open_files"]
    assert after <= before + 2


@pytest.mark.slow
def test_the_overhead_is_measured(tmp_path):
    figures = trial_overhead.run(tmp_path, pairs=20)
    show("overhead of the daemon", figures)
    assert figures["pairs"] == 20
