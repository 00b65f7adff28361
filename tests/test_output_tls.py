"""Outputs over TLS: who is not signed for is not told."""

from __future__ import annotations

import ssl

import pytest
from mosquitto import Broker, needs_mosquitto
from outputs_bench import QUICK, Bench, station_file, until
from test_output_webhook import Receiver
from tls_files import write_tls_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    write_tls_files(folder)
    return folder


@pytest.fixture
def mqtt(tmp_path, files):
    broker = Broker(
        tmp_path,
        "allow_anonymous true",
        f"certfile {files / 'server.pem'}",
        f"keyfile {files / 'server.key'}",
    )
    broker.start()
    yield {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "tls": True}
    broker.stop()


@pytest.fixture
def webhook(files):
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "server.pem", files / "server.key")
    server = receiver._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    yield {"kind": "webhook", "url": f"https://127.0.0.1:{receiver.port}/"}
    receiver.close()


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
@pytest.mark.parametrize("kind", [pytest.param("mqtt", marks=needs_mosquitto), "webhook"])
def test_only_who_is_signed_for_is_told(tmp_path, files, request, kind):
    output = {"name": "out", **QUICK, **request.getfixturevalue(kind)}
    with Bench(tmp_path / "unknown", station_file(output)) as bench:
        bench.finish()
        until(lambda: "certificate verify failed" in (bench.alarm("output:out") or "").lower())
        assert bench.waiting("out") == [1]

    with Bench(tmp_path / "known", station_file({**output, "ca_file": files / "ca.pem"})) as bench:
        bench.finish()
        until(lambda: not bench.waiting("out"))
