"""A part's events and its final record, from the line's thread into a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress

from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.daemon.ticket import Ticket
from adcopilot_edge.runtime.stream import Event


async def final_record(ticket: Ticket) -> FinalRecord:
    """Wait for the record of a part. Who stops waiting leaves the part as it is.

    Raises JournalError when the record could not be written.
    """
    return await asyncio.wrap_future(ticket.done)


class Follower:
    """Collects what is told of one part; made in the loop of the request."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | Future[FinalRecord]] = asyncio.Queue()

    def put(self, item: Event | Future[FinalRecord]) -> None:
        """Take an event or the end, in any thread, also after the request is over."""
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def follow(
        self, ticket: Ticket, *, quiet_s: float = 15.0
    ) -> AsyncIterator[Event | FinalRecord | None]:
        """The events as they come, and the record at last; None whenever it was quiet for long.

        Raises JournalError when the record could not be written.
        """
        ticket.done.add_done_callback(self.put)
        while True:
            try:
                item = await asyncio.wait_for(self._queue.get(), quiet_s)
            except asyncio.TimeoutError:
                yield None
                continue
            if isinstance(item, Future):
                yield item.result()
                return
            yield item
