"""What tests of golden packs share: inspectors, other manifests, damage of every kind."""

from __future__ import annotations

import os

from adcopilot_edge.bundle import open_bundle, write_manifest
from adcopilot_edge.runtime.inspector import Inspector


def open_inspector(bundle, packs=None):
    return Inspector.open(bundle, num_threads=1, packs=packs)


def without_times(inspection):
    record = inspection.to_json()
    del record["timings_ms"], record["golden_cached"]
    return record


def change_manifest(bundle, change):
    manifest = open_bundle(bundle, verify=False).manifest
    write_manifest(bundle, change(manifest))


def with_prompt(**changes):
    return lambda it: it.model_copy(update={"prompt": it.prompt.model_copy(update=changes)})


def with_preprocessing(**changes):
    return lambda it: it.model_copy(
        update={"preprocessing": it.preprocessing.model_copy(update=changes)}
    )


GOLDEN_TEXT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|> is fine. "


def flip(place):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[place(len(content))] ^= 1
        path.write_bytes(content)

    return damage


DAMAGES = {
    "cut": lambda path: os.truncate(path, path.stat().st_size - 100),
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "length": flip(lambda _: 0),
    "header": flip(lambda _: 200),
    "first tensor": flip(lambda size: size // 3),
    "middle": flip(lambda size: size // 2),
    "last byte": flip(lambda size: size - 1),
}


def unwritable(bundle):
    """Make it impossible to write packs, for root too: a file lies where the folder would."""
    (bundle / "goldens").write_bytes(b"")
