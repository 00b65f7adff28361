"""The station file: everything about a daemon in one strict TOML. An unknown key is an error.

Relative paths in it are relative to the file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings
from adcopilot_edge.runtime.daemon.inputs.settings import InputSettings, check_inputs
from adcopilot_edge.runtime.daemon.outputs.settings import OutputSettings, PlcOutput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Provider = Literal["cpu", "cuda", "tensorrt", "tensorrt-rtx"]
PAIR = "(pair)"  # the product of a part that brings its own golden; no recipe can have this name
AskedTask = Literal["classify", "locate", "describe"]


class DaemonSettings(Record):
    """The table ``daemon``.

    state: folder of records, images, goldens and queues. bundle: None is the one in the package.
    provider: where to run; never another. stuck_after_s: an inspection that takes longer has hung.
    restarts_per_hour: how often a hung or dead worker is started anew before the daemon fails.
    drain_s: how long parts in the queue may take after SIGTERM. min_free_mb: of the disk with the
    state folder; with less no part is taken. keep_records_days: older records go, unless an output
    has yet to be told of them; 0 keeps all. public_key: Ed25519, in PEM, that signed the bundle.
    max_pixels, max_image_mb: of a part's picture, whatever way it comes in.
    """

    state: Path
    bundle: Path | None = None
    provider: Provider = "cpu"
    threads: int | None = Field(default=None, gt=0)
    queue_size: int = Field(default=8, gt=0, le=10_000)
    stuck_after_s: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    restarts_per_hour: int = Field(default=5, ge=0)
    drain_s: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    min_free_mb: int = Field(default=200, ge=0)
    keep_records_days: float = Field(default=365.0, ge=0, allow_inf_nan=False)
    public_key: Path | None = None
    max_pixels: int = Field(default=80_000_000, gt=0)
    max_image_mb: float = Field(default=64.0, gt=0, le=4096)

    @property
    def max_image_bytes(self) -> int:
        """The most bytes that the file of a picture may have."""
        return int(self.max_image_mb * (1 << 20))


class ImageSettings(Record):
    """The table ``images``: which images are kept, and for how long.

    keep: ``defects`` keeps everything that is not normal, and of the normal ones ``sample_share``.
    max_mb, max_age_days: the oldest go first; 0 is no limit.
    """

    keep: Literal["all", "defects", "sampled", "none"] = "defects"
    sample_share: float = Field(default=0.0, ge=0, le=1)
    max_mb: int = Field(default=2048, ge=0)
    max_age_days: float = Field(default=30.0, ge=0, allow_inf_nan=False)


class ShadowSettings(Record):
    """The table ``shadow``: a second bundle that inspects a share of the parts, for comparison.

    share: of the parts that come while nothing waits. provider, threads: as in ``daemon``. nice:
    how much its process stands back behind the line's, 0 to 19.
    """

    bundle: Path
    share: float = Field(default=0.1, gt=0, le=1)
    provider: Provider = "cpu"
    threads: int | None = Field(default=None, gt=0)
    nice: int = Field(default=19, ge=0, le=19)


class ProductRecipe(Record):
    """One of ``products``: what a good part looks like and what is asked about each.

    goldens: pictures; more are added through the API. choose: of several goldens. tasks: beside the
    verdict. threshold: on the score, in place of the bundle's or the calibrated one. roi: the part
    of the image that is inspected, (x1, y1, x2, y2) in pixels. takt_ms: in place of the station's.
    outputs: names of those that are told; all of them where it is left out.
    """

    name: str = Field(pattern=NAME)
    goldens: tuple[Path, ...] = ()
    choose: Literal["nearest", "vote"] = "nearest"
    tasks: tuple[AskedTask, ...] = ()
    threshold: float | None = Field(default=None, gt=0, lt=1)
    roi: tuple[int, int, int, int] | None = None
    tile: bool = False
    takt_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=128, gt=0)
    outputs: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> ProductRecipe:
        if self.roi is not None:
            x1, y1, x2, y2 = self.roi
            if not (0 <= x1 < x2 and 0 <= y1 < y2):
                raise ValueError(f"roi {list(self.roi)} has no area; give [x1, y1, x2, y2]")
        if self.tile and self.takt_ms is not None:
            raise ValueError("tiles have no takt_ms: all verdicts are needed")
        return self


class Station(Record):
    """One of ``stations``: a camera position. product: the one it starts with."""

    name: str = Field(pattern=NAME)
    product: str
    takt_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)


_Named = TypeVar("_Named", ProductRecipe, Station)


class StationFile(Record):
    """A whole station file. folder: where relative paths begin."""

    daemon: DaemonSettings
    http: HttpSettings = HttpSettings()
    images: ImageSettings = ImageSettings()
    shadow: ShadowSettings | None = None
    stations: tuple[Station, ...] = Field(min_length=1)
    products: tuple[ProductRecipe, ...] = Field(min_length=1)
    outputs: tuple[OutputSettings, ...] = ()
    inputs: tuple[InputSettings, ...] = ()

    @field_validator("stations", "products", "outputs")
    @classmethod
    def _names_are_unique(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [item.name for item in items]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is there twice")
        return items

    @model_validator(mode="after")
    def _names_are_known(self) -> StationFile:
        known = {product.name for product in self.products}
        for station in self.stations:
            if station.product not in known:
                raise ValueError(
                    f"station {station.name} has the product {station.product}, which is not "
                    f"among {', '.join(sorted(known))}"
                )
        return self

    @model_validator(mode="after")
    def _inputs_fit(self) -> StationFile:
        check_inputs(self.inputs, {station.name for station in self.stations})
        return self

    @model_validator(mode="after")
    def _outputs_are_known(self) -> StationFile:
        known = {output.name for output in self.outputs}
        for product in self.products:
            if unknown := sorted(set(product.outputs or ()) - known):
                raise ValueError(
                    f"product {product.name} has the outputs {', '.join(unknown)}, which are not "
                    f"among {', '.join(sorted(known)) or 'any: there are none'}"
                )
        return self

    @model_validator(mode="after")
    def _outputs_have_a_station(self) -> StationFile:
        stations = {station.name for station in self.stations}
        for output in self.outputs:
            if not isinstance(output, PlcOutput):
                continue
            if output.station is None and len(stations) > 1:
                raise ValueError(
                    f"output {output.name} tells of one station; say which of "
                    f"{', '.join(sorted(stations))}"
                )
            if output.station is not None and output.station not in stations:
                raise ValueError(
                    f"output {output.name} has the station {output.station}, which is not among "
                    f"{', '.join(sorted(stations))}"
                )
        return self

    def product(self, name: str) -> ProductRecipe:
        """The product of that name; that of ``PAIR`` is told to no output. Raises ConfigError."""
        if name == PAIR:
            return ProductRecipe.model_construct(name=PAIR, outputs=())
        return _named(self.products, name, "product")

    def station(self, name: str | None) -> Station:
        """The station of that name, None where there is but one. Raises ConfigError."""
        if name is None:
            if len(self.stations) > 1:
                names = ", ".join(station.name for station in self.stations)
                raise ConfigError(f"there are several stations; say which of {names}")
            return self.stations[0]
        return _named(self.stations, name, "station")


def read_station_file(path: Path) -> StationFile:
    """Read a station file; its relative paths become those from its folder.

    Raises ConfigError that names the file, the key and what is wrong with it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"{path} can't be read: {err.strerror}") from err
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(f"{path} is not valid TOML: {err}") from err
    try:
        station_file = StationFile.model_validate(content)
    except ValidationError as err:
        raise ConfigError(f"{path}: {_findings(err)}") from err
    placed: StationFile = _from_folder(station_file, path.resolve().parent)
    return placed


def _findings(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )


def _from_folder(value: Any, folder: Path) -> Any:
    """The same record with every relative path in it from ``folder``."""
    if isinstance(value, Path):
        return folder / value.expanduser()
    if isinstance(value, tuple):
        return tuple(_from_folder(item, folder) for item in value)
    if isinstance(value, Record):
        changes = {
            name: _from_folder(getattr(value, name), folder) for name in type(value).model_fields
        }
        return value.model_copy(update=changes)
    return value


def _named(items: tuple[_Named, ...], name: str, kind: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in items)
    raise ConfigError(f"there is no {kind} {name!r}; known: {known}")
