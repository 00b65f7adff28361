"""The output ``modbus`` and what a PLC reads: reject unless all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from outputs_bench import Bench, final_record, free_port, station_file, until

from adcopilot_edge.runtime.daemon.outputs.signals import BEAT_S, Probe, SignalBoard

modbus = pytest.importorskip("adcopilot_edge.runtime.daemon.outputs.modbus")
client_module = pytest.importorskip("pymodbus.client")
exceptions = pytest.importorskip("pymodbus.exceptions")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def probe():
    return [Probe(state="ready", is_ready=True, queued=0)]


@pytest.fixture
def board(probe, clock):
    return SignalBoard(lambda: probe[0], clock=clock)


def test_only_a_normal_part_of_a_ready_daemon_passes(board, probe, clock):
    board.beat()
    assert board.read().reject  # no verdict yet

    for verdict, reject in (("normal", False), ("anomaly", True), ("uncertain", True)):
        board.tell(final_record(1, verdict=verdict))
        assert board.read().reject is reject

    board.tell(final_record(2))
    assert not board.read().reject
    probe[0] = Probe(state="draining", is_ready=False, queued=0)
    assert board.read().reject
    probe[0] = Probe(state="ready", is_ready=False, queued=0)  # an alarm stops the line
    assert board.read().reject


def test_without_a_heartbeat_everything_is_rejected(board, probe, clock):
    board.tell(final_record(1))
    assert board.read().reject  # it never beat
    board.beat()
    assert not board.read().reject
    clock.now += 3 * BEAT_S
    assert not board.read().reject
    clock.now += 0.01
    assert board.read().reject
    board.beat()
    assert not board.read().reject


def test_the_heart_stands_still_while_no_part_is_taken(board, probe):
    board.beat()
    probe[0] = Probe(state="loading", is_ready=False, queued=0)
    board.beat()
    assert board.read().heartbeat == 1


def test_the_heartbeat_goes_around(board):
    for _ in range(65_537):
        board.beat()
    assert board.read().heartbeat == 1


def test_a_normal_may_count_for_a_while_only(probe, clock):
    board = SignalBoard(lambda: probe[0], hold_s=0.5, clock=clock)
    board.beat()
    board.tell(final_record(1))
    assert not board.read().reject
    clock.now += 0.6
    assert board.read().reject


def test_registers_hold_large_numbers_and_no_score(board, probe):
    probe[0] = Probe(state="ready", is_ready=True, queued=70_000)
    board.beat()
    board.tell(final_record((1 << 32) + 70_001, verdict="uncertain", score=None))

    assert modbus.registers(board.read()) == [1, 4, 1, 4465, 3, 65_535, 1, 65_535, 1]


@pytest.fixture
def plc():
    """Connects clients of pymodbus, and closes them."""
    opened = []

    def connect(port):
        client = client_module.ModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
        opened.append(client)
        assert client.connect()
        return client

    yield connect
    for client in opened:
        client.close()


def served(tmp_path, **values):
    port = free_port()
    output = {"name": "plc", "kind": "modbus", "port": port, **values}
    return port, output


def listening(bench, name="plc"):
    until(lambda: bench.outputs.to_json()[name]["listening"])


def test_a_plc_reads_the_last_verdict(tmp_path, plc):
    port, output = served(tmp_path)
    with Bench(tmp_path, station_file(output)) as bench:
        listening(bench)
        client = plc(port)
        assert client.read_coils(0, count=2).bits[:2] == [True, True]
        until(lambda: client.read_holding_registers(0, count=1).registers[0] > 0)

        bench.finish(score=0.125)
        until(lambda: not client.read_coils(0, count=1).bits[0])
        told = [4, 0, 1, 1, 1250, 0, 0, 1]
        until(lambda: client.read_holding_registers(0, count=9).registers[1:] == told)
        until(lambda: client.read_input_registers(0, count=9).registers[1:] == told)
        until(lambda: not client.read_discrete_inputs(0, count=1).bits[0])

        bench.finish(verdict="anomaly", score=0.9)
        assert client.read_holding_registers(2, count=5).registers == [0, 2, 2, 9000, 1]
        assert client.read_coils(0, count=1).bits[0] is True
        assert bench.waiting("plc") == []
        assert bench.outputs.to_json()["plc"]["told"] == 2


def test_a_plc_can_not_write_and_reads_nothing_else(tmp_path, plc):
    port, output = served(tmp_path)
    with Bench(tmp_path, station_file(output)) as bench:
        listening(bench)
        client = plc(port)
        for answer in (
            client.write_register(6, 0),
            client.write_registers(0, [1, 2]),
            client.write_coil(0, False),
            client.write_coils(0, [False, True]),
            client.read_holding_registers(4, count=9),
            client.read_coils(16, count=1),
        ):
            assert answer.isError()
        assert client.read_coils(0, count=1).bits[0] is True


def test_a_stopped_daemon_rejects(tmp_path, plc):
    port, output = served(tmp_path)
    bench = Bench(tmp_path, station_file(output))
    bench.outputs.start()
    listening(bench)
    client = plc(port)
    bench.finish()
    until(lambda: not client.read_coils(0, count=1).bits[0])

    bench.probe = replace(bench.probe, state="draining", is_ready=False)
    assert client.read_coils(0, count=2).bits[:2] == [True, False]
    bench.close()
    with pytest.raises(exceptions.ModbusException):
        client.read_coils(0, count=1)


def test_a_dead_heart_rejects_though_the_server_answers(tmp_path, plc, monkeypatch):
    port, output = served(tmp_path)
    with Bench(tmp_path, station_file(output)) as bench:
        listening(bench)
        client = plc(port)
        bench.finish()
        until(lambda: not client.read_coils(0, count=1).bits[0])
        monkeypatch.setattr(bench.outputs._servers["plc"].board, "beat", lambda: None)
        until(lambda: client.read_coils(0, count=1).bits[0])
        assert client.read_coils(0, count=2).bits[:2] == [True, True]  # rejects, though ready


def test_each_station_has_its_own_and_what_is_not_told_is_rejected(tmp_path, plc):
    port, output = served(tmp_path, station="roof")
    products = [{"name": "lid"}, {"name": "cap", "outputs": []}]
    settings = station_file(output, products=products, stations=("belt", "roof"))
    with Bench(tmp_path, settings) as bench:
        listening(bench)
        client = plc(port)
        bench.finish(station="belt")
        assert client.read_holding_registers(3, count=2).registers == [0, 0]
        bench.finish(station="roof")
        assert client.read_holding_registers(3, count=2).registers == [2, 1]
        bench.finish(station="roof", product="cap")
        assert client.read_holding_registers(3, count=4).registers == [0, 0, 65_535, 1]


def test_a_port_in_use_is_an_alarm_until_it_is_free(tmp_path):
    _, output = served(tmp_path)
    with Bench(tmp_path / "a", station_file(output)) as first:
        listening(first)
        second = Bench(tmp_path / "b", station_file(output))
        second.outputs.start()
        until(lambda: "the address is in use" in (second.alarm("output:plc") or ""))
        first.close()
        until(lambda: second.alarm("output:plc") is None)
        listening(second)
        assert second.alarm("output:plc") is None
        second.close()
