"""``curate --dry-run --teacher``: what the teacher would be sent and may cost, before it is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from curation import write_set
from teacher_server import answering, right_answer, teacher_server

Cli = Callable[..., tuple[int, str, str]]

SETTINGS = """
base_url = "{url}"
model = "large"
max_answer_tokens = 100
max_failure_share = 1.0
[budget]
max_requests = 10
price_in = 2.0
price_out = 10.0
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return write_set(tmp_path / "line")


def settings_file(folder: Path, url: str = "http://127.0.0.1:1/v1") -> Path:
    path = folder / "teacher.toml"
    path.write_text(SETTINGS.format(url=url))
    return path


def test_a_dry_run_tells_requests_tokens_and_cost_and_leaves_nothing(
    cli: Cli, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    words = ("--dry-run", "--teacher", settings_file(tmp_path), "--out", tmp_path / "set")
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = cli("curate", line, *words, "--json")
    assert code == 0
    told = json.loads(out)["teacher"]
    assert (told["requests"], told["cached"], told["max_tokens_out"]) == (10, 0, 1000)
    assert told["picture_tokens_in"] == 10 * 2 * 3 * 2, "64x48 pixels are 3x2 patches of 28"
    tokens_in = told["text_tokens_in"] + told["picture_tokens_in"]
    assert told["max_cost"] == pytest.approx((2 * tokens_in + 10 * 1000) / 1e6)
    assert told["limits"] == []
    code, out, _ = cli("curate", line, *words)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"teacher 10 requests to large, 0 answers are in {tmp_path / 'set.teacher'}" in lines
    assert f"costs at most {told['max_cost']:.4f}, by the prices of its budget" in lines
    assert "out at most 1000" in lines
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_asks_about_the_pairs_that_a_run_asks_about(
    cli: Cli, line: Path, tmp_path: Path
) -> None:
    with teacher_server() as teacher:
        teacher.answer = lambda request, _: answering(right_answer(request))
        words = ("--teacher", settings_file(tmp_path, teacher.url), "--out", tmp_path / "set")
        code, _, err = cli("curate", line, *words)
        assert code == 0, err
        sent = len(teacher.requests)
        code, out, _ = cli("curate", line, *words, "--dry-run", "--json")
        assert code == 0
        assert len(teacher.requests) == sent == 10
    told = json.loads(out)["teacher"]
    assert (told["requests"], told["cached"], told["max_cost"]) == (0, 10, 0.0)


def test_a_budget_that_may_not_do_is_told(cli: Cli, line: Path, tmp_path: Path) -> None:
    path = settings_file(tmp_path)
    path.write_text(path.read_text().replace("max_requests = 10", "max_requests = 9"))
    code, out, _ = cli("curate", line, "--dry-run", "--teacher", path)
    assert code == 0
    assert "budget     the run may stop at max_requests 9" in out


def test_a_temporary_folder_that_can_not_be_written_is_named(
    cli: Cli, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    code, _, err = cli("curate", line, "--dry-run", "--teacher", settings_file(tmp_path))
    assert code == 2
    assert "set TMPDIR to another folder" in err
