"""One item prepared ahead: a thread gets the next ready while its caller works on the one before.

Knows nothing of what is prepared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Generic, TypeVar

Source = TypeVar("Source")
Item = TypeVar("Item")

_STOP_S = 1.0  # to wait for the thread; who waits for a camera can't be interrupted


def one_ahead(
    sources: Iterable[Source], make: Callable[[Source], Item], prepare: Callable[[Item], None]
) -> Generator[Item, None, None]:
    """Make an item of each source, in order, and prepare it while the item before is in use.

    ``sources`` is read by the thread, never further than one behind the item in use, and not at
    all before the first item is asked for. An item is yielded as soon as it is made, so it may
    still be in preparation. When the generator ends, is closed or fails, the thread stops, at the
    latest when ``sources`` gives something; what it had ready is dropped.

    Args:
        sources: What to make items of; it may wait.
        make: Quick; what it raises ends everything.
        prepare: Raises nothing.

    Raises:
        Exception: What ``sources`` raises, behind the items before.
    """
    worker = _Worker(sources, make, prepare)
    worker.order()
    try:
        while (item := worker.take()) is not None:
            worker.order()
            yield item
            del item  # not kept while the next is waited for
    finally:
        worker.stop()


class _Worker(Generic[Source, Item]):
    """The thread, an item for each order."""

    def __init__(
        self,
        sources: Iterable[Source],
        make: Callable[[Source], Item],
        prepare: Callable[[Item], None],
    ) -> None:
        self._sources = iter(sources)
        self._make = make
        self._prepare = prepare
        self._orders: SimpleQueue[None] = SimpleQueue()
        self._made: SimpleQueue[Item | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._is_stopped = False
        # A daemon: the process may end while a camera is waited for.
        self._thread = threading.Thread(target=self._work, name="ahead", daemon=True)
        self._thread.start()

    def order(self) -> None:
        """Let the thread read one more source."""
        self._orders.put(None)

    def take(self) -> Item | None:
        """Wait for the next item; None at the end."""
        item = self._made.get()
        if item is None and self._error is not None:
            raise self._error
        return item

    def stop(self) -> None:
        """End the thread, and wait for it a moment."""
        self._is_stopped = True
        self._orders.put(None)
        self._thread.join(_STOP_S)

    def _work(self) -> None:
        try:
            while self._next():
                pass
        except BaseException as err:  # the caller's thread raises it
            self._error = err
        self._made.put(None)

    def _next(self) -> bool:
        """Carry out one order; false at the end."""
        self._orders.get()
        if self._is_stopped:
            return False
        try:
            source = next(self._sources)
        except StopIteration:
            return False
        if self._is_stopped:
            return False
        item = self._make(source)
        self._made.put(item)
        self._prepare(item)
        return True
