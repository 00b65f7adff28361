"""Hostile inputs for a daemon: pictures that were tampered with, and requests that are none."""

from __future__ import annotations

import io
import random
import socket
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from PIL import Image

from adcopilot_edge.errors import ConfigError, EdgeError

_SIDE = 224  # as the golden, so that what can be read is inspected
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")


class HostileImages:
    """Endless pictures that were real once. Equal seeds make equal ones."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        rows, columns = np.mgrid[0:_SIDE, 0:_SIDE]
        grey = ((rows + columns * seed) // 2 % 256).astype(np.uint8)
        self._real: list[bytes] = []
        for form in _FORMATS:
            for pixels in (grey, np.stack([grey, grey.T, 255 - grey], axis=-1)):
                stream = io.BytesIO()
                Image.fromarray(pixels).save(stream, form)
                self._real.append(stream.getvalue())

    def next(self) -> bytes:
        """The next one; now and then a real one."""
        image = bytearray(self._rng.choice(self._real))
        kinds: tuple[Callable[[bytearray], bytes], ...] = (
            self._flipped,
            self._cut,
            self._spliced,
            self._grown,
            self._with_large_numbers,
            self._bomb,
            bytes,
        )
        return self._rng.choices(kinds, (8, 4, 3, 2, 6, 1, 1))[0](image)

    def _flipped(self, image: bytearray) -> bytes:
        for _ in range(self._rng.choice((1, 3, 20))):
            image[self._rng.randrange(len(image))] = self._rng.randrange(256)
        return bytes(image)

    def _cut(self, image: bytearray) -> bytes:
        return bytes(image[: self._rng.randrange(len(image))])

    def _spliced(self, image: bytearray) -> bytes:
        other = self._rng.choice(self._real)
        return bytes(image[: self._rng.randrange(len(image))]) + other[len(other) // 2 :]

    def _grown(self, image: bytearray) -> bytes:
        return bytes(image) + self._rng.randbytes(self._rng.choice((1, 5000, 100_000)))

    def _with_large_numbers(self, image: bytearray) -> bytes:
        at = self._rng.randrange(min(200, len(image) - 4))
        number = self._rng.choice((0, 0x7FFFFFFF, 0xFFFFFFFF, 65535, 100_000))
        image[at : at + 4] = struct.pack(self._rng.choice("<>") + "I", number)
        return bytes(image)

    def _bomb(self, image: bytearray) -> bytes:
        """A small PNG that says it is enormous, with right checksums."""
        side = self._rng.choice((30_000, 100_000, 0x7FFFFFFF))
        chunks = (
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(1 << 20))),
            (b"IEND", b""),
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )


def raw_requests(rng: random.Random) -> bytes:
    """What comes over a socket and is no good request: halves, wrong lengths, wrong words."""
    start = b"POST /v1/inspect HTTP/1.1\r\nHost: x\r\n"
    kind = b"Content-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    choices = (
        start,
        start + kind + b"Content-Length: 1000\r\n\r\n" + part,
        start + kind + b"Content-Length: 3\r\n\r\n" + part + b"data\r\n--b--\r\n",
        start + kind + b"Content-Length: -5\r\n\r\n",
        start + kind + b"Content-Length: 99999999999999999999\r\n\r\nx",
        start + kind + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nabc\r\n0\r\n\r\n",
        start + kind + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        start + b"Content-Type: multipart/form-data\r\nContent-Length: 0\r\n\r\n",
        start + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        start + kind + b"Content-Length: 8\r\n\r\n--b--\r\n\r",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /v1/inspect HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the start of TLS
        rng.randbytes(rng.randrange(1, 2000)),
    )
    return rng.choice(choices)


def send_raw(address: tuple[str, int], content: bytes, rng: random.Random) -> bytes:
    """Send bytes, at once or slowly, and hang up; the start of the answer, if one came."""
    answer = b""
    with suppress(OSError), socket.create_connection(address, timeout=5) as talk:
        if rng.random() < 0.2:
            for at in range(0, min(len(content), 40), 8):
                talk.sendall(content[at : at + 8])
                time.sleep(0.005)
        else:
            talk.sendall(content)
        talk.settimeout(0.05)
        answer = talk.recv(4096)
    return answer


def toml_survives(content: str, read: Callable[[str], object], rng: random.Random) -> bool:
    """Whether a tampered station file is read, or refused with words of ours."""
    text = list(content)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(text))
        text[at] = rng.choice(('"', "[", "]", "=", "\n", "\0", "9", "-", "x", "", "é", "1e999"))
    try:
        read("".join(text))
    except EdgeError as err:
        return isinstance(err, ConfigError)
    return True
