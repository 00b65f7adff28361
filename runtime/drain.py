"""The value that a generator returns, for callers who want no steps. Knows nothing of the work."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

Result = TypeVar("Result")


def drain(steps: Generator[Any, None, Result]) -> Result:
    """Run ``steps`` to its end; return what it returns."""
    results: list[Result] = []

    def collect() -> Generator[Any, None, None]:
        results.append((yield from steps))

    for _ in collect():
        pass
    return results[0]
