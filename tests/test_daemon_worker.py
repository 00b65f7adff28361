"""The handle of the worker's process, the bell, the signals and the door's address, for real."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path

import psutil
import pytest
from line_cases import wait_until

from adcopilot_edge.errors import DaemonError
from adcopilot_edge.runtime.daemon import worker as worker_module
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.messages import Refused, WorkerSetup
from adcopilot_edge.runtime.daemon.server import _bound
from adcopilot_edge.runtime.daemon.signals import Signals
from adcopilot_edge.runtime.daemon.wake import Wake
from adcopilot_edge.runtime.daemon.worker import Worker

NO_BUNDLE = WorkerSetup(
    bundle=Path("/no/bundle"), provider="cpu", threads=1, packs=Path("packs"), products={}
)


def test_a_worker_that_can_not_start_says_why_and_is_gone():
    worker = Worker(NO_BUNDLE)
    worker.start()
    messages = []
    while wait([worker.connection], 60) and (message := worker.receive()) is not None:
        messages.append(message)
    assert isinstance(messages[-1], Refused)
    assert "/no/bundle" in messages[-1].message
    worker.kill()
    assert (worker.pid, worker.connection, worker.is_alive) == (None, None, False)
    with pytest.raises(OSError, match="was not started"):
        worker.send(messages[-1])


def test_a_process_that_takes_nothing_does_not_hold_the_line_up(monkeypatch):
    monkeypatch.setattr(worker_module, "_TALK_S", 1)
    here, there = Pipe()
    worker_module._limit_talk(here)
    with pytest.raises(OSError, match="unavailable"):
        here.send(b"x" * (4 << 20))
    worker = Worker(NO_BUNDLE)
    worker.connection = here
    os.write(there.fileno(), b"\0\0\1\0half a message")
    assert worker.receive() is None


def test_what_is_no_message_is_taken_for_the_end(caplog):
    here, there = Pipe()
    worker = Worker(NO_BUNDLE)
    worker.connection = here
    there.send_bytes(b"no pickle")
    with caplog.at_level(logging.CRITICAL):
        assert worker.receive() is None


def test_the_worker_ends_with_its_daemon_also_when_it_hangs(tmp_path):
    program = tmp_path / "daemon.py"
    program.write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys, threading, time

            def hang(connection):
                from adcopilot_edge.runtime.daemon.worker_process import _end_with_daemon
                threading.Thread(target=_end_with_daemon, daemon=True).start()
                connection.send("here")
                time.sleep(600)

            if __name__ == "__main__":
                context = multiprocessing.get_context("spawn")
                here, there = context.Pipe()
                process = context.Process(target=hang, args=(there,), daemon=True)
                process.start()
                here.recv()
                print(process.pid, flush=True)
                time.sleep(600)
            """
        )
    )
    daemon = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE)
    child = psutil.Process(int(daemon.stdout.readline()))
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    gone, alive = psutil.wait_procs([child], timeout=20)
    assert (gone, alive) == ([child], [])


def test_the_worker_does_not_inherit_the_lock_of_the_state_folder(tmp_path):
    from adcopilot_edge.runtime.daemon.state_folder import StateFolder

    folder = StateFolder(tmp_path)
    worker = Worker(NO_BUNDLE)
    worker.start()
    folder.close()
    StateFolder(tmp_path).close()  # free, though the process runs
    assert worker.is_alive
    worker.kill()


def test_a_bell_is_rung_without_waiting_and_heard_once():
    wake = Wake()
    wake.ring()
    wake.open()
    for _ in range(100_000):
        wake.ring()
    assert wait([wake.fileno()], 0)
    wake.hear()
    assert not wait([wake.fileno()], 0)
    wake.hear()
    wake.close()
    wake.ring()


def test_signals_come_in_a_thread_of_their_own():
    before = signal.getsignal(signal.SIGUSR1)
    seen = []
    try:
        Signals(
            (signal.SIGUSR1,), lambda count: seen.append((count, threading.current_thread().name))
        )
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_until(lambda count=count: len(seen) == count)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [(1, "signals"), (2, "signals")]


def test_an_address_that_is_taken_is_a_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DaemonError, match=rf"127.0.0.1:{port} can't be had: Address already"):
            _bound(HttpSettings(port=port))
    with pytest.raises(DaemonError, match=r"no\.such\.host\.invalid"):
        _bound(HttpSettings(host="no.such.host.invalid"))


def test_a_state_is_told_to_all_also_when_one_who_listens_fails(caplog):
    life, seen = Life(), []
    life.listen(lambda state: 1 / 0)
    life.listen(seen.append)
    life.listen(lambda state: life.enter("ready") if state == "loading" else None)
    with caplog.at_level(logging.CRITICAL):
        life.enter("loading")
    assert seen == ["loading", "ready"]
    life.enter("failed", "no reason")
    life.enter("ready")
    assert (life.state, life.reason, life.is_over) == ("failed", "no reason", True)
    assert life.ready_in_s() is None
