"""Packs of the tiles of a golden image: found by pixels, equal results, no golden of a product."""

from __future__ import annotations

import json

import numpy as np
import pytest
from line import save
from pack_cases import DAMAGES, open_inspector, without_times

from adcopilot_edge.errors import PackError
from adcopilot_edge.runtime.inspector import Inspector


@pytest.fixture
def large(rng):
    """A golden of 3 x 3 overlapping tiles, and a part with one bright defect."""
    golden = rng.integers(0, 160, (8, 12, 3), dtype=np.uint8).repeat(14, 0).repeat(14, 1)
    test = golden.copy()
    test[60:74, 80:100] = 255
    return golden, test


@pytest.fixture
def bundle(damaged_bundle):
    return damaged_bundle


def test_tiles_from_packs_say_the_same(bundle, large):
    expected = open_inspector(bundle).inspect(*large, tile=True, task="all")
    packs = open_inspector(bundle).add_tiles(large[0], "lid")
    num_tiles = int(next(note for note in expected.notes if note.startswith("tiles:"))[6:])
    assert len(packs) == num_tiles > 1
    assert {pack.record.tile[2:] for pack in packs if pack.record} == {(84, 56)}
    fresh = open_inspector(bundle)
    found = fresh.inspect(*large, tile=True, task="all")
    assert (expected.golden_cached, found.golden_cached) == (False, True)
    assert without_times(found) == without_times(expected)
    assert expected.verdict == "anomaly"
    assert expected.defects


def test_another_geometry_has_no_packs(bundle, large):
    """The pixels of a tile are in its key, and its place decides the pixels."""
    open_inspector(bundle).add_tiles(large[0])
    smaller = large[1][::1, :154]
    golden = np.ascontiguousarray(large[0][:, :154])
    assert not open_inspector(bundle).inspect(golden, smaller, tile=True).golden_cached
    bigger = large[1].repeat(2, 0).repeat(2, 1)  # the golden takes the size of the part
    assert not open_inspector(bundle).inspect(large[0], bigger, tile=True).golden_cached


def test_a_tile_is_no_golden_of_its_product(bundle, large):
    inspector = open_inspector(bundle)
    inspector.add_tiles(large[0], "lid")
    with pytest.raises(PackError, match="no golden pack of the product 'lid'"):
        open_inspector(bundle).product("lid")
    whole = inspector.add_golden(large[0], "lid")
    (reference,) = open_inspector(bundle).product("lid")
    assert whole.record is not None
    assert reference.image_sha256 == whole.record.golden_sha256


def test_a_picture_of_one_tile_keeps_its_pack(bundle, image_pair):
    inspector = open_inspector(bundle)
    inspector.add_golden(image_pair[0], "lid")
    assert inspector.add_tiles(image_pair[0], "lid") == []
    assert len(open_inspector(bundle).product("lid")) == 1


def test_equal_tiles_share_a_pack(bundle):
    plain = np.full((112, 168, 3), 90, dtype=np.uint8)
    assert len(open_inspector(bundle).add_tiles(plain)) == 1
    assert open_inspector(bundle).inspect(plain, plain, tile=True).golden_cached


def test_a_damaged_tile_is_told_and_repaired_as_a_tile(bundle, large):
    pack, *_ = open_inspector(bundle).add_tiles(large[0], "lid")
    expected = open_inspector(bundle).inspect(*large, tile=True)
    DAMAGES["last byte"](pack.path)
    found = open_inspector(bundle).inspect(*large, tile=True)
    assert "golden_pack_damaged" in found.notes
    assert (found.verdict, found.defects) == (expected.verdict, expected.defects)
    with pytest.raises(PackError, match="no golden pack of the product"):
        open_inspector(bundle).product("lid")
    again = open_inspector(bundle).inspect(*large, tile=True)
    assert again.golden_cached
    assert "golden_pack_damaged" not in again.notes


def test_without_a_folder(toy_inspector, large):
    with pytest.raises(PackError, match="without a folder"):
        Inspector(toy_inspector.engine).add_tiles(large[0])


def test_on_the_command_line(cli, bundle, large, tmp_path):
    for image, name in zip(large, ("golden.png", "part.png"), strict=True):
        save(image, tmp_path / name)
    inspect = ["inspect", tmp_path / "golden.png", tmp_path / "part.png", "--bundle", bundle]
    words = [*inspect, "--threads", 1, "--tile", "--json"]
    plain = json.loads(cli(*words)[1])
    add = ["golden", "add", bundle, tmp_path / "golden.png", "--tile", "--name", "lid"]
    added = json.loads(cli(*add, "--threads", 1, "--json")[1])["added"]
    assert added[0]["tile"] is None
    assert added[1]["tile"] == [0, 0, 84, 56]
    found = json.loads(cli(*words)[1])
    assert (plain.pop("golden_cached"), found.pop("golden_cached")) == (False, True)
    del plain["timings_ms"], found["timings_ms"]
    assert found == plain
    assert "lid, tile 84x56 at 0,0" in cli("golden", "list", bundle)[1]
    product = [*inspect[:1], tmp_path / "part.png", "--product", "lid", "--bundle", bundle]
    record = json.loads(cli(*product, "--tile", "--threads", 1, "--json")[1])
    assert (record["golden_cached"], record["verdict"]) == (True, plain["verdict"])
    removed = json.loads(cli("golden", "remove", bundle, "lid", "--json")[1])
    assert (len(removed["removed"]), removed["left"]) == (len(added), 0)
