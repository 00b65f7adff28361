"""What is refused by the start of its file: bombs, archives, and files that are too large."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.errors import ImageDecodeError, ImageTooLargeError
from adcopilot_edge.runtime.daemon import worker_process
from adcopilot_edge.runtime.daemon.messages import Job, ProductSetup, WorkerSetup
from adcopilot_edge.runtime.image_header import check_header

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF")


def picture(kind="PNG", size=(20, 10)):
    file = io.BytesIO()
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(file, kind)
    return file.getvalue()


def chunk(name, content):
    crc = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def png_bomb(width, height, rows=b""):
    """A PNG that says to have so many pixels, in a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def text_bomb():
    """A small PNG with a text that grows to a gigabyte."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    plain = picture()
    at = plain.index(b"IDAT") - 4
    return plain[:at] + chunk(b"zTXt", b"Comment\0\0" + packed) + plain[at:]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_passes_up_to_the_limit(kind):
    content = picture(kind)
    check_header(content, max_pixels=200, max_bytes=len(content))
    with pytest.raises(ImageTooLargeError, match="20x10 = 200"):
        check_header(content, max_pixels=199)
    with pytest.raises(ImageTooLargeError, match="bytes"):
        check_header(content, max_bytes=len(content) - 1)


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_a_bomb_is_refused_before_it_grows(size):
    bomb = png_bomb(*size, rows=bytes(1 << 16))
    tracemalloc.start()
    try:
        with pytest.raises((ImageTooLargeError, ImageDecodeError)):
            check_header(bomb, max_pixels=80_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_text_that_grows_is_not_unpacked():
    tracemalloc.start()
    try:
        bomb = text_bomb()
        tracemalloc.reset_peak()
        with suppress(ImageDecodeError):
            check_header(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def archives():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", picture())
    yield packed.getvalue()
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = len(picture())
        tar.addfile(info, io.BytesIO(picture()))
    yield tape.getvalue()
    yield gzip.compress(picture())


@pytest.mark.parametrize("content", [*archives(), b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1.7\n"])
def test_what_is_no_picture_is_refused(content):
    with pytest.raises(ImageDecodeError):
        check_header(content)


@pytest.mark.parametrize("content", [png_bomb(30_000, 30_000), b"PK\x03\x04" + bytes(100)])
def test_the_worker_ends_such_a_part_as_unusable_and_decodes_nothing(content, tmp_path):
    class Product:
        setup = ProductSetup(goldens=())

        def inspect(self, *_, **__):
            raise AssertionError("it was decoded")

    setup = WorkerSetup(
        bundle=None, provider="cpu", threads=1, packs=tmp_path, products={}, max_pixels=10**6
    )
    worker = worker_process._Worker(None, None, {"cap": Product()}, setup)
    done = worker._do(
        Job(number=7, image=content, product="cap", tasks=None, ask=None, takt_ms=None)
    )
    assert (done.number, done.is_image_fault, done.inspection) == (7, True, None)
