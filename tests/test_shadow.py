"""A second bundle beside the line's: when it is asked, what it notes, and that it hurts nobody."""

from __future__ import annotations

import time

import pytest
from daemon_fakes import FakeWorker, RunningDaemon, picture, running_daemon, station_file

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.messages import Refused
from adcopilot_edge.runtime.daemon.shadow import Shadow
from adcopilot_edge.runtime.daemon.shadow_summary import wilson_bounds
from adcopilot_edge.runtime.daemon.station import StationDaemon


class ShadowLine(RunningDaemon):  # type: ignore[misc]  # mypy sees no fakes
    """A daemon with a fake worker for the line and one for the shadow."""

    def __init__(self, folder, prepare=lambda worker: None, **shadow):
        self.workers: list[FakeWorker] = []

        def open_worker(setup):
            self.workers.append(FakeWorker(setup))
            if len(self.workers) == 2:
                prepare(self.workers[1])
            return self.workers[-1]

        table = {"bundle": folder / "other", "share": 1.0, **shadow}
        daemon = StationDaemon(station_file(folder, shadow=table), open_worker)
        super().__init__(daemon, self.workers[0])
        self.beside = self.workers[1]
        daemon.start()
        self.wait_until("ready")

    def inspect(self, verdict="normal", **data):
        answer = self.client.post("/v1/inspect", files={"image": picture(verdict)}, data=data)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for(self, claim):
        end = time.monotonic() + 20
        while not claim():
            assert time.monotonic() < end, self.summary()
            time.sleep(0.002)

    def summary(self):
        return self.client.get("/v1/shadow").json()

    def compared(self):
        bundles = self.summary()["bundles"]
        return bundles[0]["compared"] + bundles[0]["failed"] if bundles else 0

    def alarm(self):
        return next((it.message for it in self.daemon.alarms.all() if it.name == "shadow"), "")

    def close(self):
        for worker in self.workers:
            worker.gate.set()
        self.daemon.line.drain(0.0)
        self.daemon.stop()


@pytest.fixture
def line(tmp_path):
    line = ShadowLine(tmp_path)
    line.wait_for(lambda: line.daemon.shadow.bundle is not None)
    yield line
    line.close()


def test_it_inspects_what_the_line_did(line):
    record = line.inspect("anomaly")
    line.wait_for(lambda: line.compared() == 1)
    (job,) = line.beside.jobs
    assert (job.number, job.tasks, job.takt_ms) == (record["id"], (), None)
    (found,) = line.summary()["bundles"]
    assert (found["bundle"], found["agree"], found["disagree"]) == ("fake-bundle", 1, 0)
    assert found["by_verdict"] == [{"line": "anomaly", "shadow": "anomaly", "count": 1}]
    assert found["disagreement"]["high"] == pytest.approx(wilson_bounds(0, 1)[1], abs=1e-6)
    assert found["rejected_of_passed"]["share"] is None


def test_its_setup_is_the_lines_with_another_bundle(line, tmp_path):
    assert line.beside.setup.bundle == tmp_path / "other"
    assert (line.beside.setup.nice, line.worker.setup.nice) == (19, 0)
    assert line.beside.setup.products == line.worker.setup.products


def test_a_disagreement_is_told_with_the_part(line, monkeypatch):
    from dataclasses import replace

    from daemon_fakes import inspection_of

    def other(job):
        from adcopilot_edge.runtime.daemon.messages import Done

        found = replace(inspection_of(job.image), verdict="normal", anomaly_score=0.25)
        yield Done(number=job.number, inspection=found)

    monkeypatch.setattr(line.beside, "_answers", other)
    record = line.inspect("anomaly")
    line.wait_for(lambda: line.compared() == 1)
    (found,) = line.summary()["bundles"]
    assert found["disagreements"] == [
        {
            "part": record["id"],
            "line": "anomaly",
            "line_score": 0.875,
            "shadow": "normal",
            "shadow_score": 0.25,
        }
    ]
    assert found["passed_of_rejected"]["count"] == 1


def test_what_it_said_of_a_part_goes_with_the_part(line):
    record = line.inspect()
    line.wait_for(lambda: line.compared() == 1)
    line.daemon.journal.write(
        lambda c: c.execute("DELETE FROM parts WHERE id = ?", (record["id"],))
    ).result(20)
    assert line.summary()["bundles"] == []


def test_a_failure_of_it_is_no_disagreement(line):
    line.beside.fault = ValueError("a graph failed")
    record = line.inspect()
    line.wait_for(lambda: line.compared() == 1)
    (found,) = line.summary()["bundles"]
    assert (found["compared"], found["failed"]) == (0, 1)
    assert found["failures"] == [{"part": record["id"], "problem": "a graph failed"}]


def test_one_part_at_a_time_and_at_most_one_waits(line):
    line.beside.gate.clear()
    records = [line.inspect()]
    line.wait_for(lambda: len(line.beside.jobs) == 1)
    records += [line.inspect() for _ in range(3)]
    line.wait_for(lambda: line.daemon.shadow.dropped == 2)
    line.beside.gate.set()
    line.wait_for(lambda: line.compared() == 2)
    assert [job.number for job in line.beside.jobs] == [records[0]["id"], records[1]["id"]]


def test_what_waits_is_dropped_when_the_line_is_busy(line):
    line.beside.gate.clear()
    line.inspect()
    line.wait_for(lambda: len(line.beside.jobs) == 1)
    line.inspect()
    line.worker.gate.clear()
    ticket = line.daemon.submit(picture(), source="test")
    line.wait_for(lambda: line.daemon.line.queued == 1)
    line.beside.gate.set()
    line.wait_for(lambda: line.daemon.shadow.dropped == 1)
    line.worker.gate.set()
    ticket.done.result(20)
    assert len(line.beside.jobs) <= 2  # the dropped one never came


def test_it_rests_when_the_line_had_no_time(tmp_path):
    line = ShadowLine(tmp_path)
    try:
        line.wait_for(lambda: line.daemon.shadow.bundle is not None)
        line.worker.gate.clear()
        recipe = line.daemon.settings.product("cap").model_copy(update={"takt_ms": 20.0})
        slow = line.daemon.settings.model_copy(update={"products": (recipe,)})
        line.daemon.use_settings(slow)
        late = line.daemon.submit(picture(), source="test").done.result(20)
        assert late.reason == "takt_overrun"
        line.worker.gate.set()
        line.daemon.use_settings(
            slow.model_copy(update={"products": (recipe.model_copy(update={"takt_ms": None}),)})
        )
        line.inspect()
        line.wait_for(lambda: line.daemon.shadow.dropped == 1)
        assert line.beside.jobs == []
    finally:
        line.close()


def test_its_death_is_an_alarm_and_the_line_goes_on(line):
    for count in range(1, 4):
        line.beside.die()
        assert line.inspect()["verdict"] == "normal"
        line.wait_for(lambda count=count: line.beside.starts == count + 1)
        assert "started anew" in line.alarm()
        line.wait_for(lambda: line.daemon.shadow._is_ready)
    line.beside.die()
    line.inspect()
    line.wait_for(lambda: "is off now" in line.alarm())
    line.wait_for(lambda: not line.summary()["running"]["is_running"])
    assert line.inspect()["verdict"] == "normal"
    assert line.daemon.life.is_ready
    assert line.client.get("/readyz").status_code == 200


def test_an_alarm_is_over_when_it_works_again(line):
    line.beside.die()
    line.inspect()
    line.wait_for(lambda: line.beside.starts == 2 and line.daemon.shadow._is_ready)
    line.inspect()
    line.wait_for(lambda: line.compared() == 1)
    line.wait_for(lambda: line.alarm() == "")


def test_a_bundle_that_can_not_be_used(tmp_path):
    def refuse(worker):
        worker.refusal = Refused(message="there is no bundle", exit_code=3)

    line = ShadowLine(tmp_path, refuse)
    try:
        line.wait_for(lambda: "can't be used: there is no bundle" in line.alarm())
        assert line.inspect()["verdict"] == "normal"
    finally:
        line.close()


def test_an_inspection_that_hangs(tmp_path):
    line = ShadowLine(tmp_path)
    try:
        line.wait_for(lambda: line.daemon.shadow.bundle is not None)
        line.daemon.shadow._stuck_after_s = 0.05
        line.beside.gate.clear()
        line.inspect()
        line.wait_for(lambda: "hung for more than" in line.alarm())
    finally:
        line.close()


def test_it_follows_the_products(line):
    answer = line.client.post("/v1/products/cap/goldens", files={"image": picture(seed=5)})
    line.client.post(f"/v1/products/cap/goldens/{answer.json()['id']}/approve")
    line.wait_for(lambda: line.beside.taken)
    assert line.beside.taken[0].products == line.worker.taken[0].products


def test_products_that_it_can_not_take(line):
    line.beside.problem = "a graph failed"
    line.daemon.shadow.use_products(line.worker.setup.products)
    line.wait_for(lambda: "can't take the products: a graph failed" in line.alarm())
    assert line.inspect()["verdict"] == "normal"


def test_a_share(tmp_path):
    line = ShadowLine(tmp_path, share=0.000001)
    try:
        line.wait_for(lambda: line.daemon.shadow.bundle is not None)
        line.inspect()
        assert (line.beside.jobs, line.daemon.shadow.dropped) == ([], 0)
    finally:
        line.close()


def test_without_one(tmp_path):
    with running_daemon(tmp_path) as running:
        assert running.client.get("/v1/shadow").json() == {"running": None, "bundles": []}
        assert running.daemon.shadow is None


def test_stopped_before_it_was_started(tmp_path):
    with running_daemon(tmp_path) as running:
        shadow = Shadow(
            worker=FakeWorker(running.worker.setup),
            share=1.0,
            stuck_after_s=1.0,
            line=running.daemon.line,
            journal=running.daemon.journal,
            alarms=running.daemon.alarms,
        )
        shadow.stop()
        shadow.stop()


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (5, 10, 0.236593, 0.763407),
        (10, 10, 0.722467, 1.0),
        (1, 1000, 0.000177, 0.005643),
    ],
)
def test_wilson_bounds(count, total, low, high):
    assert wilson_bounds(count, total) == pytest.approx((low, high), abs=2e-6)


@pytest.mark.parametrize(("count", "total"), [(0, 0), (-1, 2), (3, 2)])
def test_wilson_bounds_of_no_share(count, total):
    with pytest.raises(ConfigError, match="a share needs"):
        wilson_bounds(count, total)
