"""``calibrate``: the limits of the verdicts for one golden image, from parts of the line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adcopilot_edge.commands.cascade import print_cascade, read_max_asked
from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.commands.printing import print_fact, print_json
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.commands.ranges import print_ranges, roll_back_both
from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.calibration.verdicts import Calibration
    from adcopilot_edge.runtime.inspector import Inspector
    from adcopilot_edge.runtime.verdict_state import VerdictState


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    golden: Annotated[Path, typer.Option(help="Picture of the golden image.")],
    good: Annotated[
        Path | None, typer.Option(help="Folder of good parts of the line; one picture a part.")
    ] = None,
    bad: Annotated[Path | None, typer.Option(help="Folder of bad parts, if there are any.")] = None,
    max_overkill: Annotated[
        float, typer.Option(help="Largest share of good parts that may be called anomalies.")
    ] = 0.01,
    max_review: Annotated[
        float | None,
        typer.Option(
            help="Largest share of good parts that may be uncertain or anomalies; by default 0.05, "
            "or --max-overkill if that is more. If both are equal, nothing is uncertain."
        ),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the bounds that state one.")] = 0.95,
    tile: Annotated[
        bool, typer.Option("--tile", help="Inspect in tiles, as inspect --tile will.")
    ] = False,
    cascade: Annotated[
        bool,
        typer.Option("--cascade", help="Measure the threshold of inspect --cascade, too."),
    ] = False,
    max_asked: Annotated[
        float | None,
        typer.Option(
            help="With --cascade: largest share of good parts that go on to the language model; "
            "0.1."
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Store in this .json, for inspect --state; not beside the bundle."),
    ] = None,
    diagram: Annotated[
        Path | None,
        typer.Option(help="With --bad: draw how reliable the scores are into this picture."),
    ] = None,
    ranges: Annotated[
        bool,
        typer.Option(
            "--ranges",
            help="Measure the ranges of static INT8 layers anew too, on half of the good parts.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure and print, but store nothing.")
    ] = False,
    roll_back: Annotated[
        bool,
        typer.Option(
            "--roll-back", help="Bring the stored state before back, with --ranges both, and stop."
        ),
    ] = False,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Calibrate the verdicts for one golden image, on the device, from good parts of the line.

    A next good part is called an anomaly with a chance of at most --max-overkill: split conformal
    prediction, from good parts alone. Bad parts change no limit; they bound the escapes (exact
    binomial) and fit the temperature of the score. All of it holds for parts like the measured
    ones: same product, camera, light. The state is stored beside the bundle, and every inspection
    with this golden image goes by it; the state before is kept for --roll-back.

    With --cascade, the state also holds up to which value of the anomaly map a part passes without
    the language model. Good parts alone set it: the next one is asked about with a chance of at
    most --max-asked. What share of bad parts it lets pass is known from --bad alone, and printed.

    With --ranges, a bundle of static INT8 on a CPU gets the ranges of its layers from half of the
    good parts, at least 16. The other half, and bad parts, show what that does to verdicts: if they
    get worse, or the stored pair of the export leaves its tolerances, nothing is stored and the
    exit code is 8. The ranges hold for every golden image of the bundle: states of other ones are
    void, and have to be made again.

    Examples: adcopilot-edge calibrate bundle --golden golden.png --good parts/good --bad parts/bad;
    adcopilot-edge calibrate bundle --golden golden.png --good parts/good --bad parts/bad --cascade;
    adcopilot-edge calibrate bundle --golden golden.png --good parts/good --ranges;
    adcopilot-edge calibrate bundle --golden golden.png --roll-back
    """
    if state is not None and state.suffix.lower() != ".json":
        raise ConfigError(f"a verdict state is a .json file, and --state names {state}")
    if ranges and state is not None:
        raise ConfigError("--ranges stores beside the bundle alone: leave --state out")
    if roll_back:
        measuring = (good, bad, diagram, max_asked) != (None,) * 4 or dry_run or cascade
        if measuring:
            raise ConfigError("--roll-back goes with --golden and --state alone")
        if ranges:
            roll_back_both(bundle, golden, as_json=as_json)
        else:
            _roll_back(bundle, golden, state, as_json=as_json)
        return
    if good is None:
        what = "--bad alone sets no limit: " if bad is not None else ""
        raise ConfigError(f"{what}name a folder of good parts with --good")
    if diagram is not None and bad is None:
        raise ConfigError("--diagram needs bad parts too: name their folder with --bad")
    from adcopilot_edge.calibration.recalibration import recalibrate
    from adcopilot_edge.calibration.verdicts import MAX_REVIEW, VerdictRecipe
    from adcopilot_edge.calibration.verdicts import calibrate as calibrate_verdicts
    from adcopilot_edge.runtime.images import open_image
    from adcopilot_edge.runtime.ranges_state import require_static
    from adcopilot_edge.runtime.ranges_store import RANGES, state_file, write_ranges
    from adcopilot_edge.runtime.verdict_store import VERDICTS, state_path

    recipe = VerdictRecipe(
        max_overkill=max_overkill,
        max_review=max(MAX_REVIEW, max_overkill) if max_review is None else max_review,
        confidence=confidence,
        tile=tile,
        max_asked=read_max_asked(is_on=cascade, max_asked=max_asked),
    )
    inspector = _open(bundle, provider, threads)
    opened = inspector.engine.bundle
    if ranges:
        require_static(opened.manifest)
    reference = inspector.golden(open_image(golden))
    path = state or state_path(opened, reference.image_sha256)
    if not dry_run:
        VERDICTS.check_writable(path)  # before an hour of inspections
        if ranges:
            RANGES.check_writable(state_file(opened))
    measured = None
    with StepProgress() as progress:
        if ranges:
            measured = recalibrate(
                inspector,
                reference.image,
                good,
                bad,
                recipe,
                num_threads=inspector.engine.threads.settings,
                on_step=progress,
            )
            done = measured.verdicts
        else:
            done = calibrate_verdicts(inspector, reference, good, bad, recipe, on_step=progress)
    if not dry_run:
        # The ranges first: after a crash between the two, the verdicts that were there are void,
        # which every inspection says, and --ranges --roll-back goes back to them.
        if measured is not None:
            print(f"wrote {write_ranges(opened, measured.ranges)}", file=sys.stderr)
        VERDICTS.write(path, done.state)
        print(f"wrote {path}", file=sys.stderr)
    if diagram is not None:
        _draw(done, diagram)
    record: dict[str, Any] = {
        **done.state.to_json(),
        "repeated_pictures": done.num_repeated,
        "stored": None if dry_run else str(path),
    }
    if measured is not None:
        record["ranges_state"] = measured.ranges.to_json() | {"gate": measured.report.to_json()}
    if as_json:
        print_json(record)
    else:
        if measured is not None:
            print_ranges(measured)
        _print_state(done.state, num_repeated=done.num_repeated)


def _open(bundle: Path, provider: str, threads: int | Path | None) -> Inspector:
    """An inspector by the ranges in use, and by no verdict state."""
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.runtime.engine import open_engine
    from adcopilot_edge.runtime.inspector import Inspector
    from adcopilot_edge.runtime.ranges_store import read_ranges

    opened = open_bundle(bundle)
    in_use = read_ranges(opened)
    return Inspector(open_engine(opened, provider=provider, num_threads=threads, ranges=in_use))


def _roll_back(bundle: Path, golden: Path, state: Path | None, *, as_json: bool) -> None:
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.runtime.golden import pixel_hash
    from adcopilot_edge.runtime.images import open_image
    from adcopilot_edge.runtime.ranges_store import read_ranges
    from adcopilot_edge.runtime.verdict_store import roll_back, state_path

    opened = open_bundle(bundle, verify=False)
    pixels = pixel_hash(open_image(golden))
    path = state or state_path(opened, pixels)
    ranges = read_ranges(opened)
    back = roll_back(
        path,
        bundle=opened.id,
        golden_sha256=pixels,
        ranges=None if ranges is None else ranges.id,
    )
    print(f"wrote {path}", file=sys.stderr)
    if as_json:
        print_json({**back.to_json(), "stored": str(path)})
    else:
        _print_state(back)


def _draw(calibration: Calibration, path: Path) -> None:
    """Draw the reliability diagram of a calibration with bad parts."""
    from adcopilot_edge.calibration.reliability import draw_reliability
    from adcopilot_edge.runtime.overlay import save_image

    state, fit = calibration.state, calibration.fit
    assert state.bad is not None
    assert fit is not None
    title = (
        f"Bundle {state.bundle}, golden image {state.golden_sha256[:16]}: "
        f"{state.good.num} good and {state.bad.num} bad parts"
    )
    save_image(draw_reliability(fit.before, fit.after, title), path)
    print(f"wrote {path}", file=sys.stderr)


def _print_state(state: VerdictState, *, num_repeated: int = 0) -> None:
    good, bad, rule = state.good, state.bad, state.rule
    sure = f"{state.confidence:g} confidence"
    print_fact("state", f"{state.id}, of {state.created_at:%Y-%m-%d %H:%M} UTC")
    print_fact("golden", state.golden_sha256[:16])
    repeated = f", {num_repeated} repeated pictures left out" if num_repeated else ""
    print_fact("good parts", f"{good.num}{repeated}")
    print_fact(
        "anomaly",
        f"score above {rule.calibrate(good.anomaly_above):.4g}\n"
        f"of good parts at most {good.max_overkill:g} on average over calibrations, "
        f"{good.overkill_bound:.4f} for this one with {sure}",
    )
    print_fact(
        "normal",
        f"score up to {rule.calibrate(good.normal_up_to):.4g}, uncertain between\n"
        f"of good parts not normal: at most {good.max_review:g} on average over calibrations, "
        f"{good.review_bound:.4f} for this one with {sure}",
    )
    if bad is None:
        print_fact("escapes", "no bound without bad parts")
    else:
        print_fact("bad parts", str(bad.num))
        print_fact(
            "escapes",
            f"{bad.escapes} called normal, so at most {bad.escape_bound:.4f} with {sure}\n"
            f"{bad.not_rejected} not called anomalies, so at most "
            f"{bad.not_rejected_bound:.4f} with {sure}",
        )
        fitted = "none fits" if state.temperature is None else f"{state.temperature:.4g}"
        print_fact(
            "score",
            f"temperature {fitted}, expected calibration error {bad.ece_before:.4f} before, "
            f"{bad.ece_after:.4f} after, on the same parts",
        )
    print_cascade(state)
    print_fact("holds for", "parts exchangeable with these: same product, camera, light, batches")
