"""Build the engines of bundles, and print a Markdown table of what they took.

    python tests/bench_engines.py nano-fp16 nano-int8 3b-fp16 3b-int8
    python tests/bench_engines.py bundle --capability 8.6 8.9 --workspace 2G
    python tests/bench_engines.py bundle --backend tensorrt

Bundles are made by ``adcopilot-edge export --target tensorrt``, those of a released shape from a
checkpoint of ``tests/full_shape.py``. The tower of 3B and 7B is the same but for the last
projection, which is as wide as the language model. Each engine is built in a process of its own, so
that the peak of its memory is its own; an engine that is there already is replaced.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.runtime.doctor import examine_machine
from adcopilot_edge.runtime.engines.api import load_api, parse_capabilities
from adcopilot_edge.runtime.engines.build import BuildOptions, build_engine, plan_builds
from adcopilot_edge.runtime.engines.record import ENGINE_GRAPHS
from adcopilot_edge.runtime.memory import parse_bytes

HEAD = ("bundle", "graph", "image", "precision", "compute capability", "s", "MB", "peak GB")


def main() -> None:
    options = parse_options()
    if options.graph:
        print(json.dumps(build_one(options)))
        return
    rows = [
        run_one(options, bundle, graph)
        for bundle in options.bundles
        for graph in ENGINE_GRAPHS
        if graph in open_bundle(bundle).manifest.graphs
    ]
    machine = examine_machine().machine
    version = load_api(options.backend).version
    print(f"{options.backend} {version}, {machine['cpu']}, {machine['cores']} cores\n")
    for cells in (HEAD, ["---"] * len(HEAD), *rows):
        print(f"| {' | '.join(cells)} |")


def run_one(options: argparse.Namespace, bundle: Path, graph: str) -> list[str]:
    """Build one engine in a new process; returns its row."""
    words = [sys.executable, __file__, str(bundle), "--graph", graph, "--backend", options.backend]
    words += ["--capability", *options.capability]
    if options.workspace is not None:
        words += ["--workspace", options.workspace]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    row: list[str] = json.loads(done.stdout)
    return row


def build_one(options: argparse.Namespace) -> list[str]:
    """Build one engine in this process; returns its row."""
    (path,) = options.bundles
    bundle, api = open_bundle(path, verify=False), load_api(options.backend)
    how = BuildOptions(
        capabilities=parse_capabilities(options.capability) if api.names_targets else (),
        workspace_bytes=None if options.workspace is None else parse_bytes(options.workspace),
    )
    (plan,) = [plan for plan in plan_builds(bundle, api, how) if plan.graph == options.graph]
    record = build_engine(bundle, plan, api, how)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    model = bundle.manifest.model
    return [
        path.name,
        record.graph,
        f"{model.image_height} x {model.image_width}",
        record.precision,
        ", ".join(record.compute_capabilities),
        f"{record.build_seconds:.1f}",
        f"{record.size_bytes / 1e6:.1f}",
        f"{peak_bytes / 1e9:.2f}",
    ]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the builds of engines.")
    parser.add_argument("bundles", nargs="+", type=Path, help="exported with --target tensorrt")
    parser.add_argument("--backend", default="tensorrt-rtx", help="default: %(default)s")
    parser.add_argument("--capability", nargs="+", default=["8.6"], help="default: 8.6")
    parser.add_argument("--workspace", help="scratch memory of kernels, as 2G")
    parser.add_argument("--graph", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
