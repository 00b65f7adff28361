"""``service``: the daemon as a service of systemd."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.errors import ConfigError

_UNIT = Path("/etc/systemd/system/adcopilot-edge.service")
_GROUPS = ("video", "render")


def install(
    config: Annotated[Path, typer.Option(help="The station file (TOML).")],
    user: Annotated[
        str, typer.Option(help="Who the daemon runs as; made by the commands that are printed.")
    ] = "adcopilot",
    out: Annotated[Path, typer.Option(help="Where the unit is written.")] = _UNIT,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the unit and write nothing.")
    ] = False,
    writable: Annotated[
        list[Path] | None,
        typer.Option(help="A folder beside the state folder that the daemon must write."),
    ] = None,
    memory_max: Annotated[
        str, typer.Option(help="What the service may take before it is ended: 4G, or 80%.")
    ] = "80%",
) -> None:
    """Write a hardened unit for systemd, and say what to call to start it.

    The unit lets the daemon write its state folder, and reach cameras and NVIDIA's GPUs; everything
    else is closed or read-only. systemd starts it anew when it fails, or hangs.

    Examples: adcopilot-edge service install --config /etc/adcopilot/station.toml --dry-run;
    sudo adcopilot-edge service install --config /etc/adcopilot/station.toml
    """
    from adcopilot_edge.runtime.daemon.service_unit import ServiceUnit
    from adcopilot_edge.runtime.daemon.station_file import read_station_file

    daemon = read_station_file(config).daemon
    unit = ServiceUnit(
        program=(sys.executable, "-m", "adcopilot_edge"),
        config=config.resolve(),
        state=daemon.state.resolve(),
        user=user,
        drain_s=daemon.drain_s,
        writable=tuple(path.resolve() for path in writable or ()),
        groups=_present_groups(),
        memory_max=memory_max,
    )
    if dry_run:
        print(unit.text(), end="")
    else:
        try:
            out.write_text(unit.text(), encoding="utf-8")
        except OSError as err:
            raise ConfigError(
                f"{out} can't be written: {err.strerror}. Call this as root, or give --out"
            ) from err
        print(f"wrote {out}", file=sys.stderr)
    print("then, as root:", file=sys.stderr)
    for command in unit.commands(out):
        print(f"  {command}", file=sys.stderr)


def _present_groups() -> tuple[str, ...]:
    """Those of the groups that cameras and GPUs belong to that this machine has."""
    import grp

    present = {entry.gr_name for entry in grp.getgrall()}
    return tuple(name for name in _GROUPS if name in present)
