"""What is spent of a budget, over all runs. A request is let through only if its worst case fits.

Knows neither endpoint nor pairs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.errors import BudgetError
from adcopilot_edge.training.chat_ad.teacher.settings import Budget
from adcopilot_edge.training.chat_ad.teacher.spent import (
    SPENT_FILE,
    Spent,
    read_spent,
    write_spent,
)


@dataclass(slots=True)
class Usage:
    """Tokens of a request; before it is answered, the most that it may take."""

    tokens_in: int
    tokens_out: int


class Spending:
    """A budget, and what this run and those before it with ``folder`` spent of it.

    ::

        async with spending.reserve(Usage(900, 2048)) as usage:
            ...
            usage.tokens_in, usage.tokens_out = 812, 330

    What was set when the block ends, or raises, is spent; where nothing was set, the reserve is.
    While it is open the reserve counts as spent on disk, so that a kill leaves nothing unpaid.

    requests, tokens_in, tokens_out, cost: of this run.

    Raises:
        ConfigError: What was spent before can't be read, or the folder can't be written.
    """

    def __init__(self, budget: Budget, folder: Path) -> None:
        self.budget = budget
        self._folder = folder
        self._before = read_spent(folder)
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
    async def reserve(self, most: Usage) -> AsyncIterator[Usage]:
        """Wait until the request fits, which the answers to others may make it.

        Raises:
            BudgetError: It does not fit, or another did not before.
        """
        usage = Usage(most.tokens_in, most.tokens_out)
        async with self._changed:
            while self._spent is None and (limit := self._exceeded(most)):
                if self._open:
                    await self._changed.wait()
                else:
                    self._spent = self._message(limit)
                    self._changed.notify_all()
            if self._spent is not None:
                raise BudgetError(self._spent)
            self._open.append(most)
            self.requests += 1
            write_spent(self._folder, self._total())
        try:
            yield usage
        finally:
            self._open.remove(most)
            self.tokens_in += usage.tokens_in
            self.tokens_out += usage.tokens_out
            write_spent(self._folder, self._total())
            async with self._changed:
                self._changed.notify_all()

    def _total(self) -> Spent:
        """What all runs spent if all open requests take their most."""
        before = self._before
        open_in = sum(one.tokens_in for one in self._open)
        open_out = sum(one.tokens_out for one in self._open)
        return Spent(
            requests=before.requests + self.requests,
            tokens_in=before.tokens_in + self.tokens_in + open_in,
            tokens_out=before.tokens_out + self.tokens_out + open_out,
        )

    def _exceeded(self, more: Usage) -> str | None:
        """The limit that would not hold if ``more`` and all open requests took their most."""
        total = self._total()
        tokens_in, tokens_out = total.tokens_in + more.tokens_in, total.tokens_out + more.tokens_out
        budget, cost = self.budget, self.budget.cost(tokens_in, tokens_out)
        if budget.max_requests is not None and total.requests >= budget.max_requests:
            return f"max_requests {budget.max_requests}"
        if budget.max_tokens is not None and tokens_in + tokens_out > budget.max_tokens:
            return f"max_tokens {budget.max_tokens}"
        if budget.max_cost is not None and cost is not None and cost > budget.max_cost:
            return f"max_cost {budget.max_cost:g}"
        return None

    def _message(self, limit: str) -> str:
        total = self._total()
        spent = (
            f"{total.requests} requests, {total.tokens_in} + {total.tokens_out} tokens in and out"
        )
        if (cost := self.budget.cost(total.tokens_in, total.tokens_out)) is not None:
            spent += f", cost {cost:.4f}"
        return (
            f"the next request could exceed {limit} (spent: {spent}, by all runs that "
            f"{self._folder / SPENT_FILE} counts). All answers are kept: raise the limit and start "
            "again, which goes on behind them"
        )
