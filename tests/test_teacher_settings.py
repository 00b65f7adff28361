"""What may be set for a teacher, what a run would send, and how much a budget lets through."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from teacher_runs import run, settings_for, six_pairs
from teacher_server import answering, right_answer, teacher_server

from adcopilot_edge.errors import BudgetError, ConfigError
from adcopilot_edge.training.chat_ad.teacher.estimate import estimate
from adcopilot_edge.training.chat_ad.teacher.settings import (
    Budget,
    TeacherSettings,
    teacher_settings,
)
from adcopilot_edge.training.chat_ad.teacher.spending import Spending, Usage

PLAIN = {"base_url": "http://127.0.0.1:8000/v1/", "model": "teacher", "folder": "teacher"}
PRICES = {"price_in": 2.0, "price_out": 10.0}


def test_settings_come_from_a_table_of_plain_values() -> None:
    budget = {"max_cost": 5, **PRICES}
    settings = teacher_settings({**PLAIN, "tasks": ["choice"], "budget": budget})
    assert settings.base_url == "http://127.0.0.1:8000/v1"
    assert (settings.folder, settings.tasks) == (Path("teacher"), ("choice",))
    assert settings.budget.cost(1_000_000, 100_000) == 3.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"base_url": "localhost:8000"}, "base_url: .*must start with http"),
        ({"model": ""}, "model"),
        ({"modell": "x"}, "modell: Extra inputs"),
        ({"concurrency": "8"}, "concurrency: .*integer"),
        ({"concurrency": 0}, "concurrency"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["caption", "caption"]}, "tasks: .*each task once"),
        ({"tasks": ["locate"]}, "tasks.0"),
        ({"temperature": 3}, "temperature"),
        ({"min_iou": 0}, "min_iou"),
        ({"budget": {"max_cost": 1.0}}, "budget: .*price_in and price_out"),
        ({"budget": {"max_requests": 0}}, "budget.max_requests"),
    ],
)
def test_settings_that_are_wrong(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        teacher_settings({**PLAIN, **values})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"concurrency: .*; timeout_s: "):
        teacher_settings({**PLAIN, "concurrency": 0, "timeout_s": -1})


def test_a_key_is_asked_for_by_the_name_of_its_variable(monkeypatch) -> None:
    settings = TeacherSettings(base_url="http://x/v1", model="m", folder=Path(), api_key_env="KEY")
    monkeypatch.setenv("KEY", " secret\n")
    assert settings.api_key().get_secret_value() == "secret"
    assert "secret" not in repr(settings.api_key())
    monkeypatch.setenv("KEY", " ")
    with pytest.raises(ConfigError, match="KEY is not set"):
        settings.api_key()


def test_an_estimate_sends_nothing_and_counts_what_is_left(tmp_path) -> None:
    pairs = six_pairs(tmp_path)
    with teacher_server() as teacher:
        teacher.answer = lambda request, _: answering(right_answer(request))
        settings = settings_for(
            teacher, tmp_path, budget=Budget(price_in=2.0, price_out=10.0), image_side=140
        )
        before = estimate(iter(pairs), settings)
        assert (teacher.requests, settings.folder.exists()) == ([], False)
        run(pairs[:2], settings)
        after = estimate(pairs, settings)
        sent = [json.dumps(one["messages"][1]["content"]) for one in teacher.requests]
    assert (before.requests, before.cached, before.measured_pairs) == (6, 0, 6)
    assert (after.requests, after.cached) == (4, 2)
    assert before.picture_tokens_in == 6 * 2 * 5 * 5
    assert before.max_tokens_out == 6 * settings.max_answer_tokens
    tokens_in = before.text_tokens_in + before.picture_tokens_in
    assert before.max_cost == pytest.approx((2.0 * tokens_in + 10.0 * before.max_tokens_out) / 1e6)
    pictures = sum(len(one) for one in sent)
    assert 0 < (before.sent_bytes - after.sent_bytes) < pictures
    assert set(before.to_json()) >= {"requests", "sent_bytes", "max_cost"}
    assert estimate(pairs, settings.model_copy(update={"budget": Budget()})).max_cost is None


def test_an_estimate_says_which_limits_a_run_may_reach(tmp_path) -> None:
    pairs = six_pairs(tmp_path)
    settings = teacher_settings({**PLAIN, "folder": tmp_path / "none", "image_side": 140})
    need = estimate(pairs, settings)
    tokens = need.text_tokens_in + need.picture_tokens_in + need.max_tokens_out
    for budget, limits in (
        (Budget(max_requests=6, max_tokens=tokens, max_cost=1.0, price_in=2, price_out=10), ()),
        (
            Budget(max_requests=5, max_tokens=tokens - 1),
            ("max_requests 5", f"max_tokens {tokens - 1}"),
        ),
        (Budget(max_cost=0.1, price_in=2, price_out=10), ("max_cost 0.1",)),
    ):
        assert estimate(pairs, settings.model_copy(update={"budget": budget})).limits == limits


def test_a_request_waits_until_the_answers_to_others_make_room(tmp_path) -> None:
    async def scenario() -> list[str]:
        spending = Spending(Budget(max_tokens=100), tmp_path)
        told = []
        may_end = asyncio.Event()

        async def first() -> None:
            async with spending.reserve(Usage(50, 20)) as usage:
                told.append("first in")
                await may_end.wait()
                usage.tokens_in, usage.tokens_out = 20, 5
                told.append("first out")

        async def second() -> None:
            async with spending.reserve(Usage(40, 20)) as usage:
                told.append("second in")
                usage.tokens_in, usage.tokens_out = 40, 20

        tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
        for _ in range(10):
            await asyncio.sleep(0)
        assert told == ["first in"]
        may_end.set()
        await asyncio.gather(*tasks)
        assert (spending.tokens_in, spending.tokens_out, spending.requests) == (60, 25, 2)
        with pytest.raises(BudgetError, match="max_tokens 100"):
            async with spending.reserve(Usage(10, 10)):
                told.append("third in")
        return told

    assert asyncio.run(scenario()) == ["first in", "first out", "second in"]


def test_a_request_that_breaks_off_spends_its_reserve(tmp_path) -> None:
    async def scenario() -> Spending:
        spending = Spending(Budget(price_in=2.0, price_out=10.0), tmp_path)
        with pytest.raises(RuntimeError):
            async with spending.reserve(Usage(50, 20)):
                raise RuntimeError
        return spending

    spending = asyncio.run(scenario())
    assert (spending.requests, spending.tokens_in, spending.tokens_out) == (1, 50, 20)
    assert spending.cost == pytest.approx(0.0003)
