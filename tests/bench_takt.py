"""Time a whole verdict beside the upstream way and beside our own runtime without what it keeps.

The upstream way is transformers: both images, one generated token, as AD-Copilot's own script does
it. Ours reads the verdict from the prefill of the test image, the golden known. Every round runs
all in turns; figures are medians of rounds and of the rounds' ratios.

    python tests/bench_takt.py checkpoint bundle --dtype float32 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch

from adcopilot_edge import Inspector
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import ImageArray

OURS, UNCACHED = "ours", "ours, golden not kept"


def main() -> None:
    options = parse_options()
    inspector = Inspector.open(options.bundle, num_threads=options.threads)
    manifest = inspector.engine.bundle.manifest
    model = manifest.model
    size = max(model.image_height, model.image_width)
    pair = generate_pair(0, size=min(size, 448)).to_labelled()
    golden, test = (inspector.engine.preprocessor.resize(it) for it in (pair.golden, pair.test))
    known = inspector.golden(golden)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: inspector.inspect(known, test),
        UNCACHED: lambda: inspector.inspect(inspector.golden(golden, cache=False), test),
    }
    if options.dtype:
        name = f"transformers, {options.dtype}"
        runs[name] = upstream(options.checkpoint, options.dtype, manifest, golden, test)
    seconds = time_in_turns(runs, options.rounds)
    tokens = 2 * (model.num_merged + model.compare_token_size)
    print(
        f"{options.bundle.name}: {manifest.precision}, {model.image_height}x{model.image_width}, "
    )
    print(f"{tokens} image and comparison tokens, {options.rounds} rounds")
    rows = {
        name: {
            "median_s": round(median(times), 4),
            "times_ours": round(
                median(one / ours for one, ours in zip(times, seconds[OURS], strict=True)), 2
            ),
        }
        for name, times in seconds.items()
    }
    for name, row in rows.items():
        print(f"{name:<28}{row['median_s']:>10.4f} s{row['times_ours']:>9.2f} x ours")
    print(json.dumps({"precision": manifest.precision, "rows": rows}))


def time_in_turns(
    runs: Mapping[str, Callable[[], object]], rounds: int, *, pause_s: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each run in each round, after one round to warm up.

    pause_s: before each run, so that the threads of the one before have gone to sleep.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        names = list(runs)[:: 1 if turn % 2 else -1]
        for name in names:
            time.sleep(pause_s)
            start = time.perf_counter()
            runs[name]()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def upstream(
    checkpoint: Path, dtype: str, manifest: Manifest, golden: ImageArray, test: ImageArray
) -> Callable[[], object]:
    """Transformers on the same weights and images: from pixels to one generated token."""
    model = ADCopilotForConditionalGeneration.from_pretrained(
        checkpoint, dtype=getattr(torch, dtype)
    ).eval()
    processor = ADCopilotProcessor.from_pretrained(checkpoint)
    prompt = manifest.prompt
    text = prompt.golden + prompt.test + prompt.ask_task("verdict")

    @torch.inference_mode()
    def run() -> object:
        inputs = processor(images=[golden, test], text=text, return_tensors="pt", do_resize=False)
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        return model.generate(**inputs, max_new_tokens=1, do_sample=False)

    ids = np.asarray(run())[0]
    expected = 2 * (manifest.model.num_merged + manifest.model.compare_token_size)
    placed = int((ids == manifest.tokens.image).sum())
    if placed != expected:
        raise SystemExit(f"the upstream prompt holds {placed} image tokens, ours {expected}")
    return run


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="the peer; without: none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
