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
    from adcopilot_edge.runtime.verify import VerifyReport


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    reference: Annotated[
        str | None,
        typer.Option(help="The checkpoint that it was made of: ask torch anew (extra: export)."),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="With --reference: the adapter that was merged.")
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(help="With --reference: how many pairs; 20, or 1 above --max-ram.", min=1),
    ] = None,
    max_ram: Annotated[
        str | None, typer.Option(help="With --reference: memory it may take, as 4G.")
    ] = None,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Hash every file of a bundle, then compare every stage of an inspection.

    The device compares with what the exporter stored of one pair, and then an inspection with the
    golden image from a pack on disk (cached_...) with one without. With --reference the checkpoint
    itself is asked, about new pairs. Nothing of the bundle changes. Exits with 3 when a file is
    damaged and with 4 when a stage is out of its tolerance; the first one is named.

    Examples: adcopilot-edge verify bundle;
    adcopilot-edge verify bundle --reference checkpoint --pairs 5 --max-ram 4G
    """
    if reference is None:
        if (adapter, pairs, max_ram) != (None, None, None):
            raise ConfigError("--adapter, --pairs and --max-ram go with --reference")
        from adcopilot_edge.runtime.verify import verify_bundle

        report = verify_bundle(bundle, provider=provider, num_threads=threads)
    else:
        report = _ask_checkpoint(bundle, reference, adapter, pairs, max_ram, provider)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if report.first_failure is not None:
        raise typer.Exit(ParityError.exit_code)


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
