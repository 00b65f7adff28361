"""A real daemon in a process of its own, and clients that send it parts; for tests and trials."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "adcopilot_edge" / "assets" / "samples"
GOLDEN, PART = SAMPLES / "golden.png", SAMPLES / "test.png"
START_S = 120.0
_IDLE_S = 2.0
_BOUNDARY = "8f1d4c2b7a"


def station_toml(folder: Path, *, takt_ms: float | None = None, **daemon: Any) -> Path:
    """A station file for the embedded model; its state lies in ``folder/state``."""
    settings = {"state": str(folder / "state"), "min_free_mb": 0, "threads": 1, **daemon}
    lines = ["[daemon]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    lines += ["[http]", "port = 0", "[[stations]]", 'name = "belt"', 'product = "part"']
    lines += [] if takt_ms is None else [f"takt_ms = {takt_ms}"]
    lines += ["[[products]]", 'name = "part"', f"goldens = [{json.dumps(str(GOLDEN))}]"]
    path = folder / "station.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


class DaemonProcess:
    """``adcopilot-edge serve`` on a station file. address: host and port."""

    def __init__(self, config: Path) -> None:
        self.log = config.with_suffix(".log")
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "adcopilot_edge", "serve", "--config", str(config)],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=config.parent,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().strip()
        assert line.startswith("http://"), self.words()
        host, _, port = line.removeprefix("http://").rpartition(":")
        self.address = (host, int(port))

    def words(self) -> str:
        """What it logged."""
        return self.log.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, Any]:
        """The status and the JSON of an address."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def health(self) -> dict[str, Any]:
        """What ``/healthz`` tells."""
        told: dict[str, Any] = self.get("/healthz")[1]
        return told

    def wait_until(self, is_so: Callable[[dict[str, Any]], bool], within_s: float) -> None:
        """Wait until ``/healthz`` tells what is waited for."""
        end = time.monotonic() + within_s
        while not is_so(told := self.health()):
            assert time.monotonic() < end, f"{told}\n{self.words()}"
            assert self.process.poll() is None, self.words()
            time.sleep(0.02)

    def wait_ready(self) -> float:
        """Wait until parts are taken; the seconds since the start."""
        self.wait_until(lambda told: told["state"] == "ready", START_S)
        return time.monotonic() - self.started

    def family(self) -> list[psutil.Process]:
        """The daemon's processes, itself first; the worker is the one with the most memory."""
        daemon = psutil.Process(self.process.pid)
        return [daemon, *daemon.children(recursive=True)]

    def worker(self) -> psutil.Process:
        """The process that inspects."""
        _, *children = self.family()
        return max(children, key=lambda child: child.memory_info().rss)

    def cpu_s(self) -> float:
        """Seconds of a processor that its processes have used."""
        return sum(sum(process.cpu_times()[:2]) for process in self.family())

    def kill(self) -> float:
        """End the daemon as a power cut would; the seconds until all its processes are gone."""
        family = self.family()
        began = time.monotonic()
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, f"{alive} go on without their daemon"
        self._close()
        return time.monotonic() - began

    def stop(self) -> int:
        """Tell it to end, and wait; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        code = self.process.wait(60)
        self._close()
        return code

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def daemon_process(config: Path) -> Iterator[DaemonProcess]:
    """A daemon that is ended after use."""
    daemon = DaemonProcess(config)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            with suppress(psutil.Error):
                for process in daemon.family():
                    with suppress(psutil.Error):
                        process.resume()
            daemon.process.kill()
            daemon.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request. status: 0 where the connection ended without an answer."""

    status: int
    body: dict[str, Any]
    seconds: float
    sha256: str


def form(image: bytes, fields: Iterable[tuple[str, str]] = ()) -> tuple[bytes, dict[str, str]]:
    """A request's body with the image, and its headers."""
    disposition = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
    parts = [f'{disposition}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields]
    head = (
        f'{disposition}"image"; filename="part.png"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = b"".join(parts) + head.encode() + image + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


class Client:
    """One connection that is kept open, but not for longer than a server keeps an idle one."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=120)
        self._used = time.monotonic()

    def send(self, image: bytes) -> Answer:
        """Send a part and wait for the answer."""
        body, headers = form(image)
        sha256 = hashlib.sha256(image).hexdigest()
        began = time.monotonic()
        if began - self._used > _IDLE_S:
            self._connection.close()  # the next request opens it anew
        try:
            self._connection.request("POST", "/v1/inspect", body, headers)
            answer = self._connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            return Answer(0, {}, time.monotonic() - began, sha256)
        finally:
            self._used = time.monotonic()
        return Answer(answer.status, told, time.monotonic() - began, sha256)

    def get(self, path: str) -> int:
        """Ask for an address; the status."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        self._used = time.monotonic()
        return answer.status

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(slots=True)
class Load:
    """Clients that send parts until they are told to stop.

    period_s: between the starts of two parts of a client; 0 sends the next with the answer.
    """

    address: tuple[str, int]
    images: Sequence[bytes]
    clients: int = 2
    period_s: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin to send."""
        for number in range(self.clients):
            thread = threading.Thread(target=self._send, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> list[Answer]:
        """Wait for the answers to what was sent; all of them."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.answers

    def _send(self, number: int) -> None:
        client, count = Client(self.address), number
        due = time.monotonic() + self.period_s * number / self.clients
        while not self._over.wait(max(0.0, due - time.monotonic())):
            answer = client.send(self.images[count % len(self.images)])
            self.answers.append(answer)
            if answer.status == 0:
                return
            count += self.clients
            due = max(due + self.period_s, time.monotonic() - 1.0)
        client.close()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed, 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def show(title: str, figures: dict[str, Any]) -> None:
    """Print a trial's figures for people, and as the last line for scripts."""
    print(title)
    for name, value in figures.items():
        print(f"  {name:28} {value}")
    print(json.dumps({"trial": title, **figures}), flush=True)
