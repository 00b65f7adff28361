"""What the sensors of a machine say at one moment; knows nothing of where they are."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Values by the name of their place; what a machine does not tell is left out.

    temperatures_c: of thermal zones. power_mw: of rails. clocks_mhz: of cpu (its fastest core),
    gpu, memory. load_percent: of gpu, memory. throttle_events: counters that only rise.
    throttling: what holds clocks back now.
    """

    temperatures_c: dict[str, float] = field(default_factory=dict)
    power_mw: dict[str, float] = field(default_factory=dict)
    clocks_mhz: dict[str, float] = field(default_factory=dict)
    load_percent: dict[str, float] = field(default_factory=dict)
    throttle_events: dict[str, int] = field(default_factory=dict)
    throttling: tuple[str, ...] = ()

    def or_else(self, other: Reading) -> Reading:
        """This reading, with ``other``'s values for each kind, or clock, that it lacks."""
        return Reading(
            temperatures_c=self.temperatures_c or other.temperatures_c,
            power_mw=self.power_mw or other.power_mw,
            clocks_mhz={**other.clocks_mhz, **self.clocks_mhz},
            load_percent={**other.load_percent, **self.load_percent},
            throttle_events=self.throttle_events or other.throttle_events,
            throttling=self.throttling or other.throttling,
        )
