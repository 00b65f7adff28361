"""Limits of memory: sizes as people write them, and how a proof keeps to a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export import memory
from adcopilot_edge.export.memory import ModelBytes, plan_memory
from adcopilot_edge.runtime.memory import parse_bytes

pytestmark = pytest.mark.torch

GIB = 1 << 30
SEVEN_B = ModelBytes(
    torch_total=34 * GIB,
    torch_largest=GIB,
    graphs=7 * GIB,
    largest_node=GIB * 6 // 10,
    activations=352 << 20,
)
NANO = ModelBytes(
    torch_total=30 << 20,
    torch_largest=3 << 20,
    graphs=6 << 20,
    largest_node=1 << 20,
    activations=10 << 20,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 * GIB), ("4g", 4 * GIB), ("4.5GiB", 4.5 * GIB), ("512MB", 512 << 20), ("77", 77)],
)
def test_sizes_as_people_write_them(text: str, size: float) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "4T", "four", "-1G", "4 G B"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="is written 4G"):
        parse_bytes(text)


def test_a_small_model_stays_whole() -> None:
    plan = plan_memory(NANO, 4 * GIB)
    assert plan.is_whole
    assert plan.torch_budget == NANO.torch_total


def test_a_large_model_goes_through_a_small_memory_in_pieces() -> None:
    plan = plan_memory(SEVEN_B, 4 * GIB)
    assert not plan.is_whole
    assert plan.peak <= 4 * GIB
    assert plan.torch_budget < SEVEN_B.torch_total
    assert plan.piece_budget is not None
    assert SEVEN_B.largest_node <= plan.piece_budget < SEVEN_B.graphs


def test_more_memory_keeps_more() -> None:
    plans = [plan_memory(SEVEN_B, limit * GIB) for limit in (4, 8, 16)]
    budgets = [plan.torch_budget for plan in plans]
    assert budgets == sorted(set(budgets))
    assert plan_memory(SEVEN_B, 64 * GIB).is_whole


def test_larger_images_leave_less_for_weights() -> None:
    plain = plan_memory(SEVEN_B, 4 * GIB)
    large = plan_memory(replace(SEVEN_B, activations=GIB), 4 * GIB)
    assert large.peak <= 4 * GIB
    assert large.torch_budget < plain.torch_budget
    assert large.piece_budget is not None
    assert plain.piece_budget is not None
    assert large.piece_budget < plain.piece_budget


def test_too_little_says_the_least_that_works() -> None:
    with pytest.raises(ConfigError, match=r"at least 2\.8 GiB .* --max-ram allows 2\.0 GiB"):
        plan_memory(SEVEN_B, 2 * GIB)
    assert plan_memory(SEVEN_B, parse_bytes("2.8G")).peak <= 2.8 * GIB


def test_the_default_is_most_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 10 * GIB)
    assert plan_memory(SEVEN_B, None).limit == 8 * GIB
    monkeypatch.setattr(memory, "free_bytes", lambda: 2 * GIB)
    with pytest.raises(ConfigError, match=r"1\.6 GiB are free"):
        plan_memory(SEVEN_B, None)
