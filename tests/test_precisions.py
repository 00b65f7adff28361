"""The table of all ways to quantize: real bundles, one row each, resumable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pair_files import write_pairs
from tiny import tiny_checkpoint

from adcopilot_edge.bundle import open_bundle

pytestmark = pytest.mark.torch

SIZE = 112


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="module")
def arguments(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("data")
    limits = root / "limits.toml"
    limits.write_text(
        "min_pairs = 8\nmax_flip_rate = 1\nmax_miou_drop = 1\nmax_overkill_rise = 1\n"
    )
    return [
        *("precisions", str(checkpoint), "--image-size", str(SIZE)),
        *("--calib", str(write_pairs(root / "learn", 0, 4, size=SIZE)), "--calib-pairs", "2"),
        *(
            "--gate",
            str(write_pairs(root / "held", 50, 10, size=SIZE)),
            "--gate-limits",
            str(limits),
        ),
    ]


def test_a_row_for_float_and_one_for_each_way(cli, arguments: list[str], tmp_path: Path) -> None:
    ways = ("vision-int8-static", "decoder-int4")
    only = [word for way in ways for word in ("--only", way)]
    code, out, err = cli(*arguments, "--out", str(tmp_path / "out"), *only, "--json")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert list(rows) == ["float", *ways]
    assert rows["float"]["passed"] is None
    assert rows["float"]["speed_ratio"] == 1
    for way in ways:
        row = rows[way]
        assert row["passed"]
        assert row["speed_ratio"] > 0
        assert row["size_bytes"] < rows["float"]["size_bytes"]
        assert {"escapes", "overkill", "balanced accuracy", "mIoU, map"} <= row["figures"].keys()
        manifest = open_bundle(tmp_path / "out" / way).manifest
        assert row["gate"]["reference_bundle"] == open_bundle(tmp_path / "out" / "float").id
        assert manifest.parity is None
    code, out, err = cli(*arguments, "--out", str(tmp_path / "out"), *only)
    assert code == 0, err
    assert "vision/" not in err  # nothing was exported again
    assert "admitted" in out
    code, out, err = cli(*arguments, "--out", str(tmp_path / "out"), "--only", "decoder-int8")
    assert code == 2
    assert "holds answers of another run" in err


def test_a_way_that_is_none(cli, arguments: list[str], tmp_path: Path) -> None:
    code, _, err = cli(*arguments, "--out", str(tmp_path / "out"), "--only", "vision-int3")
    assert code == 2
    assert "vision-int8-dynamic" in err
