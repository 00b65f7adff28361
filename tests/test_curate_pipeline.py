"""A whole curation: what is in the set, what is left out, and that a killed run goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from curation import contents, curate, draw_part, plan_for, quiet, write_set
from PIL import Image

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.chat_ad import pair_steps, pipeline, set_steps
from adcopilot_edge.training.chat_ad.generate import generate
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.shards import read_shards
from adcopilot_edge.training.chat_ad.teacher import teach
from adcopilot_edge.training.chat_ad.teacher.report import TeachReport
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
from adcopilot_edge.training.chat_ad.work_folder import WorkFolder
from adcopilot_edge.types import OnStep


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories with three good and two dented parts each; to be read only."""
    return write_set(tmp_path_factory.mktemp("source") / "line")


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The curated set of ``root``; to be read only."""
    out = tmp_path_factory.mktemp("whole") / "set"
    return curate(root, out, validation=0.5).folder


def left_out(folder: Path) -> list[dict[str, str]]:
    lines = (folder / "left_out.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_image_becomes_a_pair_with_dialogues(whole: Path) -> None:
    counts = json.loads((whole / "counts.json").read_text())
    assert (counts["pairs"], counts["normal"], counts["defective"]) == (10, 6, 4)
    assert counts["labels"] == {"dent": 4}
    shards = {split: read_shards(whole, split=split) for split in ("train", "validation")}
    assert sum(map(len, shards.values())) == counts["samples"]
    samples = [stored.sample for split in shards.values() for stored in split]
    assert len({one.key for one in samples}) == len(samples)
    assert {one.category for one in (s.sample for s in shards["train"])} != {"lid", "cup"}
    located = next(s for s in shards["train"] if s.sample.task == "locate" and s.sample.boxes)
    (x1, y1, x2, y2) = map(int, located.sample.boxes[0])
    assert (located.query_image()[y1:y2, x1:x2] == 0).all(), "the box is around the dent"
    assert not (located.template_image()[y1:y2, x1:x2] == 0).all()


def test_the_set_has_its_card_sheet_and_lists_and_nothing_else(whole: Path) -> None:
    assert sorted(contents(whole)) == [
        "README.md",
        "counts.json",
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
        "left_out.jsonl",
        "sheet.png",
    ]
    assert left_out(whole) == []
    assert [path.name for path in whole.parent.iterdir()] == ["set"]


def test_the_number_of_workers_changes_no_byte(root: Path, whole: Path, tmp_path: Path) -> None:
    curate(root, tmp_path / "set", validation=0.5, workers=2)
    assert contents(tmp_path / "set") == contents(whole)


_KILLED = """
import os, signal, sys
from pathlib import Path
from curation import curate
from adcopilot_edge.training.chat_ad import {module}
step = {module}.{step}
def killed(run):
    if {after}:
        step(run)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{step} = killed
curate(Path(sys.argv[1]), Path(sys.argv[2]), validation=0.5)
"""


@pytest.mark.parametrize(
    ("module", "step", "after"),
    [("pair_steps", "match", True), ("set_steps", "write_shards", False)],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    root: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    repository: Path,
    module: str,
    step: str,
    after: bool,
) -> None:
    tests = Path(__file__).parent
    code = _KILLED.format(module=module, step=step, after=after)
    out = tmp_path / "set"
    killed = subprocess.run(
        [sys.executable, "-c", code, root, out],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (repository, tests)))},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not out.exists()
    for name in ("look_job", "read_sources"):
        monkeypatch.setattr(pair_steps, name, _never)
    assert curate(root, out, validation=0.5).is_resumed
    assert contents(out) == contents(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def _never(*_: object) -> None:
    raise AssertionError("this was done before the kill")


def test_half_written_steps_are_done_anew(root: Path, whole: Path, tmp_path: Path) -> None:
    """Parts of a step without the mark that all are there, and a hidden file of a torn write."""
    out = tmp_path / "set"
    with WorkFolder(out, plan_for(root, validation=0.5).origin()) as work:
        (work.folder("pairs") / "000000.jsonl").write_text("no pair\n")
        (work.folder("matches") / ".000000.jsonl.torn.tmp").write_text("{")
    curate(root, out, validation=0.5)
    assert contents(out) == contents(whole)


def test_other_settings_do_not_go_on_in_the_folder_of_a_run(root: Path, tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "set", plan_for(root).origin()):
        pass
    with pytest.raises(ConfigError, match="other settings: seed is 0 there, 7 here"):
        curate(root, tmp_path / "set", seed=7)


def test_two_runs_do_not_write_one_set(root: Path, tmp_path: Path) -> None:
    with (
        WorkFolder(tmp_path / "set", plan_for(root).origin()),
        pytest.raises(ConfigError, match="another run is writing"),
    ):
        curate(root, tmp_path / "set")


def test_a_folder_that_exists_is_never_touched(root: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        curate(root, tmp_path / "set")
    assert list((tmp_path / "set").iterdir()) == []


@pytest.fixture
def leaky(tmp_path: Path) -> tuple[Path, Path]:
    """A source and evaluated images: one of its parts as a JPEG, and one of other pixels."""
    source = write_set(tmp_path / "line", ["lid", "screw"])
    evaluated = tmp_path / "evaluated"
    evaluated.mkdir()
    Image.fromarray(draw_part(1)).save(evaluated / "part.jpg", quality=90)
    Image.fromarray(draw_part(999)).save(evaluated / "other.png")
    return source, evaluated


def test_what_is_evaluated_on_is_left_out_and_told(
    leaky: tuple[Path, Path], tmp_path: Path
) -> None:
    source, evaluated = leaky
    made = curate(source, tmp_path / "set", exclude_classes="mmad", exclude_images=(evaluated,))
    told = left_out(made.folder)
    assert made.counts.pairs == 4, "five lids, of which one is evaluated on"
    assert [one["reason"] for one in told] == ["evaluated class"] * 5 + ["evaluated image"]
    assert told[-1]["what"].endswith("lid/train/good/1.png")
    assert "part.jpg" in told[-1]["detail"]
    keys = {stored.sample.pair for stored in read_shards(made.folder)}
    assert not any("screw" in key or "good/1.png" in key for key in keys)
    assert made.left_out == {("exclude", "evaluated class"): 5, ("exclude", "evaluated image"): 1}


@pytest.mark.parametrize("by_class", [True, False])
def test_under_strict_a_leak_is_an_error(
    leaky: tuple[Path, Path], tmp_path: Path, by_class: bool
) -> None:
    source, evaluated = leaky
    leaks = {"exclude_classes": "mmad"} if by_class else {"exclude_images": (evaluated,)}
    with pytest.raises(DatasetError, match=r"are evaluated on: .*--strict"):
        curate(source, tmp_path / "set", strict=True, **leaks)
    assert not (tmp_path / "set").exists()


def test_copies_and_pictures_that_can_not_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    source = write_set(tmp_path / "line", ["lid"])
    good = source / "lid" / "train" / "good"
    shutil.copy(good / "0.png", good / "7.png")
    (good / "8.png").write_bytes((good / "1.png").read_bytes()[:-40])
    made = curate(source, tmp_path / "set")
    told = {Path(one["what"]).name: one for one in left_out(made.folder)}
    assert set(told) == {"7.png", "8.png"}
    assert told["7.png"]["reason"] == "duplicate"
    assert "line/lid/train/good/0.png, 0 of 256" in told["7.png"]["detail"]
    assert told["8.png"]["reason"] == "unreadable"
    kept = curate(source, tmp_path / "kept", duplicate_bits=None)
    assert kept.counts.pairs == made.counts.pairs + 1


def test_an_image_that_nothing_can_be_compared_with_is_told(tmp_path: Path) -> None:
    source = write_set(tmp_path / "line", ["lid"], parts=1)
    made = curate(source, tmp_path / "set")
    assert made.counts.pairs == 2, "the dented ones; the only good part has no template"
    assert made.left_out == {("mine", "no template"): 1}
    assert left_out(made.folder)[0]["what"].endswith("good/0.png")


def test_a_limit_takes_normal_and_defective_images_of_each_category(
    root: Path, tmp_path: Path
) -> None:
    counts = curate(root, tmp_path / "set", limit=3).counts
    assert (counts.pairs, counts.defective) == (6, 2)


def test_small_shards_are_several_and_hold_whole_pairs(root: Path, tmp_path: Path) -> None:
    made = curate(root, tmp_path / "set", shard_bytes=1)
    names = sorted(path.name for path in (made.folder / "data").iterdir())
    assert names[0] == "train-00000-of-00010.parquet"
    assert len(names) == 10
    assert len(read_shards(made.folder)) == made.counts.samples


def test_single_pairs_are_held_out_if_asked_for(root: Path, tmp_path: Path) -> None:
    made = curate(root, tmp_path / "set", validation=0.5, split_by="pair")
    pairs = [
        {stored.sample.pair for stored in read_shards(made.folder, split=split)}
        for split in ("train", "validation")
    ]
    assert all(pairs)
    assert not set.intersection(*pairs)
    assert "single pairs" in (made.folder / "README.md").read_text()


def test_a_full_disk_is_an_error_and_the_run_goes_on(
    root: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(set_steps, "write_records", full)
        with pytest.raises(ConfigError, match="No space left"):
            curate(root, tmp_path / "set", validation=0.5)
    curate(root, tmp_path / "set", validation=0.5)
    assert contents(tmp_path / "set") == contents(whole)


def test_a_preview_opens_no_picture(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_steps, "look_job", _never)
    images, told = pipeline.preview(plan_for(root), report=quiet)
    assert (len(images), told) == (10, [])


def test_what_a_teacher_writes_stands_behind_what_is_generated(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def teach_all(
        pairs: Iterable[MinedPair], _: TeacherSettings, *, report: TeachReport, on_step: OnStep
    ) -> Iterator[ChatSample]:
        for number, pair in enumerate(pairs):
            on_step("teacher", number, 10)
            if number % 2:
                report.failures["place"] += 1
                continue
            (made,) = generate(pair, tasks=["caption"], per_pair=1, seed=9)
            yield replace(made, key=f"{pair.key}:caption:teacher", author="large")

    monkeypatch.setattr(teach, "teach_all", teach_all)
    settings = TeacherSettings(
        base_url="http://127.0.0.1:1/v1", model="large", folder=tmp_path / "teacher"
    )
    made = curate(root, tmp_path / "set", tasks=("locate",), teacher=settings)
    assert made.counts.authors == {"large": 5, "template": 10}
    assert made.left_out == {("teacher", "place"): 5}
    authors = [stored.sample.author for stored in read_shards(made.folder)]
    assert authors == ["template", "large", "template"] * 5
