"""Ray Data does what processes of this machine do, to the byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from curation import contents, curate, write_set

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.skipif("RAY_ADDRESS" in os.environ, reason="a cluster is not to be tested on"),
]


def test_ray_gives_the_same_set(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    root = write_set(tmp_path / "line")
    sets = [
        curate(root, tmp_path / engine, name="parts", validation=0.5, engine=engine).folder
        for engine in ("local", "ray")
    ]
    assert contents(sets[0]) == contents(sets[1])
    assert not ray.is_initialized(), "what was started is stopped"
