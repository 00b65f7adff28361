"""Daemons with a folder's input and a fake worker as processes of their own, to be killed.

``python folder_daemon.py FOLDER AFTER`` forks one that watches ``FOLDER/box`` for each line that it
reads, so that what they import is imported once. Each prints its number once it is there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from daemon_fakes import FakeWorker, station_file
from input_cases import folder_table

from adcopilot_edge.runtime.daemon.inputs.inputs import Inputs
from adcopilot_edge.runtime.daemon.messages import WorkerSetup
from adcopilot_edge.runtime.daemon.station import StationDaemon


def run(folder: Path, after: str) -> None:
    """Run until the process is killed, or what started it has ended."""
    starter = os.getppid()

    def open_worker(setup: WorkerSetup) -> FakeWorker:
        worker = FakeWorker(setup)
        worker.delay_s = 0.003
        return worker

    table = folder_table(folder / "box", after=after, in_flight=4)
    daemon = StationDaemon(station_file(folder, inputs=[table]), open_worker)
    Inputs(daemon)
    daemon.start()
    print(os.getpid(), flush=True)
    while os.getppid() == starter:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin.readline():
        if os.fork() == 0:
            run(Path(sys.argv[1]), sys.argv[2])
