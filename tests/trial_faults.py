"""Trial: a worker that hangs or dies, a disk that does not write, a second daemon, and the end.

python tests/trial_faults.py
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from daemon_process import (
    GOLDEN,
    ROOT,
    START_S,
    Client,
    DaemonProcess,
    Load,
    daemon_process,
    show,
    station_toml,
)

_STUCK_S = 2.0
_RESTARTS = 2


def run(folder: Path) -> dict[str, Any]:
    """Do each of them to a daemon; the figures."""
    config = station_toml(folder, stuck_after_s=_STUCK_S, restarts_per_hour=_RESTARTS)
    with daemon_process(config) as daemon:
        daemon.wait_ready()
        return {
            "second_daemon": _second(config),
            **_full_disk(daemon),
            **_hang(daemon),
            **_die(daemon),
            **_hang_once_more(daemon),
        }


def _second(config: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "adcopilot_edge", "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=START_S,
        check=False,
    )
    assert done.returncode == 7, done
    return done.stderr.strip().splitlines()[-1]


def _full_disk(daemon: DaemonProcess) -> dict[str, Any]:
    """No file of the daemon may grow for a while, as on a disk that is full."""
    client, image = Client(daemon.address), GOLDEN.read_bytes()
    assert client.send(image).status == 200
    pid = daemon.process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    failed = client.send(image)
    assert failed.status == 503, failed
    (alarm,) = daemon.health()["alarms"]
    assert alarm["name"] == "journal", alarm
    assert daemon.get("/readyz")[0] == 503
    refused = client.send(image)
    assert refused.status == 503, refused
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    began = time.monotonic()
    daemon.wait_until(lambda told: not told["alarms"], START_S)
    after_s = time.monotonic() - began
    assert client.send(image).status == 200
    client.close()
    return {
        "disk_full_alarm": alarm["message"].partition(": ")[2],
        "disk_full_recovery_s": round(after_s, 2),
    }


def _hang(daemon: DaemonProcess) -> dict[str, Any]:
    worker = daemon.worker()
    worker.suspend()
    client = Client(daemon.address)
    answer = client.send(GOLDEN.read_bytes())
    client.close()
    assert answer.status == 200, answer
    assert answer.body["verdict"] == "uncertain", answer
    began = time.monotonic()
    daemon.wait_until(lambda told: told["state"] == "ready", START_S)
    assert not worker.is_running()
    return {
        "stuck_reason": answer.body["reason"],
        "stuck_answer_s": round(answer.seconds, 2),
        "stuck_ready_again_s": round(time.monotonic() - began, 2),
    }


def _die(daemon: DaemonProcess) -> dict[str, Any]:
    load = Load(daemon.address, [GOLDEN.read_bytes()], clients=3)
    load.start()
    time.sleep(0.5)
    daemon.worker().kill()
    time.sleep(0.5)
    answers = load.stop()
    reasons = sorted(
        {answer.body.get("reason") or "" for answer in answers if answer.status == 200}
    )
    assert all(answer.status in (200, 503, 429) for answer in answers)
    daemon.wait_until(lambda told: told["state"] == "ready", START_S)
    return {"died_reasons": [reason for reason in reasons if reason]}


def _hang_once_more(daemon: DaemonProcess) -> dict[str, Any]:
    daemon.worker().suspend()
    client = Client(daemon.address)
    answer = client.send(GOLDEN.read_bytes())
    client.close()
    assert (answer.status, answer.body["verdict"]) == (200, "uncertain"), answer
    code = daemon.wait()
    assert code == 7, daemon.words()
    return {
        "budget_spent_exit_code": code,
        "budget_spent_words": daemon.words().strip().splitlines()[-1].partition("ERROR ")[2],
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as place:
        show("faults", run(Path(place)))
