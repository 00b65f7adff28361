"""The one thing that a worker does at a time, and from when on it counts as stuck."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass

from adcopilot_edge.runtime.daemon.messages import NewProducts
from adcopilot_edge.runtime.daemon.ticket import Ticket

# A bundle of 7B on a slow disk, with a golden for each of many products, starts within this.
_START_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductChange:
    """Other products that the worker is to take. done: has what is wrong with them, or None."""

    message: NewProducts
    done: Future[str | None]

    @classmethod
    def of(cls, message: NewProducts) -> ProductChange:
        """A change that nobody can call off."""
        done: Future[str | None] = Future()
        done.set_running_or_notify_cancel()
        return cls(message=message, done=done)

    def end(self, problem: str | None) -> None:
        """Tell who waits; the first word counts."""
        with suppress(InvalidStateError):
            self.done.set_result(problem)


@dataclass(slots=True, kw_only=True)
class InHand:
    """What the worker does. Without a ticket and a change it starts, or its part was ended.

    since, until: by the monotonic clock, until being when it is stuck. number: of the part whose
    inspection goes on, also when that part was ended meanwhile.
    """

    what: str
    since: float
    until: float
    number: int | None = None
    ticket: Ticket | None = None
    change: ProductChange | None = None

    @classmethod
    def start(cls, now: float) -> InHand:
        """The start of a worker."""
        return cls(what="the start", since=now, until=now + _START_S)

    @classmethod
    def part(cls, ticket: Ticket, now: float, stuck_after_s: float) -> InHand:
        """The inspection of a part."""
        return cls(
            what="the inspection",
            since=now,
            until=now + stuck_after_s,
            number=ticket.number,
            ticket=ticket,
        )

    @classmethod
    def products(cls, change: ProductChange, now: float, stuck_after_s: float) -> InHand:
        """The change of products; each of its goldens may take as long as an inspection."""
        goldens = sum(len(product.goldens) for product in change.message.products.values())
        return cls(
            what="the change of products",
            since=now,
            until=now + stuck_after_s * (1 + goldens),
            change=change,
        )

    def __str__(self) -> str:
        return f"{self.what} took more than {self.until - self.since:g} s"
