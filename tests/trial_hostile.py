"""Trial: hostile inputs; no crash, no hang, no 500, and no memory that grows.

python tests/trial_hostile.py --inputs 5000
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from daemon_process import GOLDEN, Client, DaemonProcess, daemon_process, show, station_toml
from hostile_inputs import HostileImages, raw_requests, send_raw, toml_survives

from adcopilot_edge.runtime.daemon.station_file import read_station_file

_WARM_UPS = 100


def run(folder: Path, *, inputs: int, seed: int = 0) -> dict[str, Any]:
    """Send ``inputs`` of them: seven pictures, two requests and a station file of ten."""
    rng, images = random.Random(seed), HostileImages(seed)
    config = station_toml(folder)
    pictures: Counter[int] = Counter()
    requests: Counter[str] = Counter()
    slowest = 0.0
    files = 0
    with daemon_process(config) as daemon:
        daemon.wait_ready()
        client = Client(daemon.address)
        for _ in range(min(_WARM_UPS, inputs // 2)):
            client.send(images.next())
        before = _state(daemon)
        middle = before
        for turn in range(inputs):
            if turn == inputs // 2:
                middle = _state(daemon)
            if turn % 10 < 7:
                image = images.next()
                answer = client.send(image)
                assert answer.status in (200, 422), (turn, answer, daemon.words())
                assert answer.body["verdict"] in ("normal", "anomaly", "uncertain")
                pictures[answer.status] += 1
                slowest = max(slowest, answer.seconds)
            elif turn % 10 < 9:
                told = send_raw(daemon.address, raw_requests(rng), rng)
                status = told.split(b" ", 2)[1].decode() if told.startswith(b"HTTP/") else "none"
                assert not status.startswith("5"), (turn, told)
                requests[status] += 1
            else:
                files += toml_survives(config.read_text(), lambda text: _read(folder, text), rng)
        good = client.send(GOLDEN.read_bytes())
        assert good.body["verdict"] in ("normal", "anomaly", "uncertain"), good
        after = _state(daemon)
        told = daemon.health()
        client.close()
        code = daemon.stop()
    return {
        "inputs": inputs,
        "pictures_by_status": dict(sorted(pictures.items())),
        "requests_by_status": dict(sorted(requests.items())),
        "station_files": files,
        "slowest_picture_s": round(slowest, 2),
        "worker_restarts": told["counters"]["worker_restarts"],
        "alarms": told["alarms"],
        "memory_mb": [before[0], middle[0], after[0]],
        "open_files": [before[1], middle[1], after[1]],
        "threads": [before[2], middle[2], after[2]],
        "last_exit_code": code,
    }


def _state(daemon: DaemonProcess) -> tuple[float, int, int]:
    family = daemon.family()
    return (
        round(sum(process.memory_info().rss for process in family) / 2**20, 1),
        sum(process.num_fds() for process in family),
        sum(process.num_threads() for process in family),
    )


def _read(folder: Path, text: str) -> object:
    path = folder / "hostile.toml"
    path.write_text(text, encoding="utf-8")
    return read_station_file(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show("hostile inputs", run(Path(place), inputs=given.inputs, seed=given.seed))
