"""What systemd is told, and the unit that is written for it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from daemon_fakes import picture, running_daemon

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.log_lines import JsonLines
from adcopilot_edge.runtime.daemon.service_unit import ServiceUnit
from adcopilot_edge.runtime.daemon.systemd import Systemd, is_moving, start_watching

STATION = """
[daemon]
state = "state"
drain_s = 12
[[stations]]
name = "belt"
product = "cap"
[[products]]
name = "cap"
"""


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path):
    """A socket as systemd's, and its address in the environment."""
    if request.param == "path":
        address, shown = str(tmp_path / "notify"), str(tmp_path / "notify")
    else:
        address, shown = f"\0adcopilot-{os.getpid()}", f"@adcopilot-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(20)
        yield listener, {"NOTIFY_SOCKET": shown}


def heard(listener):
    return listener.recv(4096).decode().split("\n")


def test_states_are_told_in_order(listener):
    told, environment = listener
    life = Life()
    Systemd(environment).follow(life)
    assert heard(told) == ["STATUS=checking"]
    life.enter("ready")
    assert heard(told) == ["READY=1", "STATUS=ready"]
    life.enter("loading", "the worker hung\nand was ended")
    assert heard(told) == ["STATUS=loading: the worker hung and was ended"]
    life.enter("draining")
    assert heard(told) == ["STOPPING=1", "STATUS=draining"]


def test_a_reload_has_its_time(listener):
    told, environment = listener
    systemd = Systemd(environment)
    systemd.reloading()
    first, second = heard(told)
    assert (first, second.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    systemd.reloaded()
    assert heard(told) == ["READY=1"]


def test_the_watchdog_is_content_while_the_daemon_moves(listener, tmp_path):
    told, environment = listener
    systemd = Systemd({**environment, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())})
    assert systemd.watchdog_s == pytest.approx(0.1)
    over = threading.Event()
    with running_daemon(tmp_path) as running:
        start_watching(systemd, running.daemon, over)
        assert [heard(told) for _ in range(3)] == [["WATCHDOG=1"]] * 3
        over.set()


@pytest.mark.parametrize("part", ["journal", "line"])
def test_a_daemon_that_hangs_does_not_move(tmp_path, monkeypatch, part):
    with running_daemon(tmp_path) as running:
        daemon = running.daemon
        assert is_moving(daemon, 5.0)
        if part == "journal":
            go_on = threading.Event()
            daemon.journal.write(lambda connection: go_on.wait(20))
            assert not is_moving(daemon, 0.05)
            go_on.set()
            assert is_moving(daemon, 5.0)
        else:
            go_on = threading.Event()
            daemon.life.listen(lambda state: go_on.wait(20))  # in the line's thread
            monkeypatch.setattr("adcopilot_edge.runtime.daemon.systemd._LINE_S", 0.05)
            running.worker.die()
            daemon.submit(picture(), source="test")
            running.wait_until("loading")
            assert daemon.line.silent_s < 20
            time.sleep(0.06)
            assert not is_moving(daemon, 0.05)
            go_on.set()


def test_a_daemon_that_hangs_is_not_told_of(listener, caplog):
    told, environment = listener
    systemd = Systemd({**environment, "WATCHDOG_USEC": "20000"})
    over, asked = threading.Event(), []

    def stands_still(within_s):
        asked.append(within_s)
        if len(asked) == 3:
            over.set()
        return False

    with caplog.at_level(logging.ERROR):
        systemd.watch(stands_still, over)
    assert "does not move" in caplog.text
    told.setblocking(False)
    with pytest.raises(BlockingIOError):
        told.recv(100)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "no"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_systemd_there_is_no_watchdog(environment):
    assert Systemd(environment).watchdog_s is None


def test_a_socket_that_is_gone_is_no_error(tmp_path, caplog):
    Systemd({}).tell(READY="1")
    assert caplog.text == ""
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell(READY="1")
    assert "can't be told" in caplog.text


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "line 1" / "station.toml"
    path.parent.mkdir()
    path.write_text(STATION)
    return path


def test_the_unit_is_written_and_the_commands_told(cli, config, tmp_path):
    out = tmp_path / "adcopilot-edge.service"
    words = ["service", "install", "--config", config, "--user", "line1", "--out", out]
    code, shown, told = cli(*words, "--writable", tmp_path / "in", "--memory-max", "3G")
    assert (code, shown) == (0, "")
    lines = out.read_text().splitlines()
    for line in (
        "Type=notify",
        "User=line1",
        f'ExecStart={sys.executable} -m adcopilot_edge serve --config "{config}"',
        f'ReadWritePaths="{config.parent / "state"}" {tmp_path / "in"}',
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "MemoryMax=3G",
        "Restart=on-failure",
        "TimeoutStopSec=42",
        "DeviceAllow=char-nvidia* rw",
    ):
        assert line in lines
    assert "systemctl enable --now adcopilot-edge.service" in told
    assert f"install -d -o line1 -g line1 -m 0750 '{config.parent / 'state'}'" in told


def test_a_dry_run_prints_the_unit_and_writes_nothing(cli, config, tmp_path):
    out = tmp_path / "unit"
    code, shown, _ = cli("service", "install", "--config", config, "--dry-run", "--out", out)
    assert (code, shown.startswith("[Unit]\n"), out.exists()) == (0, True, False)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_finds_no_fault_in_the_unit(cli, config, tmp_path):
    out = tmp_path / "adcopilot-edge.service"
    assert cli("service", "install", "--config", config, "--out", out, "--user", "root")[0] == 0
    run = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", "a b"], "no name of a user"),
        (["--memory-max", "much"], "memory must be"),
        (["--out", "/proc/none/unit"], "can't be written"),
    ],
)
def test_what_can_not_be_installed(cli, config, options, message):
    code, _, told = cli("service", "install", "--config", config, *options)
    assert code == 2
    assert message in told


def test_a_path_can_not_break_out_of_its_line():
    with pytest.raises(ConfigError, match="can't stand in a unit"):
        ServiceUnit(
            program=("/usr/bin/python3",),
            config=Path("/etc/a\nExecStartPre=/bin/sh"),
            state=Path("/var/lib/a"),
            user="a",
        )


def test_a_line_of_the_log_is_one_object():
    try:
        int("wrong\nnumber")
    except ValueError:
        record = logging.LogRecord("a.b", 40, "", 1, "part %d\nfailed", (7,), sys.exc_info())
    line = JsonLines().format(record)
    content = json.loads(line)
    assert "\n" not in line
    assert (content["level"], content["message"]) == ("error", "part 7\nfailed")
    assert content["error"].startswith("Traceback")
