"""With what a run that was stopped goes on: files of the same content, and strictly or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from curation import curate, plan_for, write_set

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.chat_ad import pair_steps, set_steps


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
