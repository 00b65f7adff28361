"""``/metrics``: what the daemon counts and measures, for Prometheus, in a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adcopilot_edge import __version__
from adcopilot_edge.runtime.daemon.life import STATES
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.station import StationDaemon

router = APIRouter(tags=["health"])

_STAGE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """The measurements of one daemon, from when this is made."""

    def __init__(self, daemon: StationDaemon) -> None:
        self.registry = CollectorRegistry()
        self._parts = Counter(
            "adcopilot_parts",
            "Parts with a final record. reason is empty where the model or the map decided.",
            ("station", "product", "verdict", "reason"),
            registry=self.registry,
        )
        self._stages = Histogram(
            "adcopilot_stage_seconds",
            "Time of a part by stage; part is from acceptance to the final record.",
            ("stage",),
            buckets=_STAGE_S,
            registry=self.registry,
        )
        commits = Histogram(
            "adcopilot_journal_commit_seconds",
            "Time of a commit of the journal, until it is on the disk.",
            buckets=_COMMIT_S,
            registry=self.registry,
        )
        self.registry.register(_Present(daemon))
        ProcessCollector(registry=self.registry)
        ProcessCollector(
            namespace="adcopilot_worker",
            pid=lambda: daemon.worker.pid or -1,
            registry=self.registry,
        )
        daemon.on_final(self._count)
        daemon.journal.on_commit(commits.observe)

    def _count(self, record: FinalRecord, part: Part) -> None:
        self._parts.labels(
            record.station, record.product, record.verdict, record.reason or ""
        ).inc()
        for stage, ms in record.timings_ms.items():
            self._stages.labels(stage).observe(ms / 1000)


class _Present(Collector):
    """What the daemon knows already, read when it is asked for."""

    def __init__(self, daemon: StationDaemon) -> None:
        self._daemon = daemon

    def describe(self) -> list[Metric]:
        """Nothing beforehand: names are checked when they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The counters of the line, its queue, the state and the alarms."""
        line, counters = self._daemon.line, self._daemon.line.counters
        yield _counter("adcopilot_parts_accepted", "Parts accepted.", counters.accepted)
        refused = CounterMetricFamily(
            "adcopilot_parts_refused", "Parts that were not accepted.", labels=("reason",)
        )
        refused.add_metric(["queue_full"], counters.refused_full)
        refused.add_metric(["not_ready"], counters.refused_not_ready)
        yield refused
        yield _counter(
            "adcopilot_parts_interrupted",
            "Parts that the daemon before left open, ended as uncertain.",
            self._daemon.interrupted,
        )
        yield _counter(
            "adcopilot_late_results",
            "Results that came after their part was ended.",
            counters.late,
        )
        yield _counter(
            "adcopilot_worker_restarts",
            "Times the process that inspects was started anew.",
            counters.restarts,
        )
        yield GaugeMetricFamily(
            "adcopilot_queue_parts", "Parts that wait or are inspected.", line.queued
        )
        yield GaugeMetricFamily(
            "adcopilot_queue_size_parts",
            "Parts that may wait.",
            self._daemon.settings.daemon.queue_size,
        )
        yield self._state()
        yield self._alarms()
        build = GaugeMetricFamily(
            "adcopilot_build_info",
            "Release, bundle and engine in use.",
            labels=("version", "bundle", "engine"),
        )
        build.add_metric([__version__, line.bundle or "", line.engine or ""], 1)
        yield build

    def _state(self) -> Metric:
        state = GaugeMetricFamily(
            "adcopilot_state", "1 for the state that the daemon is in.", labels=("state",)
        )
        present = self._daemon.life.state
        for name in STATES:
            state.add_metric([name], name == present)
        return state

    def _alarms(self) -> Metric:
        alarms = GaugeMetricFamily(
            "adcopilot_alarm", "1 for each alarm that is raised.", labels=("name", "stops_line")
        )
        for alarm in self._daemon.alarms.all():
            alarms.add_metric([alarm.name, str(alarm.stops_line).lower()], 1)
        return alarms


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(metrics: Annotated[Metrics, Depends(_metrics)]) -> Response:
    """Counters and measurements in the text format of Prometheus."""
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value)
