"""A checkpoint asked by torch answers as its bundle does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmad_folder import write_mmad
from tiny import tiny_checkpoint

from adcopilot_edge.calibration.benchmark_prompt import Wording
from adcopilot_edge.calibration.questioner import open_questioner
from adcopilot_edge.cli import main
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.respondent import open_respondent
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = pytest.mark.torch

SIZE = (112, 140)
QUESTION = "Is there any defect?\nA. Yes\nB. No"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    """A tiny checkpoint and its bundle in float32."""
    folder = tmp_path_factory.mktemp("respondent")
    path = tiny_checkpoint(folder / "checkpoint")
    recipe = ExportRecipe(
        image_height=SIZE[0], image_width=SIZE[1], num_parity_pairs=1, max_new_tokens=2
    )
    pairs = [generate_pair(0, size=112).to_labelled()]
    bundle = export_bundle(path, folder / "bundle", recipe, pairs=pairs)
    return open_checkpoint(path), bundle.path


@pytest.mark.parametrize("shots", [1, 0])
@pytest.mark.parametrize("wording", ["bundle", "mmad"])
def test_answers_are_those_of_the_bundle(
    made: tuple[Checkpoint, Path], wording: Wording, shots: int
) -> None:
    checkpoint, bundle = made
    pair = generate_pair(7, size=112)
    template = pair.golden if shots else None
    mine = open_questioner(bundle, wording=wording, shots=shots, num_threads=1)
    torchs = open_respondent(checkpoint, image_size=SIZE, wording=wording, shots=shots)
    assert torchs.prompt == mine.prompt
    replies = []
    for asked in (mine, torchs):
        asked.show(pair.test, template)
        replies.append(asked.ask(QUESTION, "AB", max_new_tokens=4))
    ours, theirs = replies
    logits = [[reply.letters[letter] for letter in "AB"] for reply in replies]
    # The limit of the parity ladder for logits in float32 is 1e-3.
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-3)
    assert ours.words == theirs.words


def test_from_the_command_line(
    made: tuple[Checkpoint, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "mmad", str(write_mmad(tmp_path / "MMAD")), "--no-text", "--json"]
    words += ["--checkpoint", str(made[0].path), "--prompt", "bundle", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--image-size", "112x140"])
    assert stopped.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["questions"] == 6
    assert report["model"] == f"checkpoint-{made[0].sha256()[:16]}"
    assert (report["provider"], report["image_size"]) == ("torch", "112x140")
    with pytest.raises(SystemExit):
        main([*words, "--bundle", str(made[1])])
    assert "choose one of them" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "mmad", str(tmp_path / "MMAD"), "--image-size", "112"])
    assert "--image-size goes with --checkpoint" in capsys.readouterr().err


def test_a_letter_of_several_tokens(made: tuple[Checkpoint, Path]) -> None:
    asked = open_respondent(made[0], image_size=SIZE, wording="bundle", shots=0)
    asked.show(generate_pair(7, size=112).test, None)
    with pytest.raises(ConfigError, match="the letter Ä has 2 tokens"):
        asked.ask("Which?", ["Ä"], max_new_tokens=None)
