"""Time golden packs: written, mapped and checked, and put in the place of another product's.

    python tests/bench_packs.py --shape 7b
    python tests/bench_packs.py --bundle adcopilot_edge/assets/nano

``--shape`` makes packs of a released model's shape with noise for values, on a 504-pixel golden
image; the file's pages are in memory, as after a first use, or dropped before (``cold``).
``--bundle`` times a change between two products of a bundle: their packs are in memory, on disk
alone, or there are none. ``inspection`` is the whole call with the new product's golden.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.positions import ImageSpan, TextSpan, mrope_positions, rotary_tables
from adcopilot_edge.runtime.cache import KVCache, KVPrefix
from adcopilot_edge.runtime.dialogue import GoldenPrefix
from adcopilot_edge.runtime.golden import GoldenReference, pixel_hash
from adcopilot_edge.runtime.golden_pack import PackOrigin, read_pack, write_pack
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import FloatArray

# By step: wall and CPU milliseconds of each trial; on a busy machine only the CPU's say much.
Times = dict[str, list[tuple[float, float]]]

# Width, layers, key-value heads of Qwen2.5-VL's language models.
SHAPES = {"3b": (2048, 36, 2), "7b": (3584, 28, 4)}
HEAD_DIM, SIDE, NUM_COMPARISON = 128, 504, 100
NUM_TEXT = 176  # so that the prefix has 600 tokens


def main() -> None:
    options = parse_options()
    rows = (
        time_product_change(options.bundle, options.trials)
        if options.shape is None
        else time_shape(options.shape, options.dtype, options.trials)
    )
    print(f"{'step':<24}{'median ms':>12}{'min ms':>12}{'CPU ms':>12}{'min CPU ms':>12}")
    for step, times in rows.items():
        wall, cpu = zip(*times, strict=True)
        figures = (median(wall), min(wall), median(cpu), min(cpu))
        print(f"{step:<24}" + "".join(f"{value:>12.2f}" for value in figures))
    report = {
        "shape": options.shape,
        "dtype": options.dtype,
        "bundle": str(options.bundle),
        "trials": options.trials,
        "min_ms": {step: min(times)[0] for step, times in rows.items()},
        "median_cpu_ms": {step: median(cpu for _, cpu in times) for step, times in rows.items()},
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps(report))


def shaped_reference(shape: str, dtype: str) -> GoldenReference:
    """A reference of a released shape: 600 tokens before the boundary, values of noise."""
    width, num_layers, num_kv_heads = SHAPES[shape]
    rng = np.random.default_rng(0)

    def noise(*lengths: int) -> FloatArray:
        return rng.random(lengths, dtype=np.float32) - np.float32(0.5)

    rows = SIDE // 28
    spans = (ImageSpan(rows, rows, NUM_COMPARISON), TextSpan(NUM_TEXT))
    positions = mrope_positions(spans, "shared")
    cos, sin = rotary_tables(positions.ids, theta=1e6, sections=(16, 24, 24), head_dim=HEAD_DIM)
    blocks = {
        f"past_{kind}.{layer}": noise(1, num_kv_heads, len(cos), HEAD_DIM).astype(dtype)
        for layer in range(num_layers)
        for kind in ("key", "value")
    }
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return GoldenReference(
        bundle="bench",
        image=image,
        image_sha256=pixel_hash(image),
        features=noise((SIDE // 14) ** 2, 1280),
        tokens=noise(rows**2, width),
        comparison_tokens=noise(NUM_COMPARISON, width),
        prefix=GoldenPrefix(KVPrefix(blocks, cos, sin), positions),
    )


def shaped_cache(shape: str, dtype: str) -> KVCache:
    """The decoder's cache of a released shape, 2048 tokens long."""
    width, num_layers, num_kv_heads = SHAPES[shape]
    model = ModelSpec(
        image_height=SIDE,
        image_width=SIDE,
        patch_size=14,
        temporal_patch_size=2,
        merge_size=2,
        vision_width=1280,
        hidden_size=width,
        vocab_size=152_064,
        num_layers=num_layers,
        num_heads=width // HEAD_DIM,
        num_kv_heads=num_kv_heads,
        head_dim=HEAD_DIM,
        max_sequence_length=2048,
        rope_theta=1e6,
        mrope_section=(16, 24, 24),
        compare_token_size=NUM_COMPARISON,
        compare_position_mode="shared",
        has_anomaly_map=False,
    )
    return KVCache(model, dtype, "cpu")


def time_shape(shape: str, dtype: str, trials: int) -> Times:
    """A pack of a released shape: written, mapped and checked, copied into the decoder's cache."""
    reference, cache = shaped_reference(shape, dtype), shaped_cache(shape, dtype)
    origin = PackOrigin(key="0" * 64, provider="cpu", variant="", name=None)
    rows: Times = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.safetensors"
        load = partial(read_pack, path, key=None, bundle="bench")
        for _ in range(trials):
            timed(rows, "write", partial(write_pack, path, reference, origin))
            drop_pages(path)
            timed(rows, "load, cold", load)
            _, mapped = timed(rows, "load", load)
            timed(rows, "into the cache", partial(cache.load, mapped.prefix.state))
        print(f"{path.stat().st_size / 1e6:.1f} MB, {reference.prefix.state.length} tokens\n")
    return rows


def time_product_change(bundle: Path, trials: int) -> Times:
    """An inspection behind a change of product, by where its golden reference is."""
    rows: Times = {}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "packs"
        inspector = Inspector.open(bundle, packs=copy)
        size = inspector.engine.bundle.manifest.model
        shape = (2, size.image_height, size.image_width, 3)
        goldens = rng.integers(0, 256, shape, dtype=np.uint8)
        for name, golden in zip("ab", goldens, strict=True):
            inspector.add_golden(golden, name)
        inspector.inspect(goldens[0], goldens[0])
        for trial in range(2 * trials):
            name = "ba"[trial % 2]
            (kept,) = timed(rows, "switch, in memory", partial(inspector.product, name))
            timed(rows, "inspection, in memory", partial(inspector.inspect, kept, kept.image))
            fresh = Inspector(inspector.engine, packs=inspector.packs)
            (found,) = timed(rows, "switch, from disk", partial(fresh.product, name))
            timed(rows, "inspection, from disk", partial(fresh.inspect, found, found.image))
            image = goldens["ab".index(name)]
            anew = partial(inspector.golden, image, cache=False)
            timed(rows, "switch, without pack", anew)
        shutil.rmtree(copy)
    return rows


def timed(rows: Times, step: str, run: Callable[[], Any]) -> Any:
    """Run once and add the milliseconds to a step; return what it returned."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    spent = (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000
    rows.setdefault(step, []).append(spent)
    return result


def drop_pages(path: Path) -> None:
    """Ask the system to forget the file's pages, where it can."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time golden packs.")
    parser.add_argument("--shape", choices=SHAPES, help="noise in a released model's shape")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float32")
    parser.add_argument("--bundle", type=Path, default=embedded_bundle())
    parser.add_argument("--trials", type=int, default=10, help="default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
