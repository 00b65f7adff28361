"""``evaluate``: how well a bundle inspects labelled pairs, or does in a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adcopilot_edge.commands.benchmark import Run
from adcopilot_edge.commands.evaluate_bundles import PairChoice, run_bundles
from adcopilot_edge.commands.evaluate_mmad import MmadSetting, run_mmad
from adcopilot_edge.commands.evaluate_pairs import run_bbox, run_pairs
from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.errors import ConfigError


def evaluate(
    source: Annotated[
        Literal["deeppcb", "synthetic", "mmad", "mmad-bbox", "pairs"],
        typer.Argument(help="A benchmark, or where the pairs come from."),
    ],
    data: Annotated[
        Path | None, typer.Argument(help="The folder or list, for sources that have one.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to evaluate; by default the one in this package.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="mmad: ask this folder, hub id or embedded by torch instead (extra: export)."
        ),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(help="With --checkpoint: pixels as for export, 224 by default."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="A reference bundle: print verdict flips and lost box overlap."),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            help="How many pairs or images; 400 of deeppcb and synthetic, else all.", min=2
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which pairs.", min=0)] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="A board of deeppcb, or a surface of synthetic; several may be. No training draws "
            "the surfaces 'blister pack', 'ceramic tile' and 'instrument dial'."
        ),
    ] = None,
    text: Annotated[
        bool, typer.Option("--text/--no-text", help="Also ask for an answer in words (slower).")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(help="Benchmarks: folder of answers and report; default runs/SOURCE-BUNDLE."),
    ] = None,
    shots: Annotated[
        int | None, typer.Option(help="mmad: template images, 0 or 1; 1 by default.", min=0, max=1)
    ] = None,
    similar_template: Annotated[
        bool, typer.Option("--similar-template", help="mmad, mmad-bbox: the most similar template.")
    ] = False,
    prompt: Annotated[
        Literal["mmad", "bundle"] | None,
        typer.Option(
            help="mmad: the words of MMAD's script (default), or those the bundle was trained with."
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="Benchmarks: limit of an answer in words; 128 by default.", min=1),
    ] = None,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Evaluate a bundle on labelled pairs or on a benchmark.

    deeppcb and synthetic: verdicts, escapes, overkill and BBox-Mask IoU beside the plain image
    difference; boxes from the anomaly map and from the model's words are reported apart, and so are
    the types it names. With --against two bundles are compared pair by pair.

    mmad: the multiple-choice questions of the MMAD benchmark, answered by the logits of the letters
    and by words. Answers are kept as they come, so a run that was stopped goes on when it is
    started again. With --checkpoint torch is asked instead of a bundle, slowly.

    mmad-bbox: boxes on MMAD's images, or on a list of pairs, by the BBox-Mask IoU.

    pairs: your own pairs, as folders golden/, good/ and bad/, or as a list with one JSON object a
    line: golden, test, boxes or mask, label, category. Also by category and type of defect, with
    the worst cases as a picture.

    Examples: adcopilot-edge evaluate deeppcb DeepPCB/ --bundle nano-int4/ --against nano-fp32/;
    adcopilot-edge evaluate mmad MMAD/ --bundle bundle/ --out runs/mmad;
    adcopilot-edge evaluate pairs line-images/pairs.jsonl --no-text
    """
    if source != "mmad":
        _refuse(source, shots=shots, prompt=prompt, checkpoint=checkpoint)
    if checkpoint is None and image_size is not None:
        raise ConfigError("--image-size goes with --checkpoint; a bundle has its own")
    if checkpoint is not None and bundle is not None:
        raise ConfigError("--bundle and --checkpoint are two models; choose one of them")
    if source not in ("mmad", "mmad-bbox"):
        _refuse(source, similar_template=similar_template or None)
    if source in ("deeppcb", "synthetic"):
        _refuse(source, out=out, max_new_tokens=max_new_tokens)
        if against is not None and against == bundle:
            raise ConfigError("--against is the bundle itself; name another one as reference")
        pairs = pairs or 400
    else:
        _refuse(source, against=against, only=only)
    run = Run(
        bundle=bundle,
        out=out,
        count=pairs,
        seed=seed,
        with_words=text,
        as_json=as_json,
        provider=provider,
        threads=threads,
        max_new_tokens=max_new_tokens or 128,
    )
    if source == "mmad":
        setting = MmadSetting(
            shots=1 if shots is None else shots,
            similar_template=similar_template,
            wording=prompt,
            checkpoint=checkpoint,
            image_size=image_size or "224",
        )
        run_mmad(run, _require_data(source, data), setting)
    elif source == "mmad-bbox":
        run_bbox(run, _require_data(source, data), similar_template=similar_template)
    elif source == "pairs":
        run_pairs(run, _require_data(source, data))
    else:
        if source == "deeppcb":
            _require_data(source, data)
        run_bundles(run, PairChoice(source=source, data=data, only=tuple(only or ())), against)


def _refuse(source: str, **options: object) -> None:
    """Raise ConfigError for options that were given and mean nothing to ``source``."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"evaluate {source} does not take {', '.join(given)}")


def _require_data(source: str, data: Path | None) -> Path:
    if data is None:
        raise ConfigError(f"evaluate {source} needs the data as second argument")
    return data
