"""Trial: requests that schemathesis makes of the daemon's own description; nobody gets a 500.

python tests/trial_openapi.py --examples 200
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from daemon_process import GOLDEN, Client, daemon_process, show, station_toml
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, checks
from schemathesis.core.result import Ok

_LEFT_OUT = ("/v1/live",)  # an answer without an end
_LONGEST_S = 30.0


def run(folder: Path, *, examples: int, number: int = 0) -> dict[str, Any]:
    """Send up to ``examples`` requests to each route; the figures."""
    statuses: Counter[int] = Counter()
    slowest = 0.0
    routes = 0

    def send(case: Case[Any]) -> None:
        nonlocal slowest
        began = time.monotonic()
        answer = case.call(timeout=_LONGEST_S)
        slowest = max(slowest, time.monotonic() - began)
        statuses[answer.status_code] += 1
        case.validate_response(
            answer,
            checks=[
                checks.not_a_server_error,
                checks.status_code_conformance,
                checks.content_type_conformance,
                checks.response_schema_conformance,
            ],
        )

    with daemon_process(station_toml(folder)) as daemon:
        daemon.wait_ready()
        host, port = daemon.address
        schema = schemathesis.openapi.from_url(f"http://{host}:{port}/openapi.json")
        limits = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            if operation.path in _LEFT_OUT:
                continue
            seed(number)(limits(given(case=operation.as_strategy())(send)))()
            routes += 1
        client = Client(daemon.address)
        good = client.send(GOLDEN.read_bytes())
        assert good.body["verdict"] in ("normal", "anomaly"), good
        client.close()
        told = daemon.health()
        code = daemon.stop()
    return {
        "routes": routes,
        "requests": sum(statuses.values()),
        "by_status": dict(sorted(statuses.items())),
        "slowest_s": round(slowest, 2),
        "worker_restarts": told["counters"]["worker_restarts"],
        "last_exit_code": code,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show(
            "requests of the description",
            run(Path(place), examples=chosen.examples, number=chosen.seed),
        )
