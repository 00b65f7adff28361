"""Time parts one by one and with the next image prepared ahead, in turns, and compare results.

Parts are real circuit boards of DeepPCB in their own files, and the same boards enlarged to
photographs as large cameras write them. Every round goes through all parts both ways, the order
turning from round to round; the ratio is the median of the rounds' ratios.

    python tests/bench_many.py DeepPCB/pairs --threads 1 2
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from PIL import Image

from adcopilot_edge import Inspection, Inspector
from adcopilot_edge.runtime.images import ImageSource


def main() -> None:
    options = parse_options()
    paths = sorted(options.pairs.glob("*_test.png"))[: options.parts]
    rows = []
    for threads in options.threads:
        inspector = Inspector.open(options.bundle, num_threads=threads)
        for name, size in (("640 px PNG", None), ("12 MP JPEG", (4000, 3000))):
            golden, *tests = (
                to_source(path, size)
                for path in (paths[0].with_name(paths[0].name.replace("_test", "_temp")), *paths)
            )
            row = {"parts": name, "threads": threads}
            rows.append(row | compare(inspector, golden, tests, options.rounds))
            print(*(f"{key} {value}" for key, value in rows[-1].items()), sep=", ", flush=True)
    print(json.dumps({"cores": os.cpu_count(), "rounds": options.rounds, "rows": rows}))


def to_source(path: Path, size: tuple[int, int] | None) -> ImageSource:
    """The file itself, or the bytes of a JPEG of another size."""
    if size is None:
        return path
    stream = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def compare(
    inspector: Inspector, golden: ImageSource, tests: list[ImageSource], rounds: int
) -> dict[str, float]:
    """Parts a second both ways; stops where the results differ."""
    known = inspector.golden(golden)

    def one_by_one() -> list[Inspection | None]:
        return [inspector.inspect(known, test) for test in tests]

    def ahead() -> list[Inspection | None]:
        return [part.inspection for part in inspector.inspect_many(known, tests)]

    ways: dict[str, Callable[[], list[Inspection | None]]] = {"one": one_by_one, "ahead": ahead}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        said = {}
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            found = ways[name]()
            if turn:
                seconds[name].append(time.perf_counter() - start)
            said[name] = [one and (one.verdict, one.anomaly_score, one.defects) for one in found]
        if said["one"] != said["ahead"] or None in said["ahead"]:
            raise SystemExit("the results differ")
    ratios = [one / other for one, other in zip(*seconds.values(), strict=True)]
    return {
        "one by one, parts/s": round(len(tests) / median(seconds["one"]), 2),
        "ahead, parts/s": round(len(tests) / median(seconds["ahead"]), 2),
        "times": round(median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
    }


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    main()
