"""The golden not kept, in memory, from a pack: the same answers, on real boards and toy pairs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from line import save

from adcopilot_edge.calibration.deeppcb import read_tiles
from adcopilot_edge.errors import AspectMismatchError
from adcopilot_edge.runtime.cached_results import TOLERANCES, WAYS, compare_results
from adcopilot_edge.runtime.golden import GoldenStore
from adcopilot_edge.runtime.golden_packs import GoldenPacks
from adcopilot_edge.runtime.golden_source import GoldenSource
from adcopilot_edge.runtime.inspector import Inspector

RUNGS = [f"{way}_{stage}" for way in WAYS for stage in ("score", "verdict", "boxes", "text")]


@pytest.fixture(scope="module")
def tiles(shared_data):
    """Ten pairs of real boards, every other one defective."""
    return read_tiles(shared_data / "deeppcb", tile=224, count=10, seed=3)


def test_ten_real_pairs_with_and_without_a_kept_golden(tiles, tmp_path):
    """The embedded model; written out, with nothing of what ``verify`` uses."""
    plain = Inspector.open(num_threads=1)
    kept = Inspector(plain.engine)
    stored = Inspector(plain.engine, packs=GoldenPacks(tmp_path))
    verdicts, num_boxes = [], 0
    for tile in tiles:
        stored.add_golden(tile.golden)
    stored = Inspector(plain.engine, packs=GoldenPacks(tmp_path))  # with nothing in memory
    for tile in tiles:
        kept.golden(tile.golden)
        fresh = plain.inspect(plain.golden(tile.golden, cache=False), tile.test, task="all")
        for inspector in (kept, stored):
            found = inspector.inspect(tile.golden, tile.test, task="all")
            assert found.golden_cached
            assert (found.verdict, found.defects) == (fresh.verdict, fresh.defects)
            assert found.text == fresh.text
            assert found.anomaly_score == pytest.approx(
                fresh.anomaly_score, abs=TOLERANCES["score"].limit
            )
        assert set(fresh.text) == {"classify", "locate", "describe"}
        verdicts.append(fresh.verdict)
        num_boxes += len(fresh.defects)
    assert {*verdicts} == {"normal", "anomaly"}
    assert num_boxes >= 5


def test_the_same_on_the_command_line(cli, tiles, shared_data):
    nano = Inspector.open(num_threads=1).engine.bundle.path
    words = ["verify", nano, "--data", shared_data / "deeppcb", "--pairs", 10, "--threads", 1]
    code, out, err = cli(*words, "--json")
    report = json.loads(out)
    assert (code, report["passed"], report["num_own_pairs"]) == (0, True, 10)
    errors = {it["stage"]: it["error"] for it in report["stages"] if it["stage"] in RUNGS}
    assert errors == dict.fromkeys(RUNGS, 0.0)
    assert "pairs" in err


@pytest.fixture
def pairs(image_pair):
    golden, test = image_pair
    return [(golden, test), (golden, golden)]


def test_equal_ways_have_no_error(toy_inspector, pairs):
    done = []
    num_pairs, rungs = compare_results(
        toy_inspector, pairs, max_new_tokens=6, on_pair=lambda number: done.append(number)
    )
    assert (num_pairs, done) == (2, [1, 2])
    assert [(rung.stage, rung.error, rung.passed) for rung in rungs] == [
        (stage, 0.0, True) for stage in RUNGS
    ]
    assert compare_results(toy_inspector, [], max_new_tokens=6) == (0, ())


@pytest.mark.parametrize(
    ("way", "kind", "name"), [("memory", GoldenStore, "get"), ("pack", GoldenSource, "_find")]
)
def test_a_kept_golden_that_says_something_else_is_found(
    toy_inspector, pairs, monkeypatch, way, kind, name
):
    """One that is another image: whatever it comes from, the golden read anew is the reference."""
    other = toy_inspector.golden(255 - pairs[0][0], cache=False)

    find = getattr(kind, name)

    def find_wrongly(*args):
        found = find(*args)
        if found is None:
            return None
        return replace(found, features=other.features, prefix=other.prefix)

    monkeypatch.setattr(kind, name, find_wrongly)
    _, rungs = compare_results(toy_inspector, pairs, max_new_tokens=6)
    failed = [rung.stage for rung in rungs if not rung.passed]
    assert failed
    assert all(stage.startswith(way) for stage in failed)


def test_own_pairs_on_the_command_line(cli, toy_bundle, tmp_path, image_pair):
    golden, test = image_pair
    save(golden, tmp_path / "golden" / "golden.png")
    save(golden, tmp_path / "good" / "0.png")
    save(test, tmp_path / "bad" / "0.png")
    words = ["verify", toy_bundle.path, "--threads", 1]
    code, out, _ = cli(*words, "--data", tmp_path)
    assert code == 0
    assert "own pairs  2, golden kept and not kept" in out
    assert "pack_text" in out
    for wrong, kind in (
        (["--pairs", 3], "ConfigError"),
        (["--data", tmp_path, "--max-ram", "4G"], "ConfigError"),
        (["--data", tmp_path, "--reference", "x"], "ConfigError"),
        (["--data", tmp_path / "no"], "DatasetError"),
    ):
        code, out, _ = cli(*words, *wrong, "--json")
        assert json.loads(out)["error"]["kind"] == kind, wrong
        assert code == (5 if kind == "DatasetError" else 2)


def test_pictures_of_other_proportions_are_no_pair(toy_inspector, image_pair):
    golden, test = image_pair
    turned = np.ascontiguousarray(test.transpose(1, 0, 2))
    with pytest.raises(AspectMismatchError):
        compare_results(toy_inspector, [(golden, turned)], max_new_tokens=2)
