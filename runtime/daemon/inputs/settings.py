"""The settings of the ways in: the tables ``inputs`` of a station file."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.broker import BrokerSettings
from adcopilot_edge.runtime.images import PICTURE_SUFFIXES

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_TOPIC = r"^[^/+#$\x00-\x1f][^+#\x00-\x1f]{0,199}$"


class _Input(Record):
    """What every way in has. name: its own. station: whose parts come this way."""

    name: str = Field(pattern=_NAME)
    station: str

    @property
    def source(self) -> str:
        """How its parts' records name it, as ``folder:belt``."""
        kind: str = self.kind  # type: ignore[attr-defined]
        return f"{kind}:{self.name}"


class FolderSettings(_Input):
    """A folder whose complete pictures are parts.

    after: what becomes of a file with its final record: it moves to ``done``, ``rejected`` or
    ``unusable`` in the folder, is deleted, or is left where it lies and known again. order: which
    comes first. settle_s: size and time of change of a file stand still so long before it counts
    as complete. scan_s: how often the folder is looked through beside the kernel's news of it.
    suffixes: in lower case; files with others are not touched. product_pattern: a regular
    expression for a file's whole name, with a group ``product`` and perhaps ``reference``.
    in_flight: how many of its parts may be in the queue at once. max_mb: a larger file is unusable.
    """

    kind: Literal["folder"]
    path: Path
    after: Literal["move", "delete", "leave"] = "move"
    order: Literal["name", "mtime"] = "name"
    settle_s: float = Field(default=1.0, gt=0, le=3600, allow_inf_nan=False)
    scan_s: float = Field(default=3.0, ge=0.05, le=3600, allow_inf_nan=False)
    suffixes: tuple[str, ...] = tuple(sorted(PICTURE_SUFFIXES))
    product_pattern: str | None = None
    in_flight: int = Field(default=2, gt=0, le=64)
    max_mb: int = Field(default=128, gt=0, le=2048)

    @field_validator("suffixes")
    @classmethod
    def _suffixes_are_suffixes(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        if not suffixes:
            raise ValueError("without a suffix no file would count")
        for suffix in suffixes:
            if not re.fullmatch(r"\.[^/A-Z]+", suffix):
                raise ValueError(f"{suffix!r} is no suffix as '.png', in lower case")
        return suffixes

    @field_validator("product_pattern")
    @classmethod
    def _pattern_has_a_product(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groupindex
        except re.error as err:
            raise ValueError(f"{pattern!r} is no regular expression: {err}") from err
        if "product" not in groups or set(groups) - {"product", "reference"}:
            raise ValueError(
                f"{pattern!r} must have a group (?P<product>...), may have (?P<reference>...), "
                "and no other with a name"
            )
        return pattern


class CameraSettings(_Input):
    """A camera that takes a picture at a trigger. Needs the extra ``camera``.

    device: a number or a path of V4L2, or a file with a video. url: of a stream, as ``rtsp://``.
    pipeline: of GStreamer, ending in ``appsink``; OpenCV must have been built with it. trigger:
    ``interval`` every interval_s, ``http``, or ``mqtt`` through an input of that kind.
    max_wait_ms: a frame that comes later after the trigger is not used. latency_ms: how old a frame
    is when it arrives. width, height, fps: asked of the device, where given. silent_s: without a
    frame for so long the camera counts as gone.
    """

    kind: Literal["camera"]
    device: int | Path | None = None
    url: str | None = None
    pipeline: str | None = None
    trigger: Literal["interval", "http", "mqtt"] = "http"
    interval_s: float | None = Field(default=None, ge=0.01, le=86_400, allow_inf_nan=False)
    max_wait_ms: float = Field(default=1000.0, gt=0, le=60_000, allow_inf_nan=False)
    latency_ms: float = Field(default=0.0, ge=0, le=60_000, allow_inf_nan=False)
    width: int | None = Field(default=None, gt=0, le=65_535)
    height: int | None = Field(default=None, gt=0, le=65_535)
    fps: float | None = Field(default=None, gt=0, le=10_000, allow_inf_nan=False)
    silent_s: float = Field(default=5.0, gt=0, le=3600, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> CameraSettings:
        given = [self.device is not None, self.url is not None, self.pipeline is not None]
        if sum(given) != 1:
            raise ValueError("give one of device, url and pipeline")
        if (self.trigger == "interval") != (self.interval_s is not None):
            raise ValueError("interval_s goes with trigger = 'interval', and with that alone")
        if self.latency_ms >= self.max_wait_ms:
            raise ValueError("max_wait_ms must be more than latency_ms, or no frame would do")
        return self


class MqttSettings(_Input):
    """Trigger messages on the topic ``PREFIX/STATION/trigger``.

    roots: folders; a message may name a file in one of them. camera: of the same station, which a
    message without a file triggers. session_s: how long the broker keeps messages while the daemon
    is away; a camera's would be of parts that have gone, so it must be 0 with a camera.
    max_mb: a larger file is unusable.
    """

    kind: Literal["mqtt"]
    broker: BrokerSettings
    prefix: str = Field(default="adcopilot", pattern=_TOPIC)
    roots: tuple[Path, ...] = ()
    camera: str | None = None
    session_s: int = Field(default=0, ge=0, le=604_800)
    max_mb: int = Field(default=128, gt=0, le=2048)

    @model_validator(mode="after")
    def _check(self) -> MqttSettings:
        if not self.roots and self.camera is None:
            raise ValueError("give roots, a camera, or both; else no message could do anything")
        if self.camera is not None and self.session_s:
            raise ValueError("session_s must be 0 with a camera: kept triggers come too late")
        return self


InputSettings: TypeAlias = Annotated[
    FolderSettings | CameraSettings | MqttSettings, Field(discriminator="kind")
]


def check_inputs(inputs: tuple[InputSettings, ...], stations: Collection[str]) -> None:
    """Check what holds between inputs, and between them and stations. Raises ValueError."""
    names = [item.name for item in inputs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"there are two inputs named {', '.join(twice)}")
    folders = [item.path for item in inputs if isinstance(item, FolderSettings)]
    if twice_seen := sorted({str(path) for path in folders if folders.count(path) > 1}):
        raise ValueError(f"two inputs watch {', '.join(twice_seen)}")
    cameras = {item.name: item for item in inputs if isinstance(item, CameraSettings)}
    for item in inputs:
        if item.station not in stations:
            raise ValueError(
                f"input {item.name} has the station {item.station}, which is not among "
                f"{', '.join(sorted(stations))}"
            )
        if not isinstance(item, MqttSettings) or item.camera is None:
            continue
        camera = cameras.get(item.camera)
        if camera is None or camera.station != item.station or camera.trigger != "mqtt":
            raise ValueError(
                f"input {item.name} has the camera {item.camera}, which is no camera of the "
                f"station {item.station} with trigger = 'mqtt'"
            )
