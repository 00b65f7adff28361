"""What a run has spent of its budget. A request is let through only if the worst case fits.

Knows neither endpoint nor pairs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adcopilot_edge.errors import BudgetError
from adcopilot_edge.training.chat_ad.teacher.settings import Budget


@dataclass(slots=True)
class Usage:
    """Tokens of a request; before it is answered, the most that it may take."""

    tokens_in: int
    tokens_out: int


class Spending:
    """The budget of a run.

    ::

        async with spending.reserve(Usage(900, 2048)) as usage:
            ...
            usage.tokens_in, usage.tokens_out = 812, 330

    What was set when the block ends is spent. Where nothing was set, because a server tells no
    usage, the reserve is; where the block raises, nothing.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.requests = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self._spent: str | None = None
        self._open: list[Usage] = []
        self._changed = asyncio.Condition()

    @property
    def cost(self) -> float | None:
        """In the prices' currency; None without prices."""
        return self.budget.cost(self.tokens_in, self.tokens_out)

    @asynccontextmanager
    async def reserve(self, usage: Usage) -> AsyncIterator[Usage]:
        """Wait until the request fits, which the answers to others may make it.

        Raises:
            BudgetError: It does not fit, or another did not before.
        """
        reserved = Usage(usage.tokens_in, usage.tokens_out)
        async with self._changed:
            while self._spent is None and (limit := self._exceeded(reserved)):
                if self._open:
                    await self._changed.wait()
                else:
                    self._spent = self._message(limit)
                    self._changed.notify_all()
            if self._spent is not None:
                raise BudgetError(self._spent)
            self._open.append(reserved)
            self.requests += 1
        try:
            yield usage
            self.tokens_in += usage.tokens_in
            self.tokens_out += usage.tokens_out
        finally:
            self._open.remove(reserved)
            async with self._changed:
                self._changed.notify_all()

    def _exceeded(self, more: Usage) -> str | None:
        """The limit that would not hold if ``more`` and all open requests took their most."""
        tokens_in = self.tokens_in + more.tokens_in + sum(one.tokens_in for one in self._open)
        tokens_out = self.tokens_out + more.tokens_out + sum(one.tokens_out for one in self._open)
        budget, cost = self.budget, self.budget.cost(tokens_in, tokens_out)
        if budget.max_requests is not None and self.requests >= budget.max_requests:
            return f"max_requests {budget.max_requests}"
        if budget.max_tokens is not None and tokens_in + tokens_out > budget.max_tokens:
            return f"max_tokens {budget.max_tokens}"
        if budget.max_cost is not None and cost is not None and cost > budget.max_cost:
            return f"max_cost {budget.max_cost:g}"
        return None

    def _message(self, limit: str) -> str:
        spent = f"{self.requests} requests, {self.tokens_in} + {self.tokens_out} tokens in and out"
        if self.cost is not None:
            spent += f", cost {self.cost:.4f}"
        return (
            f"the next request could exceed {limit} (spent: {spent}). All answers are kept: raise "
            "the limit and start again, which goes on behind them, or lower max_answer_tokens"
        )
