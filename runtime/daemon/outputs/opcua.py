"""The output ``opcua``: an OPC UA server with the signals of a line as variables, read only.

Below ``Objects/AdCopilot``, in the namespace ``urn:adcopilot-edge``, each a string node id of the
same name::

    Heartbeat (UInt16), State (String), Ready (Boolean), Queued (UInt32), Part (UInt64),
    Verdict (String: none, normal, anomaly or uncertain), Score (Double; -1 where there is none),
    Reject (Boolean)

They are written anew ten times a second and mean what they do in Modbus; they are of one moment
when their source timestamps are equal. A client must itself reject when it can't read, or when the
heartbeat stands still for 1.5 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timezone

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.server import Server

from adcopilot_edge.errors import OutputError
from adcopilot_edge.runtime.daemon.outputs.settings import PlcOutput
from adcopilot_edge.runtime.daemon.outputs.signals import SignalBoard, Signals

NAMESPACE = "urn:adcopilot-edge"
_PERIOD_S = 0.1
_TYPES = {
    "Heartbeat": ua.VariantType.UInt16,
    "State": ua.VariantType.String,
    "Ready": ua.VariantType.Boolean,
    "Queued": ua.VariantType.UInt32,
    "Part": ua.VariantType.UInt64,
    "Verdict": ua.VariantType.String,
    "Score": ua.VariantType.Double,
    "Reject": ua.VariantType.Boolean,
}


def values(signals: Signals) -> dict[str, int | str | bool | float]:
    """The value of each variable at a moment."""
    return {
        "Heartbeat": signals.heartbeat,
        "State": signals.state,
        "Ready": signals.is_ready,
        "Queued": signals.queued,
        "Part": signals.part,
        "Verdict": signals.verdict or "none",
        "Score": -1.0 if signals.score is None else signals.score,
        "Reject": signals.reject,
    }


async def serve_opcua(
    settings: PlcOutput, board: SignalBoard, on_listening: Callable[[], None]
) -> None:
    """Serve until cancelled. Raises OutputError when the address can't be had."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://{settings.host}:{settings.port}/adcopilot-edge/")
    server.set_server_name("adcopilot-edge")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    nodes = await _variables(server, index, board.read())
    try:
        await server.start()
    except OSError as err:
        await server.stop()
        raise OutputError("the address is in use, or not of this machine") from err
    try:
        on_listening()
        while True:
            await _write(server, nodes, board.read())
            await asyncio.sleep(_PERIOD_S)
    finally:
        await server.stop()


async def _variables(server: Server, index: int, signals: Signals) -> dict[str, Node]:
    folder = await server.nodes.objects.add_object(index, "AdCopilot")
    return {
        name: await folder.add_variable(
            ua.NodeId(ua.String(name), ua.Int16(index)),
            ua.QualifiedName(name, index),
            value,
            _TYPES[name],
        )
        for name, value in values(signals).items()
    }


async def _write(server: Server, nodes: dict[str, Node], signals: Signals) -> None:
    now = ua.DateTime.now(timezone.utc)
    for name, value in values(signals).items():
        told = ua.DataValue(
            ua.Variant(value, _TYPES[name]), SourceTimestamp=now, ServerTimestamp=now
        )
        await server.write_attribute_value(nodes[name].nodeid, told)
