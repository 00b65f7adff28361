"""``demo-line``: the daemon on a made-up conveyor, with its page; no camera, no other model."""

from __future__ import annotations

import io
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
    from adcopilot_edge.runtime.daemon.server import Server
    from adcopilot_edge.training.synthetic.conveyor import Conveyor

_STATION_FILE = """\
# A made-up line: written by adcopilot-edge demo-line, and read again as it is.
[daemon]
state = "state"

[http]
port = {port}

[images]
keep = "all"
max_mb = 500

[[stations]]
name = "belt"
product = "board"
takt_ms = {takt_ms}

[[products]]
name = "board"
goldens = ["golden.png"]

[[inputs]]
kind = "folder"
name = "conveyor"
station = "belt"
path = "parts"
settle_s = 0.1
after = "delete"
"""
_READY_POLL_S = 0.1


def demo_line(
    folder: Annotated[Path, typer.Option(help="Where station file, state and pictures go.")] = Path(
        "adcopilot-line"
    ),
    every_ms: Annotated[int, typer.Option(help="A part comes so often.", min=50)] = 1500,
    takt_ms: Annotated[int, typer.Option(help="The time that a part has.", min=50)] = 1000,
    bad_share: Annotated[
        float, typer.Option(help="Share of parts with defects.", min=0.0, max=1.0)
    ] = 0.15,
    parts: Annotated[
        int | None, typer.Option(help="End after so many parts; else with Ctrl-C.", min=1)
    ] = None,
    port: Annotated[int, typer.Option(help="Of the page; 0 is a free one.", min=0)] = 8470,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Start the daemon with the small model in this package, and let made-up boards pass by.

    Example: adcopilot-edge demo-line --parts 20 --no-browser
    """
    try:
        from adcopilot_edge.runtime.daemon.server import Server
    except ImportError as err:
        raise MissingExtraError(
            feature="demo-line", extra="serve", package=err.name or "fastapi"
        ) from err
    from adcopilot_edge.runtime.daemon.station_file import read_station_file
    from adcopilot_edge.training.synthetic.conveyor import Conveyor

    conveyor = Conveyor(4, bad_share=bad_share)
    path = _prepare(folder, conveyor, _STATION_FILE.format(port=port, takt_ms=takt_ms))
    server = Server(read_station_file(path))
    belt = _Belt(server, conveyor, folder / "parts", every_ms / 1000, parts)
    server.daemon.on_final(belt.on_final)

    def on_address(address: str) -> None:
        print(f"the page is at {address}", flush=True)
        if browser:
            webbrowser.open(address)

    belt.start()
    code = server.run(on_address)
    belt.stop()
    print(belt.summary())
    if code:
        raise typer.Exit(code)


def _prepare(folder: Path, conveyor: Conveyor, text: str) -> Path:
    """The station file in ``folder``, written unless it is there."""
    from PIL import Image

    path = folder / "station.toml"
    if folder.exists() and any(folder.iterdir()) and not path.is_file():
        raise ConfigError(f"{folder} holds something else; choose another --folder")
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    Image.fromarray(conveyor.golden).save(folder / "golden.png")
    path.write_text(text, encoding="utf-8")
    return path


class _Belt(threading.Thread):
    """Brings a part every so often, and holds what became of each against what it was made as."""

    def __init__(
        self, server: Server, conveyor: Conveyor, folder: Path, every_s: float, limit: int | None
    ) -> None:
        super().__init__(name="conveyor", daemon=True)
        self._server = server
        self._conveyor = conveyor
        self._folder = folder
        self._every_s = every_s
        self._limit = limit
        self._over = threading.Event()
        self._first = 0
        self._labels: dict[str, tuple[str, ...]] = {}
        self._done: list[tuple[bool, FinalRecord]] = []

    def run(self) -> None:
        from adcopilot_edge.atomic import atomic_write

        while not self._server.daemon.life.is_ready:
            if self._over.wait(_READY_POLL_S) or self._server.daemon.life.is_over:
                return
        number = 0
        while not self._over.is_set() and (self._limit is None or number < self._limit):
            part = self._conveyor.part(number)
            name = f"part-{number:06d}"
            self._labels[name] = part.labels
            with atomic_write(self._folder / f"{name}.png") as stream:
                stream.write(_png(part.image))
            number += 1
            self._over.wait(self._every_s)

    def stop(self) -> None:
        """Bring no more parts."""
        self._over.set()

    def on_final(self, record: FinalRecord, part: Part) -> None:
        """Tell of a part; end the line behind the last one."""
        labels = self._labels.get(Path(record.reference or "").stem)
        if labels is None:
            return
        self._done.append((bool(labels), record))
        made = ", ".join(labels) if labels else "good"
        told = record.verdict if record.reason is None else f"{record.verdict} ({record.reason})"
        ms = record.timings_ms["part"]
        print(f"part {record.id:<6} {told:<12} {ms:7.0f} ms   made as: {made}", flush=True)
        if len(self._done) == self._limit:
            threading.Thread(target=self._server.daemon.line.drain, args=(5.0,)).start()

    def summary(self) -> str:
        """What passed by, in one line."""
        escapes = sum(is_bad and not record.is_rejected for is_bad, record in self._done)
        overkill = sum(not is_bad and record.is_rejected for is_bad, record in self._done)
        bad = sum(is_bad for is_bad, _ in self._done)
        return (
            f"{len(self._done)} parts, {bad} made with defects: "
            f"{escapes} escapes, {overkill} good ones rejected"
        )


def _png(image: object) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")  # type: ignore[arg-type]
    return stream.getvalue()
