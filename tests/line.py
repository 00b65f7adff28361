"""What tests of ``calibrate`` share: pictures in folders, inspections, errors as JSON."""

from __future__ import annotations

import json

from PIL import Image


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


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
