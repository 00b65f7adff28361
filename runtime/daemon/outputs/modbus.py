"""The output ``modbus``: a Modbus TCP server that a PLC reads, and cannot write.

Holding registers (function 3) and, the same, input registers (function 4)::

    0     heartbeat: counts up twice a second while parts are taken, 0..65535 and around
    1     state: 0 checking, 1 loading, 2 warming-up, 3 self-testing, 4 ready, 5 draining,
          6 stopped, 7 failed
    2, 3  number of the last part, the high word first; 0 before the first verdict
    4     verdict: 0 none, 1 normal, 2 anomaly, 3 uncertain
    5     score x 10000; 65535 where there is none
    6     reject: 1 unless the part may pass
    7     parts that wait or are inspected
    8     version of this map: 1

Coils (function 1) and, the same, discrete inputs (function 2)::

    0     reject, as register 6
    1     whether parts are taken

All values of one request are of one moment, computed when it is read. ``reject`` is 0 only when the
last verdict is ``normal``, still counts, and the daemon takes parts and its heart beats. A PLC must
itself reject when it can't read, or when the heartbeat stands still for 1.5 s. Any unit is
answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from adcopilot_edge.errors import OutputError
from adcopilot_edge.runtime.daemon.outputs.settings import PlcOutput
from adcopilot_edge.runtime.daemon.outputs.signals import (
    STATE_CODES,
    VERDICT_CODES,
    SignalBoard,
    Signals,
)

MAP_VERSION = 1
NO_SCORE = 65_535
_NUM_REGISTERS = 9
_NUM_COILS = 2
_BIT_FUNCTIONS = (1, 2)


def registers(signals: Signals) -> list[int]:
    """The nine registers of a moment, each 0..65535."""
    part = signals.part % (1 << 32)
    score = NO_SCORE if signals.score is None else round(10_000 * signals.score)
    return [
        signals.heartbeat,
        STATE_CODES[signals.state],
        *divmod(part, 1 << 16),
        VERDICT_CODES[signals.verdict],
        score,
        int(signals.reject),
        min(signals.queued, 65_535),
        MAP_VERSION,
    ]


def coils(signals: Signals) -> list[bool]:
    """The two coils of a moment."""
    return [signals.reject, signals.is_ready]


async def serve_modbus(
    settings: PlcOutput, board: SignalBoard, on_listening: Callable[[], None]
) -> None:
    """Serve until cancelled. Raises OutputError when the address can't be had."""
    server = ModbusTcpServer(_device(board), address=(settings.host, settings.port))
    try:
        await server.serve_forever(background=True)
    except RuntimeError as err:
        raise OutputError("the address is in use, or not of this machine") from err
    on_listening()
    try:
        await asyncio.Event().wait()
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


def _device(board: SignalBoard) -> SimDevice:
    async def read(
        function: int, start: int, address: int, count: int, present: list[int], written: object
    ) -> ExcCodes | None:
        """Put the present values into the block that is asked for."""
        if written is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        signals = board.read()
        if function in _BIT_FUNCTIONS:
            present[:] = [sum(bit << place for place, bit in enumerate(coils(signals)))]
        else:
            present[:] = registers(signals)
        return None

    bits = [True] + [False] * 15
    empty = [0] * _NUM_REGISTERS
    return SimDevice(
        0,  # whatever unit is asked for
        simdata=(
            [SimData(0, values=bits, datatype=DataType.BITS)],
            [SimData(0, values=bits, datatype=DataType.BITS)],
            [SimData(0, values=empty, datatype=DataType.REGISTERS)],
            [SimData(0, values=empty, datatype=DataType.REGISTERS)],
        ),
        action=read,
    )
