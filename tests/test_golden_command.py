"""``golden`` on the command line: add, list, remove, prune."""

from __future__ import annotations

import json

import pytest
from pack_cases import (
    DAMAGES,
    GOLDEN_TEXT,
    change_manifest,
    open_inspector,
    unwritable,
    with_prompt,
)
from PIL import Image


@pytest.fixture
def bundle(damaged_bundle):
    """The folder of a toy bundle that a test may write to."""
    return damaged_bundle


@pytest.fixture
def pictures(tmp_path, image_pair):
    paths = tmp_path / "golden.png", tmp_path / "test.png"
    for image, path in zip(image_pair, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


def as_object(out):
    assert out.count("\n") == 1
    return json.loads(out)


def test_packs_on_the_command_line(cli, bundle, pictures):
    golden, test = pictures
    words = ["inspect", golden, test, "--bundle", bundle, "--threads", 1, "--json"]
    plain = as_object(cli(*words)[1])
    code, out, err = cli("golden", "add", bundle, golden, "--name", "lid", "--threads", 1, "--json")
    (added,) = as_object(out)["added"]
    assert (code, err) == (0, f"wrote {added['path']}\n")
    assert (added["name"], added["state"], added["provider"]) == ("lid", "usable", "cpu")
    cached = as_object(cli(*words)[1])
    assert (plain.pop("golden_cached"), cached.pop("golden_cached")) == (False, True)
    assert "golden" in cached["timings_ms"]
    del plain["timings_ms"], cached["timings_ms"]
    assert cached == plain
    listed = as_object(cli("golden", "list", bundle, "--json")[1])
    assert [(it["id"], it["state"]) for it in listed["packs"]] == [(added["id"], "usable")]
    people = cli("golden", "list", bundle)[1]
    assert f"{added['id']}  lid" in people
    code, out, _ = cli("golden", "remove", bundle, added["id"], "--json")
    assert (code, as_object(out)["left"]) == (0, 0)
    assert cli("golden", "list", bundle)[1].splitlines()[1] == "packs      0, 0.0 MB"


def test_list_tells_what_is_wrong(cli, bundle, image_pair, pack):
    golden, test = image_pair
    other = open_inspector(bundle).add_golden(test, "box")
    DAMAGES["last byte"](pack.path)
    DAMAGES["header"](open_inspector(bundle).add_golden(255 - golden).path)
    code, out, err = cli("golden", "list", bundle, "--json")
    assert code == 0
    states = {it["name"]: it["state"] for it in as_object(out)["packs"]}
    assert states == {"lid": "damaged", "box": "usable", None: "damaged"}
    assert "has changed" in err
    change_manifest(bundle, with_prompt(golden=GOLDEN_TEXT))
    states = {
        it["name"]: it["state"]
        for it in as_object(cli("golden", "list", bundle, "--json")[1])["packs"]
    }
    assert states["box"] == "outdated"
    assert other.path.exists()
    assert cli("golden", "remove", bundle, "lid", "box")[0] == 0


def test_prune_and_limits_on_the_command_line(cli, bundle, pictures):
    golden, test = pictures
    add = ["golden", "add", bundle, golden, test, "--name", "lid", "--threads", 1, "--json"]
    added = as_object(cli(*add)[1])["added"]
    assert len(added) == 2
    limit = str(added[0]["size_bytes"])
    removed = as_object(cli(*add[:3], golden, *add[5:], "--max-bytes", limit)[1])["removed"]
    assert removed == [added[1]["path"]]
    code, out, _ = cli("golden", "prune", bundle, "--max-bytes", "0", "--json")
    assert (code, as_object(out)["left_bytes"]) == (0, 0)


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["remove", "lid"], 6, "PackError"),
        (["prune", "--max-bytes", "much"], 2, "ConfigError"),
        (["add", "nowhere.png"], 6, "ImageNotFoundError"),
    ],
)
def test_errors_on_the_command_line(cli, bundle, words, code, kind):
    verb, *others = words
    got, out, err = cli("golden", verb, bundle, *others, "--json")
    assert got == code
    error = as_object(out)["error"]
    assert error["kind"] == kind
    assert err == f"error: {error['message']}\n"


def test_add_into_an_unwritable_folder(cli, bundle, pictures):
    unwritable(bundle)
    golden, test = pictures
    assert cli("inspect", golden, test, "--bundle", bundle, "--threads", 1)[0] == 0
    got, out, _ = cli("golden", "add", bundle, golden, "--threads", 1, "--json")
    assert (got, as_object(out)["error"]["kind"]) == (6, "PackError")


@pytest.mark.parametrize("verb", ["add", "list", "remove", "prune"])
def test_help_has_an_example(cli, verb):
    code, out, _ = cli("golden", verb, "--help")
    assert code == 0
    assert f"adcopilot-edge golden {verb} bundle" in " ".join(out.replace("-\n", "-").split())
