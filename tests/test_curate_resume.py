"""With what a run that was stopped goes on: the same files, strictly or not, another split."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from curation import contents, curate, plan_for, write_set

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.chat_ad import pair_steps, set_steps
from adcopilot_edge.training.chat_ad.splitting import held_out_pairs


class StoppedError(Exception):
    """A run ends here."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_set(tmp_path / "line")


def stop(
    monkeypatch: pytest.MonkeyPatch, source: Path, out: Path, /, *, at: str, **settings: Any
) -> None:
    """A run that is stopped before a step."""

    def stopped(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        module = pair_steps if hasattr(pair_steps, at) else set_steps
        patch.setattr(module, at, stopped)
        with pytest.raises(StoppedError):
            curate(source, out, **settings)


@pytest.mark.parametrize("setting", ["knowledge", "exclude_classes"])
def test_a_file_with_other_content_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    file = tmp_path / "file"
    file.write_text('[aliases]\ndent = "pit"\n' if setting == "knowledge" else "cup\n")
    value = (file,) if setting == "knowledge" else str(file)
    stop(monkeypatch, source, tmp_path / "set", at="write_dialogues", **{setting: value})
    told = file.read_text()
    file.write_text(told.replace("pit", "burr").replace("cup", "lid"))
    with pytest.raises(ConfigError, match=rf"other settings: content of {file} is '"):
        curate(source, tmp_path / "set", **{setting: value})
    file.write_text(told)
    assert curate(source, tmp_path / "set", **{setting: value}).is_resumed


@pytest.mark.parametrize("at", ["look", "write_dialogues"])
def test_strict_holds_for_what_the_stopped_run_left_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    (tmp_path / "classes").write_text("cup\n")
    settings: dict[str, Any] = {"exclude_classes": str(tmp_path / "classes")}
    stop(monkeypatch, source, tmp_path / "set", at=at, **settings)
    with pytest.raises(DatasetError, match="5 images are evaluated on"):
        curate(source, tmp_path / "set", strict=True, **settings)
    assert curate(source, tmp_path / "set", **settings).is_resumed


def test_a_list_of_classes_that_is_missing_is_an_error_before_any_work(source: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        plan_for(source, exclude_classes="nowhere")


def test_a_run_that_can_not_be_split_stops_before_dialogues_and_goes_on_as_it_advises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_set(tmp_path / "line", ["lid"])
    with monkeypatch.context() as patch:
        patch.setattr(set_steps, "write_dialogues", None)
        with pytest.raises(ConfigError, match="there is only one; add --split-by pair"):
            curate(source, tmp_path / "set", validation=0.2)
    made = curate(source, tmp_path / "set", validation=0.2, split_by="pair")
    assert made.is_resumed
    assert set(made.counts.splits) == {"train", "validation"}


def test_shards_of_another_split_are_written_anew(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(monkeypatch, source, tmp_path / "set", at="describe", validation=0.5, shard_bytes=1)
    made = curate(source, tmp_path / "set", shard_bytes=1)
    assert made.is_resumed
    whole = curate(source, tmp_path / "whole", shard_bytes=1, name="parts")
    assert contents(made.folder) == contents(whole.folder)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_of_few_pairs_some_are_held_out_and_some_are_not(share: float) -> None:
    keys = list("abcde")
    for seed in range(20):
        assert 0 < len(held_out_pairs(keys, share=share, seed=seed)) < 5
    with pytest.raises(ConfigError, match="only one"):
        held_out_pairs(["a"], share=share, seed=0)


def test_pairs_without_dialogues_are_not_what_is_held_out(tmp_path: Path) -> None:
    """Defects in an unknown place have none of ``locate``."""
    source = write_set(tmp_path / "line", ["lid"], parts=2)
    shutil.rmtree(source / "lid" / "ground_truth")
    settings: dict[str, Any] = {"tasks": ("locate",), "validation": 0.05, "split_by": "pair"}
    made = curate(source, tmp_path / "set", **settings)
    assert made.counts.splits == {"train": 1, "validation": 1}
