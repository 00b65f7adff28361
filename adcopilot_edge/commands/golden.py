"""``golden``: golden packs on this device: add, list, remove, prune."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adcopilot_edge.commands.options import Json, Packs, Provider, Threads
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows

if TYPE_CHECKING:
    from adcopilot_edge.bundle import Bundle
    from adcopilot_edge.runtime.golden_packs import GoldenPacks, StoredPack

BundleFolder = Annotated[Path, typer.Argument(help="Folder of the bundle.")]


def add(
    bundle: BundleFolder,
    golden: Annotated[list[Path], typer.Argument(help="Pictures of parts known to be good.")],
    name: Annotated[
        str | None, typer.Option(help="The product's name; several packs may share it.")
    ] = None,
    tile: Annotated[
        bool,
        typer.Option(
            "--tile", help="Store its tiles too, for inspect --tile of parts of the same size."
        ),
    ] = False,
    packs: Packs = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(help="What all packs may take, as 2G; those unused for longest go."),
    ] = None,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Compute what is constant for golden images and store it, one pack each.

    A pack holds the golden's features and the language model's memory of it, and inspections with
    the same pixels start from it: the same results, without reading the golden image again. It fits
    one bundle, provider, processor and release, and is found by the pixels, whatever the picture's
    file is called.

    With --tile each tile of the golden has a pack too. Tiles are cut by the part's size and the
    bundle's, and found by their pixels: a part of another size than the golden finds none.

    Examples: adcopilot-edge golden add bundle golden.png --name lid;
    adcopilot-edge golden add bundle board.png --tile;
    adcopilot-edge golden add bundle lid-1.png lid-2.png --name lid --max-bytes 2G
    """
    from adcopilot_edge.runtime.inspector import Inspector
    from adcopilot_edge.runtime.memory import parse_bytes

    limit = None if max_bytes is None else parse_bytes(max_bytes)
    inspector = Inspector.open(bundle, provider=provider, num_threads=threads, packs=packs)
    added = []
    for picture in golden:
        added.append(inspector.add_golden(picture, name))
        if tile:
            added += inspector.add_tiles(picture, name)
    removed = []
    if limit is not None:
        _, folder = _open(bundle, packs)
        removed = folder.prune(limit, keep=[pack.path for pack in added])
    for pack in added:
        print(f"wrote {pack.path}", file=sys.stderr)
    for pack in removed:
        print(f"removed {pack.path}", file=sys.stderr)
    if as_json:
        print_json(
            {
                "added": [_to_json(pack, "usable") for pack in added],
                "removed": [str(pack.path) for pack in removed],
            }
        )
    else:
        print_rows(_row(pack, "usable") for pack in added)


def list_packs(bundle: BundleFolder, packs: Packs = None, as_json: Json = False) -> None:
    """List the golden packs of a bundle, the one used last in front, each of them checked.

    A pack is usable, or outdated: made of another bundle, release, processor or engine. A damaged
    one is told with the reason. Inspections use neither.

    Example: adcopilot-edge golden list bundle
    """
    opened, folder = _open(bundle, packs)
    stored = [(pack, _state(pack, opened)) for pack in folder.stored()]
    if as_json:
        record = {"folder": str(folder.folder), "packs": [_to_json(*one) for one in stored]}
        print_json(record)
        return
    total = sum(pack.size_bytes for pack, _ in stored)
    print_fact("folder", str(folder.folder))
    print_fact("packs", f"{len(stored)}, {total / 1e6:.1f} MB")
    if stored:
        print_rows(_row(*one) for one in stored)


def remove(
    bundle: BundleFolder,
    which: Annotated[
        list[str], typer.Argument(help="Products, or ids as golden list prints them.")
    ],
    packs: Packs = None,
    as_json: Json = False,
) -> None:
    """Remove golden packs: all of a product, or one by its id.

    Examples: adcopilot-edge golden remove bundle lid;
    adcopilot-edge golden remove bundle 3f9a12c07be45d68
    """
    _, folder = _open(bundle, packs)
    chosen = folder.select(which)
    for pack in chosen:
        folder.remove(pack)
    _print_removed(chosen, folder, as_json=as_json)


def prune(
    bundle: BundleFolder,
    max_bytes: Annotated[str, typer.Option(help="What the packs may take together, as 2G.")],
    packs: Packs = None,
    as_json: Json = False,
) -> None:
    """Remove the golden packs that were unused for longest, until the others fit a limit.

    Example: adcopilot-edge golden prune bundle --max-bytes 2G
    """
    from adcopilot_edge.runtime.memory import parse_bytes

    limit = parse_bytes(max_bytes)
    _, folder = _open(bundle, packs)
    _print_removed(folder.prune(limit), folder, as_json=as_json)


def _open(path: Path, packs: Path | None) -> tuple[Bundle, GoldenPacks]:
    """The bundle, and its folder of packs or the one that was named."""
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.runtime.golden_packs import GoldenPacks

    bundle = open_bundle(path, verify=False)
    return bundle, GoldenPacks.beside(bundle) if packs is None else GoldenPacks(packs)


def _state(pack: StoredPack, bundle: Bundle) -> str:
    """``usable``, ``outdated``, or ``damaged``, after a look at all of the pack."""
    from adcopilot_edge.errors import PackError
    from adcopilot_edge.runtime.engine import engine_id
    from adcopilot_edge.runtime.golden_key import golden_key
    from adcopilot_edge.runtime.golden_pack import read_pack
    from adcopilot_edge.runtime.ranges_store import read_ranges

    record = pack.record
    if record is None:
        return "damaged"
    key = golden_key(
        bundle,
        golden_sha256=record.golden_sha256,
        provider=record.provider,
        variant=engine_id(bundle, read_ranges(bundle)).removeprefix(bundle.id),
    )
    if record.key != key:
        return "outdated"
    try:
        read_pack(pack.path, key=key, bundle=bundle.id)
    except PackError as err:
        print(f"warning: {err}", file=sys.stderr)
        return "damaged"
    return "usable"


def _print_removed(removed: list[StoredPack], folder: GoldenPacks, *, as_json: bool) -> None:
    left = folder.stored()
    num_bytes = sum(pack.size_bytes for pack in left)
    if as_json:
        paths = [str(pack.path) for pack in removed]
        print_json({"removed": paths, "left": len(left), "left_bytes": num_bytes})
        return
    print_fact("removed", str(len(removed)))
    if removed:
        print_rows((pack.path.name, f"{pack.size_bytes / 1e6:.1f} MB") for pack in removed)
    print_fact("left", f"{len(left)}, {num_bytes / 1e6:.1f} MB")


def _to_json(pack: StoredPack, state: str) -> dict[str, Any]:
    record = pack.record
    return {
        "id": record.id if record else None,
        "name": record.name if record else None,
        "tile": record.tile if record else None,
        "state": state,
        "provider": record.provider if record else None,
        "golden_sha256": record.golden_sha256 if record else None,
        "bundle": record.bundle if record else None,
        "created_at": record.created_at.isoformat() if record else None,
        "last_used": _time(pack).isoformat(),
        "size_bytes": pack.size_bytes,
        "path": str(pack.path),
        "problem": pack.problem,
    }


def _row(pack: StoredPack, state: str) -> tuple[str, ...]:
    record = pack.record
    name = (record.name if record else None) or "-"
    if record and record.tile:
        x, y, width, height = record.tile
        name += f", tile {width}x{height} at {x},{y}"
    return (
        record.id if record else pack.path.name,
        name,
        record.provider if record else "-",
        f"{pack.size_bytes / 1e6:.1f} MB",
        f"used {_time(pack):%Y-%m-%d %H:%M} UTC",
        state,
    )


def _time(pack: StoredPack) -> datetime:
    return datetime.fromtimestamp(pack.last_used, timezone.utc)
