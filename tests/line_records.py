"""A daemon without a worker, and a journal that the test fills."""

from __future__ import annotations

import hashlib
import io
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image

from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.station_file import StationFile
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.images import open_image

SIZE = (320, 240)  # width and height
BOX = [160.0, 60.0, 240.0, 120.0]


@cache
def picture(seed=0, *, is_bad=False):
    """A part as PNG: a disc, and where it is bad a dark patch in BOX."""
    width, height = SIZE
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - 120) ** 2 + (columns - 160) ** 2 < 100**2
    image = np.where(disc[..., None], (150, 162, 170), (38, 42, 48)).astype(np.int16)
    image += np.random.default_rng(seed).integers(-4, 5, image.shape).astype(np.int16)
    if is_bad:
        x1, y1, x2, y2 = map(int, BOX)
        image[y1:y2, x1:x2] = 20
    encoded = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(encoded, format="PNG")
    return encoded.getvalue()


@contextmanager
def line_daemon(folder, **changes):
    """A daemon that is ready, with the station ``belt`` and the products lid and cap."""
    with _daemon(folder, changes) as made:
        yield made


@contextmanager
def _daemon(folder, changes):
    golden = folder / "golden.png"
    golden.write_bytes(picture())
    content = {
        "daemon": {"state": folder / "state"},
        "images": {"keep": "defects"},
        "stations": [{"name": "belt", "product": "lid", "takt_ms": 500}],
        "products": [{"name": "lid", "goldens": [golden]}, {"name": "cap", "goldens": [golden]}],
    }
    daemon = StationDaemon(StationFile.model_validate({**content, **changes}))
    daemon.life.enter("ready")
    try:
        yield daemon
    finally:
        daemon.journal.close()
        daemon.folder.close()


def add_part(daemon, verdict="normal", *, image=None, anomaly_map=None, listen=True, **changes):
    """A part with its final record, as the line would write it."""
    image = picture(is_bad=verdict == "anomaly") if image is None else image
    now = changes.pop("received_at", time.time())
    part = Part(
        image=image,
        station=changes.pop("station", "belt"),
        product=changes.pop("product", "lid"),
        source="http",
        reference=changes.pop("reference", None),
    )
    sha256 = hashlib.sha256(image).hexdigest()
    number = daemon.journal.next_id()
    daemon.journal.accept(number, part, now, sha256)
    golden = pixel_hash(open_image(daemon.settings.products[0].goldens[0]))[:16]
    record = FinalRecord(
        id=number,
        station=part.station,
        product=part.product,
        source=part.source,
        reference=part.reference,
        received_at=now,
        finished_at=now + changes.pop("took_s", 0.1),
        verdict=verdict,
        image_sha256=sha256,
        **{
            "score": {"normal": 0.1, "anomaly": 0.9, "uncertain": None}[verdict],
            "threshold": 0.5,
            "golden_sha256": golden,
            "defects": ({"label": "scratch", "bbox_2d": BOX, "source": "map"},)
            if verdict == "anomaly"
            else (),
            "timings_ms": {"part": 100.0},
            "bundle": "nano",
            "engine": "cpu fp32",
            **changes,
        },
    )
    record = replace(record, image_file=daemon.images.keep(record, image, anomaly_map))
    daemon.journal.finish(record).result()
    if listen:
        daemon._on_final(record, part)
    return record


def defect_map():
    """A map of 12 rows and 16 columns, high in BOX."""
    heat = np.full((12, 16), 0.05, np.float32)
    heat[3:6, 8:12] = 0.95
    return heat
