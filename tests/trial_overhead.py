"""Trial: what the daemon adds to a direct call of ``Inspector``, in pairs of turns in one run.

python tests/trial_overhead.py --pairs 300 --bundle bundle
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from daemon_process import GOLDEN, PART, Client, daemon_process, percentile, show, station_toml

from adcopilot_edge.runtime.inspector import Inspector

_WARM_UPS = 10


def run(folder: Path, *, pairs: int, bundle: Path | None = None) -> dict[str, Any]:
    """Inspect a part directly and through the daemon by turns; the figures.

    bundle: the embedded one where there is none.
    """
    images = [GOLDEN.read_bytes(), PART.read_bytes()]
    inspector = Inspector.open(bundle, num_threads=1)
    golden = inspector.golden(GOLDEN)
    direct: list[float] = []
    through: list[float] = []
    inside: list[float] = []
    bare: list[float] = []  # an answer of the daemon that takes no part
    chosen = {} if bundle is None else {"bundle": str(bundle.resolve())}
    with daemon_process(station_toml(folder, **chosen)) as daemon:
        daemon.wait_ready()
        client = Client(daemon.address)
        own = daemon.family()[0]
        before_s = sum(own.cpu_times()[:2])
        for turn in range(pairs + _WARM_UPS):
            image = images[turn % 2]
            began = time.monotonic()
            inspector.inspect(golden, image)
            direct.append(time.monotonic() - began)
            answer = client.send(image)
            assert answer.status == 200, answer
            through.append(answer.seconds)
            inside.append(answer.body["timings_ms"]["total"] / 1000)
            began = time.monotonic()
            assert client.get("/readyz") == 200
            bare.append(time.monotonic() - began)
        cpu_s = (sum(own.cpu_times()[:2]) - before_s) / (pairs + _WARM_UPS)
        client.close()
        daemon.stop()
    direct, through, inside = direct[_WARM_UPS:], through[_WARM_UPS:], inside[_WARM_UPS:]
    added = [there - here for here, there in zip(direct, through, strict=True)]
    outside = [there - own for there, own in zip(through, inside, strict=True)]
    median = statistics.median(direct)
    return {
        "pairs": pairs,
        "direct_ms_p50": round(1000 * median, 2),
        "daemon_ms_p50": round(1000 * statistics.median(through), 2),
        "added_ms_p50": round(1000 * statistics.median(added), 2),
        "added_percent_p50": round(100 * statistics.median(added) / median, 1),
        "processor_of_the_daemon_ms": round(1000 * cpu_s, 2),
        "bare_answer_ms_p50": round(1000 * statistics.median(bare[_WARM_UPS:]), 2),
        "outside_inspection_ms_p50": round(1000 * statistics.median(outside), 2),
        "outside_inspection_ms_p90": round(1000 * percentile(outside, 0.9), 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--bundle", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show("overhead of the daemon", run(Path(place), pairs=given.pairs, bundle=given.bundle))
