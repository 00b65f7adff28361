"""``inspect`` with several test images: a line each, and the exit code of the worst."""

from __future__ import annotations

import json

import pytest
from PIL import Image


@pytest.fixture
def pictures(image_pair, tmp_path):
    """Paths of a golden, a defective part, and two that can't be used."""
    golden, test = image_pair
    Image.fromarray(golden).save(tmp_path / "good.png")
    Image.fromarray(test).save(tmp_path / "bad.png")
    (tmp_path / "text.png").write_bytes(b"This is a letter.\n")
    return {name: tmp_path / f"{name}.png" for name in ("good", "bad", "text", "missing")}


@pytest.fixture
def inspect(cli, toy_bundle, pictures):
    def run(*words):
        paths = [pictures.get(word, word) for word in words]
        return cli("inspect", *paths, "--bundle", toy_bundle.path, "--threads", 1)

    return run


def test_json_lines_in_order(inspect, pictures):
    code, out, err = inspect("good", "bad", "good", "bad", "--json", "--task", "describe")
    assert (code, err) == (0, "")
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["test"] for record in records] == [
        str(pictures[name]) for name in ("bad", "good", "bad")
    ]
    assert [record["verdict"] for record in records] == ["anomaly", "normal", "anomaly"]
    alone = json.loads(inspect("good", "bad", "--json", "--task", "describe")[1])
    for record in (records[0], alone):
        del record["timings_ms"], record["golden_cached"]
    assert records[0] == {"test": str(pictures["bad"]), **alone}


def test_lines_for_people(inspect, pictures):
    code, out, _ = inspect("good", "bad", "good", "--ask", "Why?", "--max-new-tokens", 2)
    assert code == 0
    lines = out.splitlines()
    heads = [line.split() for line in lines if not line.startswith(" ")]
    assert [(head[0], head[1]) for head in heads] == [
        (str(pictures["bad"]), "anomaly"),
        (str(pictures["good"]), "normal"),
    ]
    below = [line.split()[0] for line in lines if line.startswith(" ")]
    assert below == ["ask", "notes", "ask", "notes"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bad", "good"), 0),
        (("bad", "good", "--fail-on-anomaly"), 10),
        (("good", "good", "--fail-on-anomaly"), 0),
        (("text", "good"), 6),
        (("bad", "missing", "good", "--fail-on-anomaly"), 6),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["people", "json"])
def test_the_worst_part_has_the_exit_code(inspect, words, expected, form):
    code, out, err = inspect("good", *words, *form)
    assert code == expected
    num_parts = sum(not word.startswith("--") for word in words)
    num_broken = sum(word in ("text", "missing") for word in words)
    assert len([line for line in out.splitlines() if not line.startswith(" ")]) == num_parts
    assert err.count("error: ") == num_broken
    if form:
        kinds = [json.loads(line).get("error", {}).get("kind") for line in out.splitlines()]
        assert len(kinds) - kinds.count(None) == num_broken


def test_what_fails_for_all_is_one_error(inspect):
    code, out, err = inspect("missing", "good", "bad", "--json")
    assert code == 6
    assert json.loads(out)["error"]["kind"] == "ImageNotFoundError"
    assert err.count("error: ") == 1
    assert inspect("good", "good", "bad", "--overlay", "x.png")[0] == 2
    assert inspect("good", "good", "bad", "--takt-ms", 9, "--tile")[0] == 2


def test_several_goldens_and_the_cascade(inspect, pictures, cli, damaged_bundle):
    found = inspect("good", "bad", "good", "--golden", "bad", "--json")
    records = [json.loads(line) for line in found[1].splitlines()]
    assert [record["verdict"] for record in records] == ["normal", "normal"]
    taken = [[one["golden"] for one in record["goldens"] if one["taken"]] for record in records]
    assert taken == [[str(pictures["bad"])], [str(pictures["good"])]]
    assert inspect("good", "bad", "good", "--golden", "bad", "--choose", "vote")[0] == 2
    words = ("--bundle", damaged_bundle, "--threads", 1)
    assert cli("golden", "add", damaged_bundle, pictures["good"], "--name", "lid")[0] == 0
    parts = cli("inspect", pictures["bad"], pictures["good"], "--product", "lid", "--json", *words)
    assert [json.loads(line)["verdict"] for line in parts[1].splitlines()] == ["anomaly", "normal"]
