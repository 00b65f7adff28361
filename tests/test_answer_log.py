"""Answers in a file: kept, taken over, cut short, of another run."""

from __future__ import annotations

from pathlib import Path

import pytest

from adcopilot_edge.calibration.answer_log import AnswerLog
from adcopilot_edge.errors import ConfigError, DatasetError

ORIGIN = {"bundle": "abc", "shots": 1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "answers.jsonl"
    with AnswerLog(path, ORIGIN) as log:
        log.add("a", {"letter": "A", "words": "A, schön"})
        log.add("b", {"letter": "B"})
    return path


def test_a_second_run_has_the_answers_of_the_first(path: Path) -> None:
    with AnswerLog(path, ORIGIN) as log:
        assert log.answers == {"a": {"letter": "A", "words": "A, schön"}, "b": {"letter": "B"}}
        log.add("c", {})
    with AnswerLog(path, ORIGIN) as log:
        assert list(log.answers) == ["a", "b", "c"]


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_line_cut_short_is_dropped(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    with AnswerLog(path, ORIGIN) as log:
        assert list(log.answers) == ["a"]
        log.add("b", {"letter": "C"})
    with AnswerLog(path, ORIGIN) as log:
        assert log.answers["b"] == {"letter": "C"}


def test_a_run_killed_before_its_first_line(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:7])
    with AnswerLog(path, ORIGIN) as log:
        assert log.answers == {}
    with AnswerLog(path, ORIGIN) as log:
        assert log.answers == {}


def test_answers_of_another_run_are_refused(path: Path) -> None:
    other = {"bundle": "xyz", "shots": 1, "seed": 0}
    words = r"bundle is 'abc' there, 'xyz' here; seed is None there, 0 here"
    with pytest.raises(ConfigError, match=words), AnswerLog(path, other):
        pass
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("line", [b"{nonsense\n", b'["a"]\n', b'{"origin": {}}\n'])
def test_a_damaged_line_is_named(path: Path, line: bytes) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], line, lines[2]]))
    with pytest.raises(DatasetError, match="line 2"), AnswerLog(path, ORIGIN):
        pass


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(ConfigError, match=r"can't write .*--out"),
        AnswerLog(tmp_path / "file" / "answers.jsonl", ORIGIN),
    ):
        pass
