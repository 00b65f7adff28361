"""A station file read again while the line runs: what differs, and whether that can be applied.

Products, stations and the policy for images change between two parts. The rest needs a restart;
where such a key differs, nothing at all is applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.station_file import StationFile, read_station_file

if TYPE_CHECKING:
    from adcopilot_edge.runtime.daemon.station import StationDaemon

ALARM = "reload"  # raised when the file can't be read again on a signal
APPLIED = frozenset({"images", "products", "stations"})


class Difference(Record):
    """A key of two station files that differs, as ``products.lid.takt_ms``; None is not there."""

    key: str
    before: Any
    after: Any


def reload(daemon: StationDaemon, *, who: str) -> list[Difference]:
    """Read the station file again and go by it; what has changed.

    Raises:
        ConfigError: It is wrong, or differs in a key that needs a restart; nothing has changed.
        InputError: The worker can't use it; nothing has changed.
        NotReadyError: The daemon is not ready, or ended meanwhile.
        JournalError: The change could not be noted; nothing has changed.
    """
    if daemon.path is None:
        raise ConfigError("this daemon was not started from a station file; there is none to read")
    settings = read_station_file(daemon.path)
    found = differences(daemon.settings, settings)
    if fixed := [item.key for item in found if item.key.split(".")[0] not in APPLIED]:
        raise ConfigError(
            f"{daemon.path}: {', '.join(fixed)} changed, which needs a restart of the daemon; "
            "nothing was applied"
        )
    daemon.products.use_file(
        settings,
        who,
        lambda: daemon.use_settings(settings),
        changes=[item.model_dump() for item in found],
    )
    daemon.alarms.set(ALARM, None)
    return found


def differences(before: StationFile, after: StationFile) -> list[Difference]:
    """The keys in which two station files differ, in the order of the file."""
    return list(_differences("", _as_json(before), _as_json(after)))


def _as_json(settings: StationFile) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def _differences(key: str, before: Any, after: Any) -> Iterator[Difference]:
    before, after = _by_name(before), _by_name(after)
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            path = f"{key}.{name}" if key else name
            yield from _differences(path, before.get(name), after.get(name))
    elif before != after:
        yield Difference(key=key, before=before, after=after)


def _by_name(value: Any) -> Any:
    """A list of tables as one table, by their names."""
    if isinstance(value, list) and value and all(isinstance(it, dict) for it in value):
        return {str(it.get("name", place)): it for place, it in enumerate(value)}
    return value
