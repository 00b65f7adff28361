"""Two processes under torchrun: the losses of one process, a checkpoint that export takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from train_cases import ENVIRONMENT, events, losses, started_from, tiny_recipe, write_recipe

from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.run import train
from adcopilot_edge.training.synthetic import generate_pair
from tests.dialogue_sets import write_dialogues

pytestmark = pytest.mark.torch

STEPS = 4  # 1 and 2 see, 3 says, 4 trains all


def torchrun(recipe: TrainRecipe, out: Path, *options: str) -> None:
    """Train in two processes, as a user does."""
    path = write_recipe(recipe, out.parent / f"{out.name}.toml")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["-m", "adcopilot_edge", "train", str(path), "--out", str(out), "--workers", "0"]
    command = [*launch, *words, *options]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("trained") == 1  # by one of the two


def assert_like(found: Path, expected: Path, *, rel: float) -> None:
    """Hold the losses of two runs against each other, step by step."""
    theirs, ours = losses(expected), losses(found)
    assert ours.keys() == theirs.keys()
    for step, values in theirs.items():
        assert ours[step] == pytest.approx(values, rel=rel, abs=2e-4), step


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint to start from."""
    return tiny.tiny_checkpoint(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def recipe(start: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    """Batches of four pairs, all at once; scored on three pairs and five dialogues too."""
    talks = write_dialogues(tmp_path_factory.mktemp("held") / "talks", {"validation": 2})
    held = {"kind": "chat-ad", "path": str(talks), "split": "validation", "count": 5}
    content = started_from(tiny_recipe(STEPS), start, batch_size=4).model_dump(mode="json")
    return TrainRecipe.model_validate({**content, "evaluation": [{"kind": "synthetic"}, held]})


@pytest.fixture(scope="module")
def alone(recipe: TrainRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(recipe, folder, workers=0)
    return folder


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_as_one_does(
    tmp_path: Path, recipe: TrainRecipe, alone: Path, start: Path, parallel: str
) -> None:
    # One pair at once, so that each process adds up two batches for a step.
    torchrun(
        started_from(recipe, start, device_batch_size=1),
        tmp_path / "run",
        "--parallel",
        parallel,
    )
    # float32 adds in another order; 1e-3 leaves room for what AdamW makes of gradients near 0.
    assert_like(tmp_path / "run", alone, rel=1e-3)
    ones = [item["scores"] for item in events(alone) if item["event"] == "evaluation"]
    twos = [item["scores"] for item in events(tmp_path / "run") if item["event"] == "evaluation"]
    assert len(twos) == len(ones)
    assert twos[0]["synthetic"]["num_pairs"] == ones[0]["synthetic"]["num_pairs"]
    talks, expected = (scores[-1]["chat-ad talks validation"] for scores in (twos, ones))
    assert (talks["num_dialogues"], talks["num_answers"]) == (5, expected["num_answers"])
    assert talks["loss"] == pytest.approx(expected["loss"], rel=1e-3)


def test_shards_go_on_after_an_interruption_and_become_a_bundle(
    tmp_path: Path, start: Path
) -> None:
    # What a large model needs: shards, adapters, bfloat16, activations computed twice.
    lora = {"parts": ["tower", "language"], "rank": 4, "alpha": 8}
    changes = {"trains": ["queries"], "lora": lora, "precision": "bf16"}
    stage = tiny_recipe(STEPS).stages[2].model_copy(update={"steps": 3})
    short = tiny_recipe(STEPS).model_copy(update={"stages": (stage,)})
    recipe = started_from(short, start, gradient_checkpointing=True, **changes)
    whole, again = tmp_path / "whole", tmp_path / "again"
    torchrun(recipe, whole, "--parallel", "fsdp")
    shutil.copytree(whole, again, symlinks=True)
    shutil.rmtree(again / "checkpoint-3")
    (again / "log.jsonl").unlink()
    torchrun(recipe, again, "--parallel", "fsdp", "--resume")
    assert losses(again) == {3: losses(whole)[3]}
    before, after = (load_file(run / "checkpoint" / "model.safetensors") for run in (whole, again))
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    one = tmp_path / "one"
    train(recipe, one, workers=0)
    # bfloat16 has 8 bits, and sums of sharded gradients are in another order.
    assert_like(whole, one, rel=2e-2)
    bundle = export_bundle(
        whole / "checkpoint",
        tmp_path / "bundle",
        ExportRecipe(image_height=112, image_width=112, num_parity_pairs=1, max_new_tokens=2),
        pairs=[generate_pair(0, size=112).to_labelled()],
    )
    assert (bundle.path / "manifest.json").is_file()
