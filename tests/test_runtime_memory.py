"""Sizes as people write them, and what the system says is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.memory import free_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4G", 4 << 30),
        ("4g", 4 << 30),
        ("4GiB", 4 << 30),
        ("4GB", 4 << 30),
        ("4.5GiB", 9 << 29),
        ("512M", 512 << 20),
        (" 16K ", 16 << 10),
        ("1024", 1024),
        ("1024B", 1024),
        ("0", 0),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "G", "-1G", "4T", "4 G", "1e9", "4,5G", "four", "inf", "٤G"])
def test_words_that_are_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match=r"written 4G, 512M or 4\.5GiB, got"):
        parse_bytes(text)


def test_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "MemTotal:       9 kB\nMemAvailable:   7 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert free_bytes() == 7 << 10


@pytest.mark.parametrize("text", ["", "MemTotal: 9 kB\n", "MemAvailable: many kB\n", "nothing"])
def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert free_bytes() is None


def test_a_system_without_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    assert free_bytes() is None
