"""The cores that this process may use, and which of them belong together.

Asks the operating system's files only; where they are silent all cores count as equal.
"""

from __future__ import annotations

import os
from pathlib import Path

from adcopilot_edge.runtime.machine import read_text

_CPUS = Path("sys/devices/system/cpu")
# Of the fastest core's capacity: the big cores of a processor differ by less, its small ones more.
_FAST = 0.75
_MANY = 8  # cores, from which on it may matter where threads run


def allowed_cores() -> frozenset[int]:
    """The cores that this process may use, by the system's numbers; a container may limit them."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def core_groups(root: Path, cores: frozenset[int]) -> list[tuple[int, ...]]:
    """Parts of ``cores`` that threads may do better on than on all: more than one core each.

    The fast ones where there are fast and slow ones; on a machine with many, one of each pair that
    shares a physical core, and those of one socket.

    Args:
        root: Where the system's files are.
        cores: By the system's numbers.
    """
    groups = [_fast(root, cores)]
    if len(cores) >= _MANY:
        groups += [_first_of(root, cores, "core_cpus_list"), _one_socket(root, cores)]
    distinct = dict.fromkeys(tuple(sorted(group)) for group in groups)
    return [group for group in distinct if 1 < len(group) < len(cores)]


def _fast(root: Path, cores: frozenset[int]) -> set[int]:
    capacities = {core: _capacity(root, core) for core in cores}
    return {core for core in cores if capacities[core] >= _FAST * max(capacities.values())}


def _capacity(root: Path, core: int) -> float:
    """Of its kind's speed, in any unit: the kernel's capacity, else the highest clock."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        text = read_text(root / _CPUS / f"cpu{core}" / name).strip()
        if text.isdecimal():
            return float(text)
    return 1.0


def _first_of(root: Path, cores: frozenset[int], name: str) -> set[int]:
    """The lowest of all cores that say the same about themselves; one that says nothing, too."""
    firsts: dict[str, int] = {}
    for core in sorted(cores):
        firsts.setdefault(_topology(root, core, name) or str(core), core)
    return {*firsts.values()}


def _one_socket(root: Path, cores: frozenset[int]) -> set[int]:
    sockets = {core: _topology(root, core, "physical_package_id") for core in cores}
    return {core for core in cores if sockets[core] == sockets[min(cores)]}


def _topology(root: Path, core: int, name: str) -> str:
    return read_text(root / _CPUS / f"cpu{core}" / "topology" / name).strip()
