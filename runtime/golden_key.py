"""The key of a golden pack: a hash over all that the numbers in it depend on, and nothing else.

Not the name of the golden's file, and nothing behind the reuse boundary: a bundle whose questions
or threshold change keeps its packs.
"""

from __future__ import annotations

import hashlib
import json
import platform
from typing import Any

import adcopilot_edge
from adcopilot_edge.bundle import Bundle
from adcopilot_edge.runtime.engines.api import BACKENDS
from adcopilot_edge.runtime.engines.record import FOLDER as ENGINES
from adcopilot_edge.runtime.machine import cpu_model
from adcopilot_edge.runtime.ort import load_onnxruntime

# Raised when what a pack holds, or how it is written, changes.
PACK_VERSION = 1


def golden_key(bundle: Bundle, *, golden_sha256: str, provider: str, variant: str = "") -> str:
    """The key of the pack of one golden image, 64 hex digits.

    Args:
        bundle: What reads the image.
        golden_sha256: ``pixel_hash`` of the decoded image.
        provider: Where the bundle runs; another one computes other last digits.
        variant: What the engine's id says beside the bundle's: the numbers may differ by it.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    content = {
        "pack": PACK_VERSION,
        "golden": golden_sha256,
        "variant": variant,
        **_of_bundle(bundle),
        **_of_machine(bundle, provider),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _of_bundle(bundle: Bundle) -> dict[str, Any]:
    """Graphs, tables, shapes, preprocessing and the prompt up to the reuse boundary."""
    manifest = bundle.manifest
    graphs = manifest.graphs.values()
    aside = {twin for graph in graphs for twin in (graph.probes, graph.ranges)}
    aside.add(manifest.parity.inputs if manifest.parity else None)
    return {
        "files": {
            name: entry.sha256 for name, entry in manifest.files.items() if name not in aside
        },
        "model": manifest.model.model_dump(mode="json"),
        "preprocessing": manifest.preprocessing.model_dump(mode="json"),
        "prompt": manifest.prompt.golden,
        "image_token": manifest.tokens.image,
    }


def _of_machine(bundle: Bundle, provider: str) -> dict[str, Any]:
    """What computes: releases, processor, and the records of the engines where there are some."""
    records = []
    if provider in BACKENDS:
        paths = (bundle.path / ENGINES).glob(f"{provider}-*/*.engine.json")
        records = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return {
        "package": adcopilot_edge.__version__,
        "onnxruntime": load_onnxruntime().__version__,
        "machine": f"{platform.machine()} {cpu_model()}",
        "provider": provider,
        "engines": records,
    }
