"""Temperature, power, clocks and throttling from the kernel's files, on a Jetson and elsewhere.

Sources: the kernel's documents on thermal zones, cpufreq, devfreq and the ina3221; NVIDIA's on the
over-current counters of Orin (``soctherm_oc``). Each file is tried when it is read: a zone of a
part without power is there, and can't be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from adcopilot_edge.runtime.profile.reading import Reading

_ABSENT_MC = -250_000  # a Jetson's zone without power says -256 degrees
# Cooling devices that hold clocks back; a fan or an alert lamp is one too, and does not.
_BRAKES = re.compile(r"throttle|cpufreq|devfreq|processor|cpu-balanced|gpu-balanced", re.IGNORECASE)
# How the GPU's devfreq folder is called: gv11b and ga10b are Xavier and Orin before JetPack 6.
_GPU = re.compile(r"gpu|gv11b|ga10b|gp10b|gb10b", re.IGNORECASE)
_KHZ, _HZ = 1e3, 1e6  # a MHz in them


class Sensors:
    """The sensor files below ``root``, looked up once.

    Args:
        root: Where the system's files are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        system = root / "sys"
        self._zones = [
            (_text(zone / "type") or zone.name, zone / "temp")
            for zone in sorted((system / "class/thermal").glob("thermal_zone*"))
        ]
        self._brakes = [
            (name, device / "cur_state")
            for device in sorted((system / "class/thermal").glob("cooling_device*"))
            if (name := _text(device / "type")) and _BRAKES.search(name)
        ]
        monitors = sorted((system / "class/hwmon").glob("hwmon*"))
        self._rails = [rail for monitor in monitors for rail in _rails(monitor)]
        self._counters = [counter for monitor in monitors for counter in _counters(monitor)]
        cpus = sorted((system / "devices/system/cpu").glob("cpu[0-9]*"))
        self._counters += [
            (f"{cpu.name} thermal_throttle", path)
            for cpu in cpus
            if (path := cpu / "thermal_throttle/core_throttle_count").is_file()
        ]
        self._cpu_clocks = [cpu / "cpufreq/scaling_cur_freq" for cpu in cpus]
        self._gpu_clocks = [
            device / "cur_freq"
            for device in sorted((system / "class/devfreq").glob("*"))
            if _GPU.search(device.name)
        ]
        self._gpu_loads = [
            path
            for pattern in ("devices/gpu.0/load", "devices/platform/*gpu*/load")
            for path in sorted(system.glob(pattern))
        ]

    def read(self) -> Reading:
        """What all of them say now."""
        clocks: dict[str, float] = {}
        if cpu := [khz for path in self._cpu_clocks if (khz := _number(path)) is not None]:
            clocks["cpu"] = max(cpu) / _KHZ
        if gpu := [hz for path in self._gpu_clocks if (hz := _number(path)) is not None]:
            clocks["gpu"] = max(gpu) / _HZ
        load = [permille for path in self._gpu_loads if (permille := _number(path)) is not None]
        return Reading(
            temperatures_c={
                name: value / 1000
                for name, path in self._zones
                if (value := _number(path)) is not None and value > _ABSENT_MC
            },
            power_mw={
                name: volts * amperes / 1000
                for name, millivolts, milliamperes in self._rails
                if (volts := _number(millivolts)) is not None
                and (amperes := _number(milliamperes)) is not None
            },
            clocks_mhz=clocks,
            load_percent={"gpu": max(load) / 10} if load else {},
            throttle_events={
                name: count for name, path in self._counters if (count := _number(path)) is not None
            },
            throttling=tuple(name for name, path in self._brakes if (_number(path) or 0) > 0),
        )


def _rails(monitor: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name, millivolts and milliamperes of each labelled channel of an ina3221 that has both."""
    if _text(monitor / "name") != "ina3221":
        return
    for label in sorted(monitor.glob("in[0-9]*_label")):
        number = label.name[2 : -len("_label")]
        volts, current = monitor / f"in{number}_input", monitor / f"curr{number}_input"
        # in7 is the sum of shunt voltages: a voltage over no rail, and without a current.
        if volts.is_file() and current.is_file() and (name := _text(label)) not in ("", "NC"):
            yield name, volts, current


def _counters(monitor: Path) -> Iterator[tuple[str, Path]]:
    """The over-current counters of an Orin."""
    if _text(monitor / "name") == "soctherm_oc":
        for path in sorted(monitor.glob("oc*_event_cnt")):
            yield path.name.removesuffix("_event_cnt"), path


def _text(path: Path) -> str:
    """The line in a file, empty where it can't be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """The whole number in a file, None where there is none; of a Jetson's load the first word."""
    words = _text(path).split()
    try:
        return int(words[0]) if words else None
    except ValueError:
        return None
