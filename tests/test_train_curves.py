"""The course of a run as a picture, also of one that was interrupted or is still writing."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.curves import draw_curves, read_curves


def write_log(run: Path, *, steps: int, verdict: float) -> Path:
    run.mkdir()
    taken = range(1, steps + 1)
    lines: list[dict[str, Any]] = [
        {"event": "start", "step": 0, "steps": steps},
        *({"event": "step", "step": step, "loss": {"verdict": 1.0 / step}} for step in taken),
    ]
    scores = {"synthetic": {"verdict": verdict, "map_iou": None}}
    lines.append({"event": "evaluation", "step": steps, "scores": scores})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "log.jsonl").write_text(text, encoding="utf-8")
    return run


def test_a_step_that_was_done_twice_counts_once(tmp_path: Path) -> None:
    run = write_log(tmp_path / "run", steps=3, verdict=0.5)
    with (run / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"event": "step", "step": 3, "loss": {"verdict": 0.0}}) + "\n")
        stream.write('{"event": "step", "st')
    curves = read_curves(run)
    assert set(curves) == {"loss, verdict", "synthetic: verdict, balanced accuracy"}
    assert [step for step, _ in curves["loss, verdict"]] == [1, 2, 3]
    # Each value is a fifth new: 1.0, then 0.9, then 0.72.
    assert curves["loss, verdict"][-1][1] == pytest.approx(0.72)


def test_two_runs_share_a_picture(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    one = write_log(tmp_path / "one", steps=4, verdict=0.5)
    two = write_log(tmp_path / "two", steps=8, verdict=0.9)
    sheet = draw_curves({run.name: read_curves(run) for run in (one, two)})
    colours = {colour for _, colour in sheet.getcolors(1 << 20) or []}
    assert {(0x12, 0x59, 0xC3), (0xC2, 0x41, 0x0C)} <= colours
    picture = tmp_path / "curves.png"
    words = ("train", "nano", "--out", one, "--beside", two, "--curves", picture)
    code, _, err = cli(*words)
    assert code == 0, err
    with Image.open(picture) as drawn:
        assert drawn.size == sheet.size


def test_a_run_lies_where_its_recipe_says(
    tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = resources.files("adcopilot_edge.training") / "recipes" / "nano.toml"
    mine = source.read_text(encoding="utf-8").replace('name = "nano"', 'name = "mine"')
    (tmp_path / "my-nano.toml").write_text(mine, encoding="utf-8")
    (tmp_path / "runs").mkdir()
    write_log(tmp_path / "runs" / "mine", steps=4, verdict=0.5)
    code, _, err = cli("train", "my-nano.toml", "--curves", tmp_path / "curves.png")
    assert code == 0, err
    assert (tmp_path / "curves.png").exists()


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.jsonl"):
        read_curves(tmp_path)
    with pytest.raises(ConfigError, match="nothing to draw"):
        draw_curves({"empty": {}})
    with pytest.raises(ConfigError, match="at most 6"):
        draw_curves({str(number): {} for number in range(7)})
