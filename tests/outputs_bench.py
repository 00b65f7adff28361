"""What tests of outputs share: a journal that fills, outputs of a station file, and no worker."""

from __future__ import annotations

import socket
import time

from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.outputs.signals import Probe
from adcopilot_edge.runtime.daemon.outputs.ways_out import Outputs
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.station_file import StationFile

QUICK = {"retry_max_s": 0.05, "timeout_s": 20.0}


def station_file(*outputs, products=({"name": "lid"},), stations=("belt",)):
    return StationFile.model_validate(
        {
            "daemon": {"state": "state"},
            "stations": [{"name": name, "product": products[0]["name"]} for name in stations],
            "products": products,
            "outputs": outputs,
        }
    )


def final_record(number, **values):
    known = {
        "station": "belt",
        "product": "lid",
        "source": "http",
        "reference": None,
        "received_at": time.time(),
        "finished_at": time.time(),
        "verdict": "normal",
        "score": 0.125,
        "threshold": 0.5,
    }
    return FinalRecord(id=number, **{**known, **values})


def part_of(record):
    return Part(image=b"", station=record.station, product=record.product, source=record.source)


class Bench:
    """The ways out of a daemon that has no line: ``finish`` stands for it."""

    def __init__(self, folder, settings, **options):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.alarms = Alarms()
        self.journal = Journal(folder / "journal.sqlite")
        self.probe = Probe(state="ready", is_ready=True, queued=0)
        self.outputs = Outputs(
            settings,
            self.journal,
            self.alarms,
            images=folder / "images",
            probe=lambda: self.probe,
            **options,
        )

    def __enter__(self):
        self.outputs.start()
        return self

    def __exit__(self, *raised):
        self.close()

    def close(self):
        self.outputs.stop()
        self.journal.close()

    def finish(self, count=1, **values):
        """End ``count`` parts; the numbers of their records."""
        records = [final_record(self.journal.next_id(), **values) for _ in range(count)]
        for record in records:
            part = part_of(record)
            self.journal.accept(record.id, part, record.received_at, "0" * 64)
            done = self.journal.finish(record, self.outputs.names_for(record.product))
        done.result()
        for record in records:
            self.outputs.on_final(record, part_of(record))
        return [record.id for record in records]

    def waiting(self, output):
        rows = self.journal.read("SELECT part FROM outbox WHERE output = ? ORDER BY part", output)
        return [row["part"] for row in rows]

    def alarm(self, name):
        found = [alarm.message for alarm in self.alarms.all() if alarm.name == name]
        return found[0] if found else None


def until(holds, seconds=30.0):
    """Wait until ``holds()`` is true; what it gave."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
