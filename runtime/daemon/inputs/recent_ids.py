"""The ids of the messages that were taken last, also those before the last start."""

from __future__ import annotations

from collections import OrderedDict

from adcopilot_edge.runtime.daemon.journal import Journal

_MOST = 256


class RecentIds:
    """The last 256 ids of an input, in the journal's facts. For one thread.

    An id is written behind its part, into the same file: after a kill both are there, or neither,
    but for a kill between two commits, after which the message may make a second part.
    """

    def __init__(self, journal: Journal, source: str) -> None:
        self._journal = journal
        self._fact = f"ids:{source}"
        self._ids = OrderedDict.fromkeys(journal.fact(self._fact) or ())

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def add(self, name: str) -> None:
        """Remember an id."""
        self._ids[name] = None
        while len(self._ids) > _MOST:
            self._ids.popitem(last=False)
        self._journal.set_fact(self._fact, list(self._ids))
