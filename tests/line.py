"""What tests of ``calibrate`` share: pictures in folders, inspections, errors as JSON."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def noisy_line(folder, image_pair, rng, *, num_good, step, num_bad):
    """A golden image, good parts with noise of 1, 1 + step ... grey levels, and bad ones."""
    golden, test = image_pair
    save(golden, folder / "golden.png")
    for index in range(num_good):
        noise = rng.normal(0, 1 + step * index, golden.shape)
        part = np.clip(golden + noise, 0, 255).astype(np.uint8)
        save(part, folder / "good" / f"{index:02}.png")
    for index in range(num_bad):
        part = test.copy()
        part[0, 0] = index
        save(part, folder / "bad" / f"{index}.png")
    return folder


def assert_fails(call, words, *, code, kind, message):
    got, out, err = call(*words, "--json")
    error = json.loads(out)["error"]
    assert (got, error["kind"]) == (code, kind)
    assert message in error["message"]
    assert err.endswith(f"error: {error['message']}\n")


def inspect(call, bundle, golden, part, *options):
    words = ["inspect", golden, part, "--bundle", bundle, "--threads", 1, "--json", *options]
    code, out, _ = call(*words)
    record = json.loads(out)
    return code, record.get("error", record)
