"""``inspect``: a test image against a golden, or several, each with its result."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adcopilot_edge.commands.cascade import print_decided, read_cascade
from adcopilot_edge.commands.golden_choice import GoldenChoice, choose_goldens, split_pictures
from adcopilot_edge.commands.options import Packs, Provider, Threads
from adcopilot_edge.commands.printing import print_inspection, print_json, print_part
from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.types import PartResult

ANOMALY_EXIT_CODE = 10


def inspect(
    golden: Annotated[Path, typer.Argument(help="Picture of a part known to be good.")],
    tests: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Picture of the part to inspect, or several of them. With --product the first "
            "picture is one too.",
            metavar="[TEST]...",
            show_default=False,
        ),
    ] = None,
    more_goldens: Annotated[
        list[Path] | None,
        typer.Option("--golden", help="A further golden image of the product; several may be."),
    ] = None,
    product: Annotated[
        str | None,
        typer.Option(help="Take the golden images from the packs of golden add --name."),
    ] = None,
    choose: Annotated[
        Literal["nearest", "vote"] | None,
        typer.Option(
            help="Of several golden images: go by the nearest, which is the default and costs one "
            "inspection, or by a vote of all.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to use; by default the one in this package.")
    ] = None,
    task: Annotated[
        Literal["verdict", "classify", "locate", "describe", "all"],
        typer.Option(help="What to say beside verdict and anomaly map."),
    ] = "verdict",
    ask: Annotated[
        str | None, typer.Option(help="A question in your own words about the test image.")
    ] = None,
    tile: Annotated[
        bool, typer.Option("--tile", help="Inspect a large picture in tiles, at its own scale.")
    ] = False,
    overlay: Annotated[
        Path | None, typer.Option(help="Draw the result into this picture (.png, .jpg, ...).")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Verdict state to go by; by default what lies beside the bundle."),
    ] = None,
    uncalibrated: Annotated[
        bool,
        typer.Option("--uncalibrated", help="Go by the bundle's own threshold and ranges instead."),
    ] = False,
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade",
            help="Let parts with a quiet anomaly map pass without the language model, by the "
            "threshold of calibrate --cascade.",
        ),
    ] = False,
    audit_share: Annotated[
        float | None,
        typer.Option(
            help="With --cascade: share of the passing parts that the model sees anyway; 0.02."
        ),
    ] = None,
    packs: Packs = None,
    max_offset: Annotated[
        float | None, typer.Option(help="Note a test image shifted by more pixels than this.")
    ] = None,
    max_brightness_change: Annotated[
        float | None, typer.Option(help="Note a brightness off by more, as 0.2 for 0.8 to 1.2.")
    ] = None,
    max_colour_shift: Annotated[
        float | None, typer.Option(help="Note a change of a colour's share by more, as 0.02.")
    ] = None,
    min_sharpness: Annotated[
        float | None, typer.Option(help="Note a test image less sharp, as 0.5 of the golden's.")
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Note another view: correlation below this, as 0.8.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object on stdout, also on failure; for several parts one a line.",
        ),
    ] = False,
    fail_on_anomaly: Annotated[
        bool,
        typer.Option("--fail-on-anomaly", help="Exit with 10 on an anomaly; uncertain is none."),
    ] = False,
    provider: Provider = "cpu",
    threads: Threads = None,
    max_new_tokens: Annotated[
        int, typer.Option(help="Limit of each answer, in tokens.", min=1)
    ] = 128,
    unconstrained: Annotated[
        bool,
        typer.Option("--unconstrained", help="Decode boxes as the model likes, also unusable."),
    ] = False,
    takt_ms: Annotated[
        float | None,
        typer.Option(help="Time for the inspection; words that do not fit are left out, or cut."),
    ] = None,
) -> None:
    """Inspect a test image against a golden image: verdict, boxes, words.

    Boxes are x1 y1 x2 y2 in pixels of the test image; their source is the model's text or its
    anomaly map. A pack of the golden image, made by golden add, is used where there is one. A
    finished inspection exits with 0 whatever its verdict, unless --fail-on-anomaly. How far the
    test image is from the golden's view (health) is always told, and changes no verdict; with a
    limit on it, what is beyond is also noted.

    With --takt-ms the description is left out first, then types, boxes, and your question; the
    verdict never. The notes say what was left out and by how much the time was exceeded.

    With --cascade a part whose anomaly map stays quiet is normal without the language model being
    asked, whatever it would have said; path tells who decided, and the note cascade_missed that an
    audit, a share chosen by the pixels, disagrees.

    Of several golden images (--golden, --product) the one whose features are nearest to the part's
    counts, or each of them has a vote; the result says which, under goldens.

    Of several test images each is prepared while the one before is inspected, and each has a line
    as soon as it is known; boxes, health and times are in --json, beside the file's name (test).
    A picture that can't be used has its error there, the others go on, and the exit code is that
    of the error (6), else 10 for an anomaly with --fail-on-anomaly, else 0.

    Examples: adcopilot-edge inspect golden.png part.png --task all --overlay result.png;
    adcopilot-edge inspect lid-1.png part.png --golden lid-2.png --golden lid-3.png --choose vote;
    adcopilot-edge inspect part.png --product lid;
    adcopilot-edge inspect golden.png parts/*.png --json
    """
    pictures = [golden, *(tests or ())]
    goldens, paths = split_pictures(pictures, more_goldens or (), product, choose)
    if overlay is not None and len(paths) > 1:
        raise ConfigError("--overlay draws one test image. Inspect the others without it")
    asked_cascade = read_cascade(
        is_on=cascade, audit_share=audit_share, is_uncalibrated=uncalibrated
    )
    from adcopilot_edge.runtime.health import HealthLimits
    from adcopilot_edge.runtime.images import open_image
    from adcopilot_edge.runtime.inspector import Inspector
    from adcopilot_edge.runtime.overlay import draw_overlay, save_image

    inspector = Inspector.open(
        bundle,
        provider=provider,
        num_threads=threads,
        state=state,
        calibrated=not uncalibrated,
        packs=packs,
        health=HealthLimits(
            max_offset_px=max_offset,
            max_brightness_change=max_brightness_change,
            max_colour_shift=max_colour_shift,
            min_sharpness=min_sharpness,
            min_similarity=min_similarity,
        ),
    )
    chosen = choose_goldens(inspector, goldens, product, choose)
    wishes: Any = {
        "task": task,
        "ask": ask,
        "tile": tile,
        "max_new_tokens": max_new_tokens,
        "constrained": not unconstrained,
        "takt_ms": takt_ms,
        "cascade": asked_cascade,
    }
    if len(paths) > 1:
        parts = inspector.inspect_many(chosen.golden, paths, **wishes)
        raise typer.Exit(_print_parts(parts, paths, chosen, as_json, fail_on_anomaly))
    (test,) = paths
    inspection = inspector.inspect(chosen.golden, test, **wishes)
    if overlay is not None:
        drawn = draw_overlay(chosen.picture(inspection), open_image(test), inspection)
        save_image(drawn, overlay)
        print(f"wrote {overlay}", file=sys.stderr)
    if as_json:
        print_json(inspection.to_json() | chosen.tell(inspection))
    else:
        print_inspection(inspection)
        chosen.print_told(inspection)
        if cascade:
            print_decided(inspection)
    if fail_on_anomaly and inspection.verdict == "anomaly":
        raise typer.Exit(ANOMALY_EXIT_CODE)


def _print_parts(
    parts: Generator[PartResult, None, None],
    paths: list[Path],
    chosen: GoldenChoice,
    as_json: bool,
    fail_on_anomaly: bool,
) -> int:
    """Print each result as it comes; return the exit code of the worst."""
    codes = {0}
    width = max(len(str(path)) for path in paths)
    with closing(parts):
        for path, part in zip(paths, parts, strict=True):
            told = {}
            if part.error is not None:
                codes.add(part.error.exit_code)
                print(f"error: {path}: {part.error}", file=sys.stderr)
            elif part.inspection is not None:
                told = chosen.tell(part.inspection)
                if fail_on_anomaly and part.inspection.verdict == "anomaly":
                    codes.add(ANOMALY_EXIT_CODE)
            if as_json:
                print_json({"test": str(path), **part.to_json(), **told})
            else:
                print_part(str(path), part, width)
            sys.stdout.flush()
    return max(codes - {ANOMALY_EXIT_CODE}) or max(codes)
