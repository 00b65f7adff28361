"""Several golden images on the command line: the nearest, a vote, a product's packs; refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from line import assert_fails, save
from PIL import Image

from adcopilot_edge.runtime.golden import pixel_hash


@pytest.fixture
def pictures(tmp_path, image_pair):
    """Files of three kinds of a product, and of a good part of the second kind."""
    golden, _ = image_pair
    kinds = golden, np.ascontiguousarray(golden[::-1]), 160 - golden
    paths = [tmp_path / f"lid-{index}.png" for index in range(3)]
    for picture, path in zip(kinds, paths, strict=True):
        save(picture, path)
    part = kinds[1].copy()
    part[0, 0] ^= 1
    save(part, tmp_path / "part.png")
    return [*paths, tmp_path / "part.png"]


@pytest.fixture
def call(cli, damaged_bundle):
    """Runs ``inspect`` on a bundle that may be written to."""

    def run(*words):
        return cli("inspect", *words, "--bundle", damaged_bundle, "--threads", 1)

    return run


def read(answer):
    code, out, _ = answer
    assert code == 0, out
    return json.loads(out)


def hash_of(path):
    return pixel_hash(np.asarray(Image.open(path)))


def test_the_nearest_of_several_files(call, pictures, tmp_path):
    one, two, three, part = pictures
    words = (one, part, "--golden", two, "--golden", three)
    found = read(call(*words, "--json"))
    assert found["goldens"] == [
        {"golden": str(path), "golden_sha256": hash_of(path), "verdict": None, "taken": path == two}
        for path in (one, two, three)
    ]
    alone = read(call(two, part, "--json"))
    assert "goldens" not in alone
    assert (found["verdict"], found["anomaly_score"]) == ("normal", alone["anomaly_score"])
    assert f"golden     {two}, the nearest of 3" in call(*words)[1]


def test_a_vote(call, pictures, tmp_path):
    one, two, three, part = pictures
    words = (one, part, "--golden", two, "--golden", three, "--choose", "vote")
    found = read(call(*words, "--json"))
    votes = [read(call(path, part, "--json")) for path in (one, two, three)]
    assert [it["verdict"] for it in found["goldens"]] == [it["verdict"] for it in votes]
    assert found["verdict"] == "anomaly"
    (taken,) = (index for index, it in enumerate(found["goldens"]) if it["taken"])
    assert found["goldens"][taken]["verdict"] == "anomaly"
    assert found["defects"] == votes[taken]["defects"]
    out = call(*words)[1]
    assert f"3 vote; boxes and words are those of {pictures[taken]}" in out


def test_the_overlay_shows_the_golden_that_was_taken(call, pictures, tmp_path):
    one, two, three, part = pictures
    drawn = []
    for words, name in (
        ((two, part), "alone.png"),
        ((one, part, "--golden", two, "--golden", three), "set.png"),
    ):
        assert call(*words, "--overlay", tmp_path / name)[0] == 0
        drawn.append(np.asarray(Image.open(tmp_path / name)))
    # The golden's panel; to its right and below are times and notes.
    one_panel, set_panel = (picture[: min(map(len, drawn)) - 100, :800] for picture in drawn)
    np.testing.assert_array_equal(one_panel, set_panel)
    assert len(np.unique(one_panel.reshape(-1, 3), axis=0)) > 20


def test_a_product_from_its_packs(cli, call, pictures, damaged_bundle):
    one, two, three, part = pictures
    add = ["golden", "add", damaged_bundle, one, two, three, "--name", "lid", "--threads", 1]
    assert cli(*add)[0] == 0
    for path in (one, two, three):
        path.unlink()  # packs hold all that is needed
    found = read(call(part, "--product", "lid", "--json"))
    assert found["golden_cached"]
    (taken,) = (it for it in found["goldens"] if it["taken"])
    assert taken["golden"] == f"lid {taken['golden_sha256'][:16]}"
    assert len(found["goldens"]) == 3
    assert found["verdict"] == "normal"
    voted = read(call(part, "--product", "lid", "--choose", "vote", "--json"))
    assert sorted(it["verdict"] for it in voted["goldens"]) == ["anomaly", "anomaly", "normal"]


def test_a_set_goes_with_tiles_and_a_vote_with_no_takt(call, pictures):
    one, two, _, part = pictures
    tiled = read(call(one, part, "--golden", two, "--tile", "--json"))
    assert [it["taken"] for it in tiled["goldens"]] == [False, True]
    words = (one, part, "--golden", two, "--choose", "vote", "--takt-ms", 100)
    assert_fails(call, words, code=2, kind="ConfigError", message="no takt")


@pytest.mark.parametrize(
    ("words", "code", "kind", "message"),
    [
        (["A"], 2, "ConfigError", "name a golden image and a test image"),
        (["A", "P", "--choose", "vote"], 2, "ConfigError", "add --golden or --product"),
        (["P", "--product", "lid", "--golden", "A"], 2, "ConfigError", "leave --golden out"),
        (["P", "--product", "lid"], 6, "PackError", "golden add --name lid"),
        (["A", "P", "--golden", "A"], 2, "ConfigError", "have the same pixels"),
        (["A", "P", "--golden", "no.png"], 6, "ImageNotFoundError", "no.png"),
    ],
)
def test_what_is_refused(call, pictures, words, code, kind, message):
    names = {"A": pictures[0], "P": pictures[3]}
    given = [names.get(word, word) for word in words]
    assert_fails(call, given, code=code, kind=kind, message=message)
