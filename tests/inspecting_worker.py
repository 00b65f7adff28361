"""A worker in a thread of the test's process that really inspects, with any bundle."""

from __future__ import annotations

from multiprocessing.connection import Connection

from daemon_fakes import FakeWorker

from adcopilot_edge.errors import EdgeError
from adcopilot_edge.runtime.daemon.messages import Refused
from adcopilot_edge.runtime.daemon.worker_process import _start, _Worker


class InspectingWorker(FakeWorker):  # type: ignore[misc]  # mypy sees no fakes
    """What the worker process does, without the process."""

    def _live(self, there: Connection) -> None:
        try:
            inspector, products = _start(self.setup, there.send)
        except EdgeError as err:
            there.send(Refused(message=str(err), exit_code=err.exit_code))
            return
        _Worker(there, inspector, products, self.setup).run()
        there.close()
