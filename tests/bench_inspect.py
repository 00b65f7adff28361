"""Time an inspection with the embedded bundle: a table, then the same as one line of JSON.

``golden`` prepares the golden image from nothing, which a line does once for each product;
``inspection`` is the whole call that follows for every part, and the rows above it its stages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from statistics import median

import adcopilot_edge
from adcopilot_edge import Inspector

WARM_UP_TRIALS = 3
SAMPLES = Path(adcopilot_edge.__file__).parent / "assets" / "samples"


def main() -> None:
    options = parse_options()
    inspector = Inspector.open()
    times_ms: dict[str, list[float]] = {}
    for trial in range(WARM_UP_TRIALS + options.trials):
        started = time.perf_counter()
        golden = inspector.golden(options.golden, cache=False)
        prepared = time.perf_counter()
        inspection = inspector.inspect(golden, options.test, task=options.task)
        finished = time.perf_counter()
        if trial < WARM_UP_TRIALS:
            continue
        trial_ms = {
            "golden": (prepared - started) * 1000,
            **inspection.timings_ms,
            "inspection": (finished - prepared) * 1000,
        }
        for stage, ms in trial_ms.items():
            times_ms.setdefault(stage, []).append(ms)

    stages = {
        stage: {"median_ms": median(ms), "min_ms": min(ms), "max_ms": max(ms)}
        for stage, ms in times_ms.items()
    }
    print(f"{'stage':<20}{'median ms':>12}{'min ms':>12}{'max ms':>12}")
    for stage, row in stages.items():
        print(f"{stage:<20}" + "".join(f"{ms:>12.2f}" for ms in row.values()))
    report = {
        "bundle": inspection.bundle,
        "provider": inspection.provider,
        "precision": inspection.precision,
        "task": options.task,
        "warm_up_trials": WARM_UP_TRIALS,
        "trials": options.trials,
        "stages": stages,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "adcopilot_edge": adcopilot_edge.__version__,
    }
    print(json.dumps(report))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time an inspection with the embedded bundle.")
    parser.add_argument("golden", nargs="?", type=Path, default=SAMPLES / "golden.png")
    parser.add_argument("test", nargs="?", type=Path, default=SAMPLES / "test.png")
    parser.add_argument("--task", default="all", help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=20, help="default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
