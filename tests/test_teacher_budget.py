"""A budget over all runs with a folder: what was spent before, kills, and tries without an end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from teacher_runs import run, settings_for, six_pairs
from teacher_server import USAGE, Response, answering, right_answer, teacher_server

from adcopilot_edge.errors import BudgetError, ConfigError, TeacherUnavailableError
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.teacher.ask import most_tokens_in, request_key
from adcopilot_edge.training.chat_ad.teacher.estimate import estimate
from adcopilot_edge.training.chat_ad.teacher.settings import Budget, TeacherSettings
from adcopilot_edge.training.chat_ad.teacher.spending import Spending, Usage

SOON = {"retry-after-ms": "1"}
DROPPED = Response(is_dropped=True)


@pytest.fixture
def pairs(tmp_path: Path) -> list[MinedPair]:
    return six_pairs(tmp_path)


def spent(settings: TeacherSettings) -> tuple[int, int, int]:
    """Requests, tokens in and tokens out of all runs."""
    values = json.loads((settings.folder / "spent.json").read_text(encoding="utf-8"))
    return values["requests"], values["tokens_in"], values["tokens_out"]


def most_of(pair: MinedPair, settings: TeacherSettings) -> tuple[int, int]:
    """The tokens in and out that a first request about ``pair`` may take."""
    _, asked = request_key(pair, settings)
    return most_tokens_in(asked, settings), settings.max_answer_tokens


@pytest.mark.parametrize(
    "budget",
    [
        Budget(max_requests=2),
        Budget(max_tokens=2 * 800 + 2500),
        Budget(max_cost=0.0041, price_in=1.0, price_out=1.0),
    ],
)
def test_a_run_that_is_started_again_spends_no_more(teacher, pairs, tmp_path, budget) -> None:
    settings = settings_for(teacher, tmp_path, budget=budget, image_side=100, concurrency=1)
    settings = settings.model_copy(update={"max_answer_tokens": 1000})
    with pytest.raises(BudgetError):
        run(pairs, settings)
    sent = len(teacher.requests)
    assert 0 < sent < 6
    for _ in range(3):
        with pytest.raises(BudgetError, match=rf"spent: {sent} requests.*spent\.json"):
            run(pairs, settings)
    assert len(teacher.requests) == sent
    assert spent(settings) == (sent, 700 * sent, 100 * sent)


def test_the_message_advises_nothing_that_has_all_paid_again(teacher, pairs, tmp_path) -> None:
    settings = settings_for(teacher, tmp_path, budget=Budget(max_requests=1))
    with pytest.raises(BudgetError) as caught:
        run(pairs, settings)
    assert "max_answer_tokens" not in str(caught.value)


def test_what_a_dry_run_says_counts_what_was_spent(teacher, pairs, tmp_path) -> None:
    settings = settings_for(teacher, tmp_path, budget=Budget(max_requests=6))
    run(pairs[:1], settings)
    assert estimate(pairs, settings).limits == ()
    other = settings.model_copy(update={"seed": 1})
    assert estimate(pairs, other).limits == ("max_requests 6",)


def test_a_reserve_is_spent_on_disk_before_its_request_is_sent(tmp_path) -> None:
    async def killed() -> None:
        async with Spending(Budget(), tmp_path).reserve(Usage(900, 2048)):
            again = Spending(Budget(max_tokens=2999), tmp_path)
            with pytest.raises(BudgetError, match=r"1 requests, 900 \+ 2048 tokens"):
                async with again.reserve(Usage(50, 2)):
                    pass

    asyncio.run(killed())


def test_tries_that_nobody_knows_the_end_of_count_as_the_most(teacher, pairs, tmp_path) -> None:
    teacher.answer = lambda *_: DROPPED
    settings = settings_for(teacher, tmp_path, max_retries=1)
    _, report = run(pairs[:1], settings)
    tokens_in, tokens_out = most_of(pairs[0], settings)
    assert len(teacher.requests) == 2
    assert spent(settings) == (1, 2 * tokens_in, 2 * tokens_out)
    assert (report.tokens_in, report.unanswered) == (2 * tokens_in, 1)


def test_a_try_before_the_answer_counts_too(teacher, pairs, tmp_path) -> None:
    def answer(request: Any, number: int) -> Response:
        refused = Response(status=(504, 429)[number], headers=SOON) if number < 2 else None
        return refused or answering(right_answer(request))

    teacher.answer = answer
    settings = settings_for(teacher, tmp_path)
    run(pairs[:1], settings)
    tokens_in, tokens_out = most_of(pairs[0], settings)
    used = USAGE["prompt_tokens"], USAGE["completion_tokens"]
    assert spent(settings) == (1, tokens_in + used[0], tokens_out + used[1]), "504 but not 429"


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_what_is_refused_costs_nothing(teacher, pairs, tmp_path, status) -> None:
    teacher.answer = lambda *_: Response(status=status, headers=SOON)
    settings = settings_for(teacher, tmp_path, max_unanswered=1)
    with pytest.raises(TeacherUnavailableError):
        run(pairs[:1], settings)
    assert spent(settings) == (1, 0, 0)


def test_what_was_never_sent_costs_nothing(pairs, tmp_path) -> None:
    with teacher_server() as gone:
        pass
    settings = settings_for(gone, tmp_path, max_retries=1)
    run(pairs[:1], settings)
    assert spent(settings) == (1, 0, 0)


def test_an_answer_that_can_not_be_read_counts_as_the_most(teacher, pairs, tmp_path) -> None:
    teacher.answer = lambda *_: Response(body={"choices": []})
    settings = settings_for(teacher, tmp_path)
    run(pairs[:1], settings)
    assert spent(settings) == (1, *most_of(pairs[0], settings))


@pytest.mark.parametrize("damage", ["", "{", '{"requests": -1}', '{"spent": 1}'])
def test_a_damaged_count(teacher, pairs, tmp_path, damage) -> None:
    settings = settings_for(teacher, tmp_path)
    settings.folder.mkdir()
    (settings.folder / "spent.json").write_text(damage, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"spent\.json.*remove the file"):
        run(pairs, settings)
    assert teacher.requests == []


def test_a_count_that_can_not_be_written(teacher, pairs, tmp_path, monkeypatch) -> None:
    settings = settings_for(teacher, tmp_path)
    module = "adcopilot_edge.training.chat_ad.teacher.spent.atomic_write"

    def full(_: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(module, full)
    with pytest.raises(ConfigError, match=r"can't write .*spent\.json.*disk is full"):
        run(pairs, settings)
    assert teacher.requests == []
