"""``verify``: does a bundle work here as it did where it was exported?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.commands.workshop import require_export
from adcopilot_edge.errors import ConfigError, ParityError

if TYPE_CHECKING:
    from adcopilot_edge.calibration.pairs import Pairs
    from adcopilot_edge.runtime.verify import VerifyReport

_OWN_PAIRS = 10


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    reference: Annotated[
        str | None,
        typer.Option(
            help="The checkpoint that it was made of, a folder, a hub id, or embedded: ask torch "
            "anew (extra: export)."
        ),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="With --reference: the adapter that was merged.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your own pairs, as for gate: inspect them with and without a kept golden image, "
            "too."
        ),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            help="With --reference: how many pairs; 20, or 1 above --max-ram. With --data: 10.",
            min=1,
        ),
    ] = None,
    max_ram: Annotated[
        str | None, typer.Option(help="With --reference: memory it may take, as 4G.")
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(help="Check the signature with this key of Ed25519 (PEM) before all else."),
    ] = None,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Hash every file of a bundle, then compare every stage of an inspection.

    The device compares with what the exporter stored of one pair, and then an inspection with the
    golden image from a pack on disk (cached_...) with one without. With --data your own pairs are
    inspected, all tasks, with the golden image not kept, kept in memory (memory_...) and from a
    pack (pack_...): verdict, boxes and words must be equal. With --reference the checkpoint itself
    is asked, about new pairs. Nothing of the bundle changes. Exits with 3 when a file is damaged or
    the signature is not that of --public-key, and with 4 when a stage is out of its tolerance; the
    first one is named.

    Examples: adcopilot-edge verify bundle; adcopilot-edge verify bundle --data line-images;
    adcopilot-edge verify bundle --reference checkpoint --pairs 5 --max-ram 4G
    """
    if public_key is not None:
        from adcopilot_edge.signature import check_signature

        check_signature(bundle, public_key)
    if reference is None:
        if (adapter, max_ram) != (None, None) or (pairs is not None and data is None):
            raise ConfigError(
                "--adapter and --max-ram go with --reference, --pairs with it or with --data"
            )
        report = _verify_here(bundle, data, pairs or _OWN_PAIRS, provider, threads)
    else:
        if data is not None:
            raise ConfigError("--reference makes pairs of its own: leave --data out")
        report = _ask_checkpoint(bundle, reference, adapter, pairs, max_ram, provider)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if report.first_failure is not None:
        raise typer.Exit(ParityError.exit_code)


def _verify_here(
    path: Path, data: Path | None, num_pairs: int, provider: str, threads: int | Path | None
) -> VerifyReport:
    """The report of the bundle at ``path`` on this device, and on pairs of ``data``."""
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.calibration.held_out import read_held_out
    from adcopilot_edge.runtime.verify import verify_bundle

    with StepProgress() as progress:
        own: Pairs = []
        if data is not None:
            model = open_bundle(path, verify=False).manifest.model
            tile = max(model.image_height, model.image_width)
            own = read_held_out([data], count=num_pairs, tile=tile).pairs
        return verify_bundle(
            path,
            provider=provider,
            num_threads=threads,
            own_pairs=own,
            on_pair=lambda done: progress("pairs", done, len(own)),
        )


def _ask_checkpoint(
    path: Path,
    reference: str,
    adapter: str | None,
    num_pairs: int | None,
    max_ram: str | None,
    provider: str,
) -> VerifyReport:
    """The report of the bundle at ``path`` against the checkpoint at ``reference``."""
    require_export("verify --reference")
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.export.adapter import merge_adapter
    from adcopilot_edge.export.checkpoint import open_checkpoint
    from adcopilot_edge.export.proof import prove_again, synthetic_pairs
    from adcopilot_edge.runtime.memory import parse_bytes

    limit = None if max_ram is None else parse_bytes(max_ram)
    bundle = open_bundle(path, verify=True)
    size = bundle.manifest.model
    checkpoint = open_checkpoint(reference)
    if adapter is not None:
        checkpoint = merge_adapter(checkpoint, adapter)
    with StepProgress() as progress:
        return prove_again(
            bundle,
            checkpoint,
            synthetic_pairs(size.image_height, size.image_width),
            num_pairs=num_pairs,
            max_ram=limit,
            provider=provider,
            on_step=progress,
        )


def _print_report(report: VerifyReport) -> None:
    print_fact("bundle", report.bundle)
    print_fact("provider", report.provider)
    if report.ranges is not None:
        print_fact("ranges", f"{report.ranges}, measured here")
    print_fact("files", f"{report.num_files}, all hashes match")
    print_fact("pairs", str(report.num_pairs) if report.num_pairs else "none stored")
    if report.num_own_pairs:
        print_fact("own pairs", f"{report.num_own_pairs}, golden kept and not kept")
    print_rows(
        (
            stage.stage,
            stage.metric,
            f"{stage.error:.3g}" if math.isfinite(stage.error) else "not comparable",
            f"limit {stage.tolerance:.3g}",
            "passed" if stage.passed else "FAILED",
        )
        for stage in report.stages
    )
    failed = [stage.stage for stage in report.stages if not stage.passed]
    print_fact("result", "passed" if not failed else f"FAILED first at {failed[0]}")
    if failed[1:]:
        print_fact("", f"also at {', '.join(failed[1:])}")
