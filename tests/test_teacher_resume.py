"""What a further run of the teacher does: the cache, a kill, other servers, and when to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from teacher_runs import change_caption, draw, failing, review, run, settings_for, six_pairs
from teacher_server import Response, answering, right_answer

from adcopilot_edge.errors import BudgetError, ConfigError, InputError, TeacherQualityError
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.teacher.report import TeachReport
from adcopilot_edge.training.chat_ad.teacher.settings import Budget
from adcopilot_edge.training.chat_ad.teacher.teach import teach, teach_all


@pytest.fixture
def pairs(tmp_path: Path) -> list[MinedPair]:
    return six_pairs(tmp_path)


def test_a_second_run_asks_nothing_and_gives_the_same(teacher, pairs, tmp_path) -> None:
    teacher.answer = failing(change_caption("There is a dent."))
    settings = settings_for(teacher, tmp_path)
    first, report = run(pairs, settings)
    lines = review(settings)
    again, report_again = run(pairs, settings)
    assert (again, review(settings)) == (first, lines)
    assert len(lines) == 3
    assert len(teacher.requests) == 6
    assert (report_again.cached, report_again.requests, report_again.tokens_in) == (6, 0, 0)
    assert report_again.samples == report.samples


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "other"},
        {"temperature": 0.7},
        {"top_p": 0.9},
        {"seed": 1},
        {"max_answer_tokens": 999},
        {"image_side": 200},
        {"jpeg_quality": 50},
        {"tasks": ("caption",)},
    ],
)
def test_what_an_answer_depends_on_is_asked_anew(teacher, pairs, tmp_path, changes) -> None:
    settings = settings_for(teacher, tmp_path)
    run(pairs[:1], settings)
    run(pairs[:1], settings.model_copy(update=changes))
    assert len(teacher.requests) == 2


@pytest.mark.parametrize(
    "changes", [{"concurrency": 1}, {"min_iou": 0.9}, {"max_retries": 9}, {"answer_form": "plain"}]
)
def test_what_an_answer_does_not_depend_on_is_not(teacher, pairs, tmp_path, changes) -> None:
    settings = settings_for(teacher, tmp_path)
    run(pairs[:1], settings)
    run(pairs[:1], settings.model_copy(update=changes))
    assert len(teacher.requests) == 1


def test_other_pixels_or_facts_are_asked_anew(teacher, pairs, tmp_path) -> None:
    settings = settings_for(teacher, tmp_path)
    run(pairs[1:2], settings)
    draw(pairs[1].query, 77)
    run(pairs[1:2], settings)
    assert len(teacher.requests) == 2
    for name in ("line/elsewhere.png", "line/1.png"):  # a name is no fact
        run([pairs[1].__class__(**{**_fields(pairs[1]), "key": name})], settings)
    assert len(teacher.requests) == 2
    run([pairs[1].__class__(**{**_fields(pairs[1]), "category": "bolt"})], settings)
    assert len(teacher.requests) == 3


def _fields(pair: MinedPair) -> dict[str, Any]:
    return {name: getattr(pair, name) for name in pair.__slots__}


def test_a_run_that_is_killed_goes_on_behind_what_was_answered(teacher, pairs, tmp_path) -> None:
    """Killed while the fourth request waits; the second run asks for the rest and no more."""
    settings = settings_for(teacher, tmp_path, concurrency=1)
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from teacher_runs import run, six_pairs
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
settings = TeacherSettings(
    base_url={teacher.url!r}, model="teacher", folder=Path({str(settings.folder)!r}), concurrency=1
)
run(six_pairs(Path({str(tmp_path)!r})), settings)
"""
    waits = list[str]()

    def answer(request: Any, number: int) -> Response:
        while number == 3 and not waits:
            time.sleep(0.01)
        return answering(right_answer(request))

    teacher.answer = answer
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ}) as process:
        while len(teacher.requests) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    waits.append("over")
    samples, report = run(pairs, settings)
    assert (report.cached, report.requests, len(samples)) == (3, 3, 18)
    assert len(teacher.requests) == 7


def test_a_line_of_the_review_that_was_cut_short_is_dropped(teacher, pairs, tmp_path) -> None:
    teacher.answer = failing(change_caption("There is a dent."))
    settings = settings_for(teacher, tmp_path)
    run(pairs, settings)
    path = settings.folder / "review.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    run(pairs, settings)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["cache.sqlite", "review.jsonl"])
def test_a_folder_that_can_not_be_used(teacher, pairs, tmp_path, name) -> None:
    settings = settings_for(teacher, tmp_path)
    (settings.folder / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=name):
        run(pairs, settings)
    assert teacher.requests == []


def test_a_damaged_cache(teacher, pairs, tmp_path) -> None:
    settings = settings_for(teacher, tmp_path)
    settings.folder.mkdir()
    (settings.folder / "cache.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match=r"cache\.sqlite.*remove the file"):
        run(pairs, settings)


def test_a_picture_that_can_not_be_read(teacher, pairs, tmp_path) -> None:
    settings = settings_for(teacher, tmp_path)
    pairs[2].query.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2\.png"):
        run(pairs, settings)
    pairs[2].query.unlink()
    with pytest.raises(InputError, match=r"2\.png"):
        run(pairs, settings)


def test_a_server_without_schemas_is_asked_in_words(teacher, pairs, tmp_path) -> None:
    body = {"error": {"message": "response_format json_schema is not supported"}}

    def answer(request: Any, _: int) -> Response:
        refused = "response_format" in request
        return Response(status=400, body=body) if refused else answering(right_answer(request))

    teacher.answer = answer
    settings = settings_for(teacher, tmp_path, concurrency=1)
    samples, _ = run(pairs, settings)
    assert (len(samples), len(teacher.requests)) == (18, 7)
    assert "additionalProperties" in teacher.requests[-1]["messages"][0]["content"]
    assert "additionalProperties" not in teacher.requests[0]["messages"][0]["content"]


def test_a_server_that_calls_the_length_otherwise(teacher, pairs, tmp_path) -> None:
    body = {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}

    def answer(request: Any, _: int) -> Response:
        refused = "max_tokens" in request
        return Response(status=400, body=body) if refused else answering(right_answer(request))

    teacher.answer = answer
    samples, _ = run(pairs[:1], settings_for(teacher, tmp_path))
    assert len(samples) == 3
    assert teacher.requests[-1]["max_completion_tokens"] == 2048


def test_too_much_that_is_wrong_stops_the_run(teacher, pairs, tmp_path) -> None:
    teacher.answer = failing(lambda answer: answer.update(verdict="normal"))
    settings = settings_for(teacher, tmp_path, max_failure_share=0.4, failures_after=10)
    report = TeachReport()
    kept = list[ChatSample]()
    with pytest.raises(TeacherQualityError, match=r"6 of 12 pieces.*verdict 6.*review\.jsonl"):
        kept.extend(teach_all(pairs, settings, report=report))
    assert report.num_judged == 12
    run(pairs, settings.model_copy(update={"max_failure_share": 0.5}))


def test_what_was_given_before_a_stop_is_kept(teacher, pairs, tmp_path) -> None:
    settings = settings_for(teacher, tmp_path, concurrency=1, budget=Budget(max_requests=2))
    kept, report = list[ChatSample](), TeachReport()
    with pytest.raises(BudgetError, match=r"max_requests 2 .*spent: 2 requests.*start again"):
        kept.extend(teach_all(pairs, settings, report=report))
    assert ([one.pair for one in kept[::3]], report.requests) == ([p.key for p in pairs[:2]], 2)
    more = settings.model_copy(update={"budget": Budget(max_requests=6)})
    samples, report = run(pairs, more)
    assert (len(samples), report.cached, report.requests) == (18, 2, 4)


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (Budget(max_tokens=30_000), "max_tokens"),
        (Budget(max_cost=0.03, price_in=1.0, price_out=1.0), "max_cost"),
    ],
)
def test_tokens_and_money_are_never_exceeded(teacher, pairs, tmp_path, budget, limit) -> None:
    usage = {"prompt_tokens": 9000, "completion_tokens": 1000, "total_tokens": 10_000}

    def answer(request: Any, _: int) -> Response:
        right = answering(right_answer(request))
        right.usage = usage
        return right

    teacher.answer = answer
    settings = settings_for(teacher, tmp_path, budget=budget, image_side=100)
    report = TeachReport()
    with pytest.raises(BudgetError, match=limit):
        list(teach_all(pairs, settings, report=report))
    assert report.requests == 2
    assert report.tokens_in + report.tokens_out <= 30_000


def test_a_server_that_tells_no_usage_counts_as_the_most(teacher, pairs, tmp_path) -> None:
    def answer(request: Any, _: int) -> Response:
        right = answering(right_answer(request))
        right.usage = None
        return right

    teacher.answer = answer
    report = TeachReport()
    list(teach_all(pairs[:1], settings_for(teacher, tmp_path), report=report))
    assert report.tokens_out == 2048
    assert report.tokens_in > 1000


def test_inside_an_event_loop_and_left_early(teacher, pairs, tmp_path) -> None:
    async def first() -> str:
        samples = teach(iter(pairs), settings_for(teacher, tmp_path), on_step=steps.append_step)
        async for sample in samples:
            await samples.aclose()
            return sample.key
        raise AssertionError

    steps = _Steps()
    assert asyncio.run(first()) == f"{pairs[0].key}:caption:teacher"
    run(pairs, settings_for(teacher, tmp_path))


def test_steps_are_told(teacher, pairs, tmp_path) -> None:
    steps = _Steps()
    list(teach_all(pairs[:2], settings_for(teacher, tmp_path), on_step=steps.append_step))
    assert steps.told == [("teacher", 1, 2), ("teacher", 2, 2)]


class _Steps:
    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def append_step(self, name: str, done: int, total: int) -> None:
        self.told.append((name, done, total))
