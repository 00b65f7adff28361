"""A run that was killed goes on exactly: the same losses, and nothing half-written is taken."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_cases import events, losses, run_script, tiny_recipe

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.checkpoint import find_checkpoint
from adcopilot_edge.training.event_log import scores_by
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.run import train

pytestmark = pytest.mark.torch

STEPS = 7  # 1 to 4 see, 5 says, 6 and 7 train all; checkpoints behind 2, 4, 5, 6 and 7

KILLED = """
import os, signal, sys
from pathlib import Path
from train_cases import tiny_recipe
from adcopilot_edge.training import checkpoint
from adcopilot_edge.training.run import train

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def report(event):
    if event["event"] == "step" and event["step"] == int(sys.argv[2]):
        if sys.argv[3] == "step":
            kill()
        checkpoint._seal = lambda *_: kill()

train(tiny_recipe(7), Path(sys.argv[1]), workers=0, report=report)
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(tiny_recipe(STEPS), folder, workers=0)
    return folder


@pytest.mark.parametrize(
    ("kill_at", "moment", "left"),
    [
        (5, "step", 4),  # behind a stage's end
        (6, "saving", 5),  # the files of checkpoint 6 are written, and it is not yet whole
        (7, "step", 6),  # inside a stage
    ],
)
def test_a_killed_run_goes_on_with_the_very_same_losses(
    tmp_path: Path, whole: Path, kill_at: int, moment: str, left: int
) -> None:
    died = run_script(KILLED, tmp_path, kill_at, moment)
    assert died.returncode == -signal.SIGKILL, died.stderr
    found = find_checkpoint(tmp_path)
    assert found is not None
    assert found.progress.step == left
    assert bool(list(tmp_path.glob(".checkpoint-*.partial"))) == (moment == "saving")
    resumed = train(tiny_recipe(STEPS), tmp_path, resume=True, workers=0)
    assert losses(tmp_path) == losses(whole)
    expected = load_file(whole / "checkpoint" / "model.safetensors")
    weights = load_file(resumed.checkpoint / "model.safetensors")
    assert expected.keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in expected.items())
    assert not list(tmp_path.glob(".checkpoint-*"))


def test_a_stage_with_adapters_goes_on_exactly_and_ends_as_a_plain_checkpoint(
    tmp_path: Path,
) -> None:
    base = train(tiny_recipe(3), tmp_path / "base", workers=0)
    plain = tiny_recipe(3)
    adapters = LoraRecipe(parts=("language",), rank=4, alpha=8, dropout=0.1)
    stage = plain.stages[2].model_copy(
        update={"trains": ("queries",), "lora": adapters, "steps": 4, "batch_size": 2}
    )
    recipe = plain.model_copy(update={"stages": (stage,)})
    recipe = type(recipe).model_validate(
        {**recipe.model_dump(), "model": None, "base": {"checkpoint": str(base.checkpoint)}}
    )
    ended = train(recipe, tmp_path / "whole", workers=0)
    assert not (ended.checkpoint / "adapter").exists()
    assert not [
        name for name in load_file(ended.checkpoint / "model.safetensors") if "lora" in name
    ]
    shutil.copytree(tmp_path / "whole", tmp_path / "again", symlinks=True)
    shutil.rmtree(tmp_path / "again" / "checkpoint-4")
    assert (tmp_path / "again" / "checkpoint-2" / "adapter").is_dir()
    resumed = train(recipe, tmp_path / "again", resume=True, workers=0)
    before = load_file(ended.checkpoint / "model.safetensors")
    assert not [name for name in before if "lora" in name]
    after = load_file(resumed.checkpoint / "model.safetensors")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_last_two_checkpoints_stay_and_a_damaged_one_is_passed_over(
    tmp_path: Path, whole: Path
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run", symlinks=True))
    assert sorted(path.name for path in run.glob("checkpoint-*")) == [
        "checkpoint-6",
        "checkpoint-7",
    ]
    assert (run / "checkpoint").resolve() == run / "checkpoint-7"
    with (run / "checkpoint-7" / "model.safetensors").open("r+b") as stream:
        stream.truncate(100)
    found = find_checkpoint(run)
    assert found is not None
    assert found.progress.step == 6
    (run / "checkpoint-6" / "progress.json").write_text("{", encoding="utf-8")
    assert find_checkpoint(run) is None
    with pytest.raises(ConfigError, match=r"checkpoint-6, checkpoint-7.*missing or cut short"):
        train(tiny_recipe(STEPS), run, resume=True, workers=0)


def test_who_may_read_new_files_may_read_checkpoints(tmp_path: Path, whole: Path) -> None:
    new = tmp_path / "new"
    new.touch()
    files = [path for path in (whole / "checkpoint-7").rglob("*") if path.is_file()]
    assert "model.safetensors" in [path.name for path in files]
    assert {path.stat().st_mode for path in files} == {new.stat().st_mode}


def test_a_run_that_is_done_says_its_scores_again(tmp_path: Path, whole: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run", symlinks=True))
    with (run / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"event": "evalua')  # where a kill cut it
    scored = [item for item in events(whole) if item["event"] == "evaluation"]
    again = train(tiny_recipe(STEPS), run, resume=True, workers=0)
    assert again.scores == scored[-1]["scores"]
    assert scores_by(run, scored[0]["step"]) == scored[0]["scores"]


def test_a_run_is_not_overwritten_or_continued_by_another_recipe(whole: Path) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        train(tiny_recipe(STEPS), whole, workers=0)
    with pytest.raises(ConfigError, match="stages"):
        train(tiny_recipe(STEPS + 2), whole, resume=True, workers=0)


def test_what_can_not_be_done_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    odd = tiny_recipe(STEPS, batch_size=3, device_batch_size=2)
    with pytest.raises(ConfigError, match="does not divide into 1 devices"):
        train(odd, tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


def test_to_go_on_where_nothing_is_begins_and_says_so(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    train(tiny_recipe(3), tmp_path / "run", resume=True, workers=0, report=told.append)
    assert told[0]["event"] == "note"
    assert "begins anew" in told[0]["text"]
    assert told[-1]["step"] == 3


def test_a_run_of_an_earlier_release_says_how_to_start_from_it(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "training_state.pt").touch()
    with pytest.raises(ConfigError, match="earlier release"):
        train(tiny_recipe(STEPS), tmp_path, resume=True, workers=0)


def test_the_log_tells_every_step_and_every_score(whole: Path) -> None:
    told = events(whole)
    assert [item["step"] for item in told if item["event"] == "step"] == list(range(1, STEPS + 1))
    assert [item["name"] for item in told if item["event"] == "stage"] == ["see", "say", "all"]
    scores = [item["scores"]["synthetic"] for item in told if item["event"] == "evaluation"]
    assert scores[0]["verdict"] is None
    assert scores[0]["map_miou"] is not None
    assert scores[-1]["verdict"] is not None
    assert scores[-1]["text_miou"] is not None
    assert json.dumps(scores)
    assert sorted(path.name for path in (whole / "samples").iterdir())[-1].endswith("000007.png")
    assert list((whole / "tensorboard").iterdir())
