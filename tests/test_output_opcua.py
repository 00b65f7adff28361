"""The output ``opcua``, read by a client."""

from __future__ import annotations

import asyncio

import pytest
from outputs_bench import Bench, free_port, station_file, until

asyncua = pytest.importorskip("asyncua")
NAMES = ("State", "Ready", "Queued", "Part", "Verdict", "Score", "Reject")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One server for all tests: it reads OPC UA's whole address space when it starts."""
    port = free_port()
    output = {"name": "plc", "kind": "opcua", "port": port}
    with Bench(tmp_path_factory.mktemp("state"), station_file(output)) as bench:
        until(lambda: bench.outputs.to_json()["plc"]["listening"], 120)
        yield port, bench


def read(port, wanted):
    """Read until ``wanted(values)`` is true; what was read."""

    async def ask():
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/adcopilot-edge/") as client:
            index = await client.get_namespace_index("urn:adcopilot-edge")
            nodes = {
                name: client.get_node(f"ns={index};s={name}") for name in ("Heartbeat", *NAMES)
            }
            for _ in range(200):
                found = {name: await node.read_value() for name, node in nodes.items()}
                if wanted(found):
                    return found
                await asyncio.sleep(0.05)
            raise AssertionError(f"it did not come to pass: {found}")

    return asyncio.run(asyncio.wait_for(ask(), 60))


def test_a_client_reads_the_last_verdict(served):
    port, bench = served
    found = read(port, lambda values: values["Heartbeat"] > 0)
    assert [found[name] for name in NAMES] == ["ready", True, 0, 0, "none", -1.0, True]

    bench.finish(score=0.125)
    found = read(port, lambda values: values["Part"] == 1 and not values["Reject"])
    assert [found[name] for name in NAMES] == ["ready", True, 0, 1, "normal", 0.125, False]

    bench.finish(verdict="anomaly", score=0.9)
    found = read(port, lambda values: values["Part"] == 2)
    assert [found[name] for name in NAMES] == ["ready", True, 0, 2, "anomaly", 0.9, True]


def test_a_client_can_not_write(served):
    port, _ = served

    async def write():
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/adcopilot-edge/") as client:
            index = await client.get_namespace_index("urn:adcopilot-edge")
            await client.get_node(f"ns={index};s=Reject").write_value(False)

    with pytest.raises(asyncua.ua.UaStatusCodeError):
        asyncio.run(asyncio.wait_for(write(), 60))


def test_a_stopped_daemon_is_not_there(served):
    port, bench = served
    bench.outputs.stop()

    assert not bench.outputs.to_json()["plc"]["listening"]
    with pytest.raises(ConnectionError):
        read(port, lambda values: True)
