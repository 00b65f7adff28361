"""NVIDIA's ``tegrastats`` and ``nvpmodel`` on a Jetson: what they print, as numbers.

The format of a line is that of the Jetson Linux documentation; what a line lacks is left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading

from adcopilot_edge.runtime.profile.reading import Reading

_TEMPERATURE = re.compile(r"(?<=\s)([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C")
# "VDD_IN 4181mW/4181mW": now and on average; releases before 5 leave the unit out.
_POWER = re.compile(r"(?<=\s)([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?(?=\s|$)")
_ENGINE = re.compile(r"(?<=\s)(EMC|GR3D)_FREQ (\d+)%(?:@\[?(\d+))?")
_CPU = re.compile(r"(?<=\s)CPU \[([^\]]*)\]")
_MODE = re.compile(r"NV Power Mode:\s*(\S+)")
_TIMEOUT_S = 10.0
_ABSENT_C = -256.0  # what a sensor of a part without power says


def parse_line(line: str) -> Reading:
    """What one line says: temperatures, rails, clocks of CPU, GPU and memory, their load."""
    line = f" {line.strip()}"
    clocks_mhz: dict[str, float] = {}
    load: dict[str, float] = {}
    for name, percent, mhz in _ENGINE.findall(line):
        key = "gpu" if name == "GR3D" else "memory"
        load[key] = float(percent)
        if mhz:
            clocks_mhz[key] = float(mhz)
    if cores := _CPU.search(line):
        speeds = [float(mhz) for mhz in re.findall(r"%@(\d+)", cores[1])]
        if speeds:
            clocks_mhz["cpu"] = max(speeds)
    return Reading(
        temperatures_c={
            name: float(value)
            for name, value in _TEMPERATURE.findall(line)
            if float(value) > _ABSENT_C
        },
        power_mw={name: float(value) for name, value in _POWER.findall(line)},
        clocks_mhz=clocks_mhz,
        load_percent=load,
    )


def parse_mode(text: str) -> str | None:
    """The power mode's name in what ``nvpmodel -q`` prints, as ``MODE_30W``; None without one."""
    found = _MODE.search(text)
    return None if found is None else found[1]


def power_mode() -> str | None:
    """The power mode of this Jetson; None where there is no ``nvpmodel``, or it fails."""
    if (program := shutil.which("nvpmodel")) is None:
        return None
    try:
        done = subprocess.run(
            [program, "-q"], capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_mode(done.stdout)


class Tegrastats:
    """The program running beside a measurement; ``latest`` is what it said last.

    Where it is absent, nothing runs and ``latest`` stays empty.

    Args:
        interval_s: Seconds between two lines.
    """

    def __init__(self, interval_s: float) -> None:
        self.latest = Reading()
        self._process: subprocess.Popen[str] | None = None
        if (program := shutil.which("tegrastats")) is not None:
            self._process = subprocess.Popen(
                [program, "--interval", str(round(interval_s * 1000))],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def close(self) -> None:
        """End the program."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.latest = parse_line(line)
