"""How the cost of a verdict grows: with parts, with golden images, with the size of the image.

    python tests/bench_growth.py nano-224 nano-448 nano-896

Bundles of one checkpoint at several sizes, first the one that parts and goldens are counted with.
Every figure is the median of rounds in which all cases run in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from adcopilot_edge import Inspector
from adcopilot_edge.runtime.golden_set import GoldenSet
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import LabelledPair

PARTS, GOLDENS = (1, 10, 100), (1, 2, 4, 8)


def main() -> None:
    options = parse_options()
    pair = generate_pair(0, size=448).to_labelled()
    inspectors = [Inspector.open(path, num_threads=options.threads) for path in options.bundles]
    first = inspectors[0]
    golden = first.golden(pair.golden)
    goldens = [
        first.golden(generate_pair(seed, size=448).to_labelled().golden)
        for seed in range(max(options.goldens))
    ]

    def several(count: int) -> Callable[[], object]:
        chosen = GoldenSet(tuple(goldens[:count]))
        return lambda: first.inspect(chosen, pair.test)

    def parts(count: int) -> Callable[[], object]:
        return lambda: [first.inspect(golden, pair.test) for _ in range(count)]

    report("parts", {n: parts(n) for n in options.parts}, options.rounds, per=options.parts)
    report("golden images, the nearest", {n: several(n) for n in options.goldens}, options.rounds)
    sizes = {one.engine.bundle.manifest.model.num_merged: one for one in inspectors}
    report(
        "image tokens",
        {tokens: verdict(one, pair) for tokens, one in sorted(sizes.items())},
        options.rounds,
        per=sorted(sizes),
    )


def verdict(inspector: Inspector, pair: LabelledPair) -> Callable[[], object]:
    """A verdict with the golden known."""
    golden = inspector.golden(pair.golden)
    return lambda: inspector.inspect(golden, pair.test)


def report(
    name: str,
    cases: Mapping[int, Callable[[], object]],
    rounds: int,
    *,
    per: tuple[int, ...] | list[int] = (),
) -> None:
    """Print the median milliseconds of each case; per: also divided by this."""
    times: dict[int, list[float]] = {count: [] for count in cases}
    for turn in range(rounds + 1):
        for count, run in cases.items():
            start = time.perf_counter()
            run()
            if turn:
                times[count].append(1000 * (time.perf_counter() - start))
    print(name)
    for count, found in times.items():
        share = f"{median(found) / count:>12.3f} ms each" if per else ""
        print(f"{count:>8}{median(found):>12.2f} ms{share}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--parts", type=int, nargs="+", default=PARTS)
    parser.add_argument("--goldens", type=int, nargs="+", default=GOLDENS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
