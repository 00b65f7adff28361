"""What the sensors' samples say of a whole measurement: ranges, energy, throttling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from adcopilot_edge.runtime.profile.reading import Reading
from adcopilot_edge.runtime.profile.sampler import Sample

# Rails that feed the whole module, of Orin NX and Nano, TX2, and Nano: the others are parts of it.
# AGX modules have none; there the rails are apart and add up.
_INPUT_RAILS = ("VDD_IN", "POM_5V_IN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A value over the measurement: at its start and end, its mean, lowest and highest."""

    first: float
    last: float
    mean: float
    lowest: float
    highest: float

    def to_json(self) -> dict[str, float]:
        """The figures by name."""
        names = ("first", "last", "mean", "lowest", "highest")
        return {name: round(getattr(self, name), 3) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """Sensors over a measurement; empty where the machine tells nothing.

    is_steady: at its end, None without a temperature. energy_j: of the module's input rail, or of
    all rails where none is the input; None without rails. throttled: what held the clocks back, in
    words. power_mode: of a Jetson.
    """

    temperatures_c: dict[str, Range]
    power_mw: dict[str, Range]
    clocks_mhz: dict[str, Range]
    load_percent: dict[str, Range]
    throttled: tuple[str, ...]
    energy_j: float | None
    energy_rails: tuple[str, ...]
    is_steady: bool | None
    power_mode: str | None

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "power_mode": self.power_mode,
            **{
                kind: {name: values.to_json() for name, values in getattr(self, kind).items()}
                for kind in ("temperatures_c", "power_mw", "clocks_mhz", "load_percent")
            },
            "energy_j": None if self.energy_j is None else round(self.energy_j, 3),
            "energy_rails": list(self.energy_rails),
            "throttled": list(self.throttled),
            "steady": self.is_steady,
        }


def sum_up(samples: Sequence[Sample], *, is_steady: bool | None, power_mode: str | None) -> Thermal:
    """What samples, in their order, say together."""
    readings = [sample.reading for sample in samples]
    power = _ranges(readings, lambda reading: reading.power_mw)
    rails = tuple(name for name in power if name in _INPUT_RAILS) or tuple(power)
    return Thermal(
        temperatures_c=_ranges(readings, lambda reading: reading.temperatures_c),
        power_mw=power,
        clocks_mhz=_ranges(readings, lambda reading: reading.clocks_mhz),
        load_percent=_ranges(readings, lambda reading: reading.load_percent),
        throttled=tuple(_throttling(readings)),
        energy_j=_energy_j(samples, rails) if rails else None,
        energy_rails=rails,
        is_steady=is_steady,
        power_mode=power_mode,
    )


def _ranges(
    readings: Sequence[Reading], pick: Callable[[Reading], dict[str, float]]
) -> dict[str, Range]:
    """The range of each value that any reading has."""
    names = dict.fromkeys(name for reading in readings for name in pick(reading))
    ranges = {}
    for name in names:
        values = [pick(reading)[name] for reading in readings if name in pick(reading)]
        ranges[name] = Range(
            first=values[0],
            last=values[-1],
            mean=sum(values) / len(values),
            lowest=min(values),
            highest=max(values),
        )
    return ranges


def _throttling(readings: Sequence[Reading]) -> list[str]:
    """Each counter that rose, and each brake that was on."""
    found = []
    for name in dict.fromkeys(name for reading in readings for name in reading.throttle_events):
        counts = [it.throttle_events[name] for it in readings if name in it.throttle_events]
        if (rise := counts[-1] - counts[0]) > 0:
            found.append(f"{name}: {rise} events")
    for name in dict.fromkeys(name for reading in readings for name in reading.throttling):
        times = sum(name in reading.throttling for reading in readings)
        found.append(f"{name}: on in {times} of {len(readings)} samples")
    return found


def _energy_j(samples: Sequence[Sample], rails: Sequence[str]) -> float:
    """Power over time, by trapezoids between samples."""
    total = 0.0
    for before, after in pairwise(samples):
        span_s = after.time_s - before.time_s
        for rail in rails:
            milliwatts = [
                sample.reading.power_mw[rail]
                for sample in (before, after)
                if rail in sample.reading.power_mw
            ]
            if milliwatts:
                total += span_s * sum(milliwatts) / len(milliwatts) / 1000
    return total
