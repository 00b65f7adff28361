"""``curate``: from folders of data sets to Chat-AD, and from there to what other trainers read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.curate_check import check_sources
from adcopilot_edge.commands.options import Json
from adcopilot_edge.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from adcopilot_edge.training.chat_ad.plan import CurationPlan


def curate(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders of data sets; with --export a curated set.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the curated set; must not exist yet.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what the folders hold and what is wrong.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only count what would be made of how much; with --teacher also the requests, "
            "tokens and costs. Not with --export.",
        ),
    ] = False,
    layout: Annotated[
        str | None, typer.Option(help="The layout of all of them; by default each is recognised.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the set, in its card; by default that of --out.")
    ] = None,
    tasks: Annotated[
        str, typer.Option(help="Which dialogues, of: caption, dialogue, choice, locate.")
    ] = "caption,dialogue,choice,locate",
    per_pair: Annotated[
        int, typer.Option(help="Dialogues of each task about a pair, at most.", min=1, max=64)
    ] = 1,
    seed: Annotated[int, typer.Option(help="Another one gives other words.")] = 0,
    limit: Annotated[
        int | None,
        typer.Option(help="Images of each category, half of them defective.", min=2),
    ] = None,
    knowledge: Annotated[
        list[Path] | None,
        typer.Option(help="TOML of what defects of your products are; may be repeated."),
    ] = None,
    exclude_classes: Annotated[
        str | None,
        typer.Option(
            help="mmad, or a file with one class a line (SOURCE/CLASS for one source only): "
            "images of them are left out."
        ),
    ] = None,
    exclude_images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of images that are evaluated on, each of which must be readable; may be "
            "repeated."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="What is evaluated on is an error, not left out.")
    ] = False,
    duplicate_bits: Annotated[
        int, typer.Option(help="Queries whose looks differ in more of 256 bits are no duplicates.")
    ] = 10,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Look for no duplicates.")
    ] = False,
    validation: Annotated[
        float, typer.Option(help="Share of the pairs to hold out: one at least.")
    ] = 0.0,
    split_by: Annotated[
        str, typer.Option(help="Hold out whole categories (category) or single pairs (pair).")
    ] = "category",
    licence: Annotated[
        list[str] | None,
        typer.Option("--license", help="SOURCE=LICENCE for the card; may be repeated."),
    ] = None,
    no_embed: Annotated[
        bool, typer.Option("--no-embed", help="Store paths of pictures instead of the pictures.")
    ] = False,
    shard_size: Annotated[str, typer.Option(help="Pictures in one shard, as 500M.")] = "500M",
    teacher: Annotated[
        Path | None,
        typer.Option(help="TOML of a teacher behind an OpenAI-compatible endpoint."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local: processes of this machine. ray: Ray Data.")
    ] = "local",
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    export: Annotated[
        str | None,
        typer.Option(help="Write a curated set for llama-factory or ms-swift instead."),
    ] = None,
    min_pixels: Annotated[
        int, typer.Option(help="With --export llama-factory: its image_min_pixels.", min=1)
    ] = 32 * 32,
    max_pixels: Annotated[
        int, typer.Option(help="With --export llama-factory: its image_max_pixels.", min=784)
    ] = 768 * 768,
    as_json: Json = False,
) -> None:
    """Make conversations about pairs of pictures from folders of data sets.

    The layouts are DeepPCB's (deeppcb), a list of pairs in pairs.jsonl (list), golden/ with good/
    and bad/ (plain), MVTec AD's, also of MPDD, BTAD and GoodsAD (mvtec), mvtec-loco, visa,
    real-iad, kolektor, magnetic-tile, COCO's JSON (coco), Pascal VOC's XML (voc) and YOLO's text
    files (yolo).

    Each image gets a normal template of its category, without which it can't be used, and dialogues
    about both, whose answers hold to masks, boxes and labels. The set has Parquet shards that
    datasets.load_dataset(DIR) reads, a card (README.md), a sheet of samples (sheet.png),
    counts.json, and left_out.jsonl with what was left out and why. Killed and started again, a run
    goes on; engine and workers change no byte.

    A query that looks like an earlier one is left out only if its defects are the same too.
    --check exits with 5 when anything is wrong, but for what --exclude-classes leaves out, --strict
    when anything leaks.

    Examples: adcopilot-edge curate MPDD KolektorSDD --check;
    adcopilot-edge curate line-images MPDD --out chat-ad --exclude-classes mmad --workers 8;
    adcopilot-edge curate chat-ad --export llama-factory --out chat-ad-lf
    """
    if check:
        if not check_sources(sources, layout, exclude_classes, as_json=as_json):
            raise typer.Exit(DatasetError.exit_code)
        return
    if out is None and (export is not None or not dry_run):
        raise ConfigError("say where the set goes with --out DIR, or only look with --check")
    from adcopilot_edge.commands.curate_run import export_set, plan_of, run_curation, run_preview

    if export is not None:
        assert out is not None
        if dry_run:
            raise ConfigError("--export has no --dry-run; leave it away to write the conversations")
        export_set(sources, out, export, (min_pixels, max_pixels), name=name, as_json=as_json)
        return
    plan: CurationPlan = plan_of(
        sources=tuple(sources),
        name=name or (out.name if out else "preview"),
        layout=layout,
        tasks=tasks,
        per_pair=per_pair,
        seed=seed,
        limit=limit,
        knowledge=tuple(knowledge or ()),
        exclude_classes=exclude_classes,
        exclude_images=tuple(exclude_images or ()),
        strict=strict,
        duplicate_bits=None if keep_duplicates else duplicate_bits,
        validation=validation,
        split_by=split_by,
        licences=licence or [],
        embed=not no_embed,
        shard_size=shard_size,
        teacher=teacher,
        out=out,
        engine=engine,
        workers=workers,
    )
    if dry_run:
        run_preview(plan, as_json=as_json)
    elif out is not None:
        run_curation(plan, out, as_json=as_json)
