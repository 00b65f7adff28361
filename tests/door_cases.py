"""A small application behind the daemon's door, served over a socket of this machine."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI, Request, UploadFile
from fastapi.testclient import TestClient
from starlette.responses import JSONResponse, Response

from adcopilot_edge.runtime.daemon.door.asgi import App
from adcopilot_edge.runtime.daemon.door.listen import door_config
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.station_file import StationFile
from adcopilot_edge.runtime.daemon.web.access import Admin, Operator
from adcopilot_edge.runtime.daemon.web.app import create_app

SOON_S = 10.0
HERE = "http://127.0.0.1:8470"


def small_app() -> FastAPI:
    """Tells the length of what it got; ``/slow`` answers when told to."""
    app = FastAPI()
    app.state.go_on = threading.Event()

    @app.post("/length")
    async def length(request: Request) -> JSONResponse:
        return JSONResponse({"length": len(await request.body())})

    @app.post("/form")
    async def form(image: UploadFile) -> JSONResponse:
        return JSONResponse({"length": len(await image.read())})

    @app.get("/quick")
    async def quick() -> Response:
        return Response("here")

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(32 << 20))

    @app.get("/slow")
    async def slow() -> Response:
        await asyncio.to_thread(app.state.go_on.wait, SOON_S)
        return Response("done")

    return app


@contextmanager
def door(folder: Path, **http: Any) -> Iterator[TestClient]:
    """A client of an application with a route for each role; its daemon was not started."""
    settings = StationFile.model_validate(
        {
            "daemon": {"state": folder},
            "http": http,
            "stations": [{"name": "belt", "product": "cap"}],
            "products": [{"name": "cap"}],
        }
    )
    daemon = StationDaemon(settings)
    daemon.life.was_ready = True  # the line itself refuses, not the gate before it
    app = create_app(daemon)

    @app.post("/v1/operate")
    def operate(caller: Operator) -> dict[str, str]:
        return {"name": caller.name, "role": caller.role, "way": caller.way}

    @app.post("/v1/change")
    def change(caller: Admin) -> dict[str, str]:
        return {"name": caller.name}

    try:
        yield TestClient(app, base_url=HERE, raise_server_exceptions=False)
    finally:
        daemon.journal.close()
        daemon.folder.close()


def token_of(client: TestClient, role: Any, name: str = "anna") -> str:
    text: str = client.app.state.keys.tokens.add(name, role)  # type: ignore[attr-defined]
    return text


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@contextmanager
def served(app: App, settings: HttpSettings) -> Iterator[int]:
    """Serve an application behind the door: the port."""
    config = door_config(app, settings)
    config.lifespan = "off"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server._serve()), daemon=True)
    thread.start()
    end = time.monotonic() + SOON_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(SOON_S)


def settings_of(**changes: Any) -> HttpSettings:
    """Settings for a free port, with limits that a test reaches quickly."""
    return HttpSettings.model_validate({"port": 0, "max_body_mb": 0.01, **changes})


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A bare connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=SOON_S) as connection:
        yield connection


def head(path: str, *lines: str, method: str = "POST", host: str = "127.0.0.1") -> bytes:
    """The head of a request, with its empty line."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def read_to_end(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    got = bytearray()
    with suppress(ConnectionError):
        while piece := connection.recv(1 << 20):
            got += piece
    return bytes(got)


def send_all(connection: socket.socket, content: bytes) -> None:
    """Send, to one who may have heard enough and closed."""
    with suppress(ConnectionError):
        connection.sendall(content)


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """What comes up to ``mark``, and maybe more."""
    got = b""
    while mark not in got:
        piece = connection.recv(65536)
        assert piece, got
        got += piece
    return got


def certificate(folder: Path, name: str = "here", password: bytes | None = None) -> dict[str, Path]:
    """A certificate for 127.0.0.1 signed by itself, and its key: the settings ``cert``, ``key``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    files = {"cert": folder / f"{name}.cert.pem", "key": folder / f"{name}.key.pem"}
    files["cert"].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        lock = serialization.BestAvailableEncryption(password)
    files["key"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    )
    return files
