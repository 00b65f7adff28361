"""Opening images: every pixel format, and every bad input with its own error."""

from __future__ import annotations

import io
import random
import resource
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.errors import (
    AspectMismatchError,
    ImageDecodeError,
    ImageNotFoundError,
    ImageTooLargeError,
    InferenceError,
    InputError,
)
from adcopilot_edge.runtime.images import check_same_aspect, open_image


def noise(height: int = 31, width: int = 47, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=file_format, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of grey pixels whose header is valid and whose pixels are nearly all missing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_files_give_their_pixels(tmp_path, file_format):
    pixels = noise()
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(Image.fromarray(pixels), file_format, **options)
    path = tmp_path / "picture.any"  # the content decides, not the name
    path.write_bytes(data)
    for source in (data, path, str(path), Image.open(path), pixels):
        np.testing.assert_array_equal(open_image(source), pixels)


def test_an_rgb_array_is_not_copied():
    pixels = noise()
    assert open_image(pixels) is pixels
    assert open_image(pixels[:, ::-1]).flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation, file_format):
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:20, :30] = 255  # the corner that the file stores first
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = open_image(encode(Image.fromarray(stored), file_format, exif=exif))
    turned = orientation >= 5
    assert upright.shape == ((60, 40, 3) if turned else (40, 60, 3))
    # EXIF 2.32, tag 0x0112: where row 0 and column 0 of the file belong in the picture.
    bottom, right = orientation in {3, 4, 7, 8}, orientation in {2, 3, 6, 7}
    corner = upright[-1 if bottom else 0, -1 if right else 0]
    opposite = upright[0 if bottom else -1, 0 if right else -1]
    assert corner.min() > 200
    assert opposite.max() < 50


def test_transparency_is_composited_onto_white():
    pixels = np.array([[[0, 0, 0, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], np.uint8)
    expected = [[[255, 255, 255], [10, 20, 30], [127, 127, 127]]]
    assert open_image(pixels).tolist() == expected
    assert open_image(encode(Image.fromarray(pixels), "PNG")).tolist() == expected
    grey_alpha = Image.fromarray(pixels).convert("LA")
    assert open_image(grey_alpha)[0, 0].tolist() == [255, 255, 255]


def test_the_key_colour_of_a_png_is_transparent():
    pixels = np.array([[[9, 9, 9], [1, 2, 3]]], np.uint8)
    data = encode(Image.fromarray(pixels), "PNG", transparency=(9, 9, 9))
    assert open_image(data).tolist() == [[[255, 255, 255], [1, 2, 3]]]


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_other_modes_are_converted_by_pillow(mode):
    image = Image.fromarray(noise()).convert(mode)
    np.testing.assert_array_equal(open_image(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_shades(file_format):
    deep = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    by_hand = b"P5 8 1 65535\n" + deep.astype(">u2").tobytes()  # older Pillows can't write it
    data = by_hand if file_format == "PPM" else encode(Image.fromarray(deep), file_format)
    opened = open_image(data)
    assert opened[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]
    assert (opened == opened[:, :, :1]).all()


def test_float_grey_of_zero_to_one_is_scaled():
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    opened = open_image(encode(Image.fromarray(values), "TIFF"))
    assert opened[0, :, 1].tolist() == [0, 128, 255]


def test_of_several_pages_the_first_counts():
    pages = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    data = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert open_image(data)[0, 0].tolist() == [255, 0, 0]


def text_file() -> bytes:
    return b"name,verdict\npart-001,good\n" * 40


BAD_CONTENT = [
    pytest.param(b"", "empty", id="zero-byte file"),
    pytest.param(text_file(), "no image of a known format", id="text called .png"),
    pytest.param(encode(Image.fromarray(noise()), "PNG")[:1500], "cut short", id="truncated png"),
    pytest.param(encode(Image.fromarray(noise()), "JPEG")[:900], "cut short", id="truncated jpeg"),
    pytest.param(encode(Image.fromarray(noise()), "TIFF")[:900], "cut short", id="truncated tiff"),
    pytest.param(encode(Image.fromarray(noise()), "PNG")[:20], "decode", id="half a header"),
    pytest.param(encode(Image.fromarray(noise()), "EPS"), "no image", id="format not allowed"),
    pytest.param(
        encode(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF"),
        "32-bit grey with values 70000..70000",
        id="32-bit integers",
    ),
    pytest.param(
        encode(Image.fromarray(np.full((2, 2), 7.5, np.float32)), "TIFF"),
        "expected 0..1",
        id="float out of range",
    ),
    pytest.param(
        encode(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"),
        "expected 0..1",
        id="not a number",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD_CONTENT)
def test_undecodable_content(tmp_path, content, message):
    path = tmp_path / "part.png"
    path.write_bytes(content)
    with pytest.raises(ImageDecodeError, match=message) as by_path:
        open_image(path)
    assert str(path) in str(by_path.value)
    with pytest.raises(ImageDecodeError, match=message):
        open_image(content)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3), np.bool_),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((3, 4, 4, 3), np.uint8),
        np.zeros((16,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_that_are_no_picture(array):
    with pytest.raises(ImageDecodeError, match="is no picture"):
        open_image(array)


def test_a_missing_file_and_a_directory(tmp_path):
    with pytest.raises(ImageNotFoundError, match="there is no file"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(FileNotFoundError, match="is a directory"):
        open_image(str(tmp_path))


def test_an_unreadable_path_is_an_input_error():
    with pytest.raises(InputError, match="can't read"):
        open_image("part\0.png")


@pytest.fixture
def little_memory():
    """Let this process grow by no more than 100 MB during the test."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        used = int(statm.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# The first is refused by Pillow's own limit, the second only by ours, with no warning before it.
@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (12_000, 12_000)])
@pytest.mark.usefixtures("little_memory")
def test_a_bomb_costs_no_memory(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageTooLargeError, match="pixels"):
            open_image(path)


def test_the_limit_is_a_choice_and_holds_for_every_source(tmp_path):
    pixels = noise(20, 30)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    for source in (pixels, pixels[:, :, 0], Image.fromarray(pixels), path, path.read_bytes()):
        assert open_image(source, max_pixels=600).shape == (20, 30, 3)
        with pytest.raises(ImageTooLargeError, match="30x20 = 600 pixels"):
            open_image(source, max_pixels=599)


def test_damaged_files_give_our_errors_only():
    rng = random.Random(0)
    image = Image.fromarray(noise())
    for file_format in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF"):
        intact = encode(image, file_format)
        for _ in range(150):
            damaged = bytearray(intact)
            for _ in range(rng.randint(1, 6)):
                damaged[rng.randrange(min(len(damaged), 200))] = rng.randrange(256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow remarks on odd metadata
                try:
                    opened = open_image(bytes(damaged), max_pixels=1_000_000)
                except InputError:
                    continue
            assert opened.dtype == np.uint8
            assert opened.shape[2] == 3


@pytest.mark.parametrize(
    ("golden", "test"),
    [((640, 640), (640, 640, 3)), ((480, 640), (960, 1280)), ((100, 200), (101, 200))],
)
def test_equal_proportions_pass(golden, test):
    check_same_aspect(golden, test)


@pytest.mark.parametrize(
    ("golden", "test"),
    [((640, 480), (480, 640)), ((100, 200), (103, 200)), ((103, 200), (100, 200))],
)
def test_other_proportions_are_refused(golden, test):
    with pytest.raises(AspectMismatchError) as mismatch:
        check_same_aspect(golden, test)
    for height, width in (golden, test):
        assert f"{width}x{height}" in str(mismatch.value)


@pytest.mark.parametrize(
    "error", [ImageNotFoundError, ImageDecodeError, ImageTooLargeError, AspectMismatchError]
)
def test_every_bad_input_has_the_exit_code_of_inference(error):
    assert issubclass(error, ValueError)
    assert error.exit_code == InferenceError.exit_code == 6
