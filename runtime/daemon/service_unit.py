"""The unit of systemd for a daemon: what it may reach is written down, the rest is closed."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.errors import ConfigError

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_MEMORY = re.compile(r"[1-9][0-9]*[KMGT]|[1-9][0-9]?%|100%|infinity")
_WATCHDOG_S = 30
_SLACK_S = 30  # for the worker's end and the last records, behind what drains


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUnit:
    """What a unit is made of.

    program: words that start adcopilot-edge, absolute. config: the station file. state: its state
    folder. drain_s: as in the station file. writable: other folders that the daemon writes.
    groups: of the user, for cameras and GPUs. memory_max: as systemd has it, ``4G`` or ``80%``.

    Raises ConfigError for what a unit can't say.
    """

    program: tuple[str, ...]
    config: Path
    state: Path
    user: str
    drain_s: float = 20.0
    writable: tuple[Path, ...] = ()
    groups: tuple[str, ...] = ()
    memory_max: str = "80%"

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.user):
            raise ConfigError(f"{self.user!r} is no name of a user")
        if not _MEMORY.fullmatch(self.memory_max):
            raise ConfigError(f"memory must be as 4G or 80%, got {self.memory_max!r}")
        for path in (self.config, self.state, *self.writable):
            if not path.is_absolute() or any(not letter.isprintable() for letter in str(path)):
                raise ConfigError(f"{str(path)!r} can't stand in a unit; give an absolute path")

    def text(self) -> str:
        """The unit's file."""
        start = " ".join(map(_quoted, (*self.program, "serve", "--config", str(self.config))))
        writable = " ".join(_quoted(str(path)) for path in (self.state, *self.writable))
        homes = [
            path for path in (self.config, self.state, Path(self.program[0])) if _is_home(path)
        ]
        groups = f"SupplementaryGroups={' '.join(self.groups)}\n" if self.groups else ""
        return f"""\
[Unit]
Description=adcopilot-edge: visual inspection of a line
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
User={self.user}
{groups}ExecStart={start}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec={_WATCHDOG_S}
TimeoutStartSec=900
TimeoutStopSec={round(self.drain_s) + _SLACK_S}
KillMode=mixed
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2

UMask=0027
MemoryMax={self.memory_max}
MemorySwapMax=0
TasksMax=512
LimitNOFILE=8192
OOMPolicy=continue

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={"read-only" if homes else "yes"}
ReadWritePaths={writable}
PrivateTmp=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

# Cameras, and GPUs of NVIDIA: of cards, and of a Jetson.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-nvidia* rw
DeviceAllow=char-nvhost* rw
DeviceAllow=char-nvgpu* rw
DeviceAllow=char-drm rw
DeviceAllow=/dev/nvmap rw
DeviceAllow=/dev/nvsciipc rw

[Install]
WantedBy=multi-user.target
"""

    def commands(self, path: Path) -> list[str]:
        """What to call, as root, once the unit lies at ``path``."""
        name, folder = self.user, shlex.quote(str(self.state))
        program, config = shlex.quote(self.program[0]), shlex.quote(str(self.config))
        return [
            f"id -u {name} >/dev/null 2>&1 || "
            f"useradd --system --home-dir / --shell /usr/sbin/nologin {name}",
            f"install -d -o {name} -g {name} -m 0750 {folder}",
            f"runuser -u {name} -- test -x {program} -a -r {config} || echo {name} can not read it",
            "systemctl daemon-reload",
            f"systemctl enable --now {path.name}",
            f"systemctl status {path.name}",
        ]


def _quoted(word: str) -> str:
    """A word of a unit; ``%`` and ``$`` stand for themselves."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if re.search(r"[\s\"';]", word) else word


def _is_home(path: Path) -> bool:
    return path.is_relative_to("/home") or path.is_relative_to("/root")
