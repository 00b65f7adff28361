"""The command that measures each module alone in INT8: table, picture, log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from outliers import inject_outliers
from pair_files import write_pairs
from PIL import Image
from tiny import tiny_checkpoint

pytestmark = pytest.mark.torch

SIZE = 112


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("hard")
    checkpoint = tiny_checkpoint(root / "checkpoint")
    inject_outliers(checkpoint, [2])
    pairs = write_pairs(root / "pairs", 0, 4, size=SIZE)
    return [
        *("sensitivity", str(checkpoint), "--image-size", str(SIZE)),
        *("--calib", str(pairs), "--calib-pairs", "2"),
    ]


def test_outliers_lead_the_ranking(cli, run: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    code, out, err = cli(*run, "--out", str(folder), "--json")
    assert code == 0, err
    record = json.loads(out)
    assert {"visual.blocks.2.attn", "visual.blocks.2.mlp"} & set(record["ranking"][:2])
    assert len(record["ranking"]) == len(record["modules"]) == len(set(record["ranking"]))
    table = json.loads((folder / "sensitivity.json").read_text())
    assert table["modules"] == record["modules"]
    assert table["num_pairs"] == 2
    picture = np.asarray(Image.open(folder / "sensitivity.png"))
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 10
    assert {path.name for path in folder.iterdir()} == {
        *("sensitivity.json", "sensitivity.jsonl", "sensitivity.png")
    }
    log = (folder / "sensitivity.jsonl").read_text().splitlines()
    (folder / "sensitivity.jsonl").write_text("\n".join(log[:4]) + "\n")
    code, out, err = cli(*run, "--out", str(folder))
    assert code == 0, err
    assert (folder / "sensitivity.jsonl").read_text().splitlines()[:4] == log[:4]
    assert "blocks.2.attn" in out


def test_a_folder_of_another_run(cli, run: list[str], tmp_path: Path) -> None:
    (tmp_path / "sensitivity.jsonl").write_text('{"origin": {"pairs": "others"}}\n')
    code, _, err = cli(*run, "--out", str(tmp_path))
    assert code == 2
    assert "holds answers of another run" in err
