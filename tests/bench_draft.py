"""What JPEG decoding at a fraction of the size would save and change: Pillow's draft mode.

Pictures are enlarged to about 12 million pixels without smoothing, get the noise of a sensor, and
are written as JPEG. Each is prepared from all its pixels and from 1/2, 1/4 or 1/8 of them along
each side, scaled by the decoder, golden and test image alike; pixels, verdicts, scores and times
are held against each other. Nothing of the package decodes this way.

    python tests/bench_draft.py data/deeppcb/pairs data/cookie
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from adcopilot_edge import Inspection, Inspector
from adcopilot_edge.runtime.health import View
from adcopilot_edge.runtime.images import open_raster
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.types import ImageArray

PIXELS = 12_000_000
NOISE = 3.0  # standard deviation, of 255 levels
SCALES = (2, 4, 8)


def main() -> None:
    options = parse_options()
    inspector = Inspector.open(options.bundle, num_threads=options.threads)
    sources = {
        "DeepPCB": list(board_paths(options.deeppcb))[: options.parts],
        "cookies": list(cookie_paths(options.cookies))[: options.parts],
    }
    rows = []
    for name, pairs in sources.items():
        goldens = {path: large_jpeg(path) for path in dict.fromkeys(one for one, _ in pairs)}
        found: dict[int, list[dict[str, Any]]] = {scale: [] for scale in SCALES}
        for golden, test in pairs:
            content = large_jpeg(test)
            whole = inspect(inspector, goldens[golden], content, 1)
            for scale in SCALES:
                reduced = inspect(inspector, goldens[golden], content, scale)
                found[scale].append(compare(whole, reduced))
        for scale in SCALES:
            rows.append({"parts": name, "scale": f"1/{scale}", **summary(found[scale])})
            print(*(f"{key} {value}" for key, value in rows[-1].items()), sep=", ", flush=True)
    print(json.dumps({"bundle": inspector.engine.bundle.id, "rows": rows}))


def board_paths(root: Path) -> Iterator[tuple[Path, Path]]:
    """The template and the test image of every board, spread over all of them."""
    paths = sorted(root.glob("*_test.png"))
    for path in paths[:: max(1, len(paths) // 40)]:
        yield path.with_name(path.name.replace("_test", "_temp")), path


def cookie_paths(root: Path) -> Iterator[tuple[Path, Path]]:
    """One whole cookie as the golden, whole and cracked ones in turns."""
    folder = root / "training-images"
    whole = sorted(folder.glob("normal-*.jpg"))
    for good, bad in zip(whole[1:], sorted(folder.glob("anomaly-*.jpg")), strict=False):
        yield from ((whole[0], good), (whole[0], bad))


def large_jpeg(path: Path) -> bytes:
    """A picture of some 12 million pixels, with noise, as a JPEG of quality 92."""
    with Image.open(path) as image:
        factor = round((PIXELS / (image.width * image.height)) ** 0.5)
        large = image.convert("RGB").resize((factor * image.width, factor * image.height), 0)
    pixels = np.asarray(large).astype(np.int16)
    rng = np.random.default_rng(0)
    tile = rng.normal(0, NOISE, (512, pixels.shape[1], 3)).round().astype(np.int16)
    for row in range(0, len(pixels), len(tile)):
        rows = pixels[row : row + len(tile)]
        rows += tile[: len(rows)]
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def prepare(
    content: bytes, scale: int, preprocessor: Preprocessor
) -> tuple[ImageArray, ImageArray, float]:
    """The pixels for the model, the picture as decoded, and the milliseconds of preparing both."""
    start = time.perf_counter()
    if scale == 1:
        raster = open_raster(content)
    else:
        raster = Image.open(io.BytesIO(content))
        raster.draft("RGB", (raster.width // scale, raster.height // scale))
        raster.load()
    View.of(raster)
    pixels = preprocessor.resize(raster)
    return pixels, np.asarray(raster), (time.perf_counter() - start) * 1000


def inspect(
    inspector: Inspector, golden: bytes, test: bytes, scale: int
) -> tuple[ImageArray, Inspection, float]:
    """The pixels that the model gets, the result, and the milliseconds of preparing."""
    preprocessor = inspector.engine.preprocessor
    reference = inspector.golden(prepare(golden, scale, preprocessor)[1])
    pixels, picture, _ = prepare(test, scale, preprocessor)
    again_ms = prepare(test, scale, preprocessor)[2]
    return pixels, inspector.inspect(reference, picture), again_ms


def compare(
    whole: tuple[ImageArray, Inspection, float], reduced: tuple[ImageArray, Inspection, float]
) -> dict[str, Any]:
    """How far one part is off."""
    difference = np.abs(whole[0].astype(np.int16) - reduced[0])
    one, other = whole[1], reduced[1]
    assert one.health is not None
    assert other.health is not None
    return {
        "max": int(difference.max()),
        "mean": float(difference.mean()),
        "equal": float((difference == 0).mean()),
        "score": abs(one.anomaly_score - other.anomaly_score),
        "flip": one.verdict != other.verdict,
        "boxes": len(one.defects) != len(other.defects),
        "sharpness": abs(other.health.sharpness - one.health.sharpness),
        "whole_ms": whole[2],
        "ms": reduced[2],
    }


def summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst and the usual over all parts."""
    return {
        "pictures": len(parts),
        "equal in all pixels": sum(part["max"] == 0 for part in parts),
        "largest level difference": max(part["max"] for part in parts),
        "mean difference": round(float(np.mean([part["mean"] for part in parts])), 3),
        "equal values": round(float(np.mean([part["equal"] for part in parts])), 3),
        "verdict flips": sum(part["flip"] for part in parts),
        "other number of boxes": sum(part["boxes"] for part in parts),
        "largest score change": round(max(part["score"] for part in parts), 4),
        "largest change of sharpness": round(max(part["sharpness"] for part in parts), 4),
        "whole, ms": round(median(part["whole_ms"] for part in parts), 1),
        "times faster": round(median(part["whole_ms"] / part["ms"] for part in parts), 2),
    }


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deeppcb", type=Path)
    parser.add_argument("cookies", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--parts", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
