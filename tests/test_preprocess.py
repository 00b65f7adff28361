"""Preprocessing against the Hugging Face processor: equal bit for bit, whatever the picture."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.errors import ConfigError, InputError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.runtime.preprocess import Preprocessor, smart_resize

MIN_PIXELS, MAX_PIXELS = 56 * 56, 28 * 28 * 1280

# Ordinary, one very long, exact multiples, one just off a multiple, smaller than the minimum, and
# larger than the maximum.
SIZES = [(333, 517), (28, 1008), (640, 480), (224, 224), (225, 223), (30, 41), (1100, 1300)]
KINDS = ["rgb", "grey", "rgba", "palette", "grey16", "cmyk", "bilevel", "exif"]


@pytest.fixture(scope="module")
def upstream():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")


@pytest.fixture(scope="module")
def processor(upstream):
    return upstream.Qwen2VLImageProcessorPil(min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth shading plus noise: both matter to a resize filter."""
    rng = np.random.default_rng(height * 10_000 + width)
    ramp = np.linspace(0, 200, height)[:, None, None] + np.linspace(0, 40, width)[None, :, None]
    noise = rng.integers(0, 56, (height, width, channels))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def make(kind: str, height: int, width: int) -> tuple[Image.Image | bytes, Image.Image]:
    """Return what is given to us, and the picture that Hugging Face gets for the same content."""
    rgb = Image.fromarray(picture(height, width))
    if kind == "rgba":
        rgba = Image.fromarray(picture(height, width, 4))
        return rgba, rgba
    if kind == "grey16":
        deep = picture(height, width, 1)[:, :, 0].astype(np.uint16) * 257 + 90
        scaled = np.rint(deep / 257).astype(np.uint8)  # the documented rule, said another way
        return Image.fromarray(deep), Image.fromarray(scaled)
    if kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera lay on its side: to be shown turned by 90 degrees clockwise
        file = io.BytesIO()
        rgb.save(file, format="JPEG", quality=90, exif=exif)
        lying = Image.open(io.BytesIO(file.getvalue()))
        return file.getvalue(), lying.transpose(Image.Transpose.ROTATE_270)
    mode = {"rgb": "RGB", "grey": "L", "palette": "P", "cmyk": "CMYK", "bilevel": "1"}[kind]
    converted = rgb.convert(mode)
    return converted, converted


def preprocessor_for(image: np.ndarray) -> Preprocessor:
    height, width = smart_resize(*image.shape[:2], min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    return Preprocessor(image_height=height, image_width=width)


@pytest.mark.torch
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_smart_resized_patches_equal_hugging_face(processor, kind, height, width):
    ours, theirs = make(kind, height, width)
    expected = processor(theirs, return_tensors="np")

    image = open_image(ours)
    preprocess = preprocessor_for(image)
    patches = preprocess.patches(preprocess.resize(image))

    assert preprocess.grid == tuple(expected["image_grid_thw"][0])
    assert patches.dtype == np.float32
    # Zero tolerance: both sides do the same float steps, so any difference is a mistake.
    np.testing.assert_array_equal(patches, expected["pixel_values"])


@pytest.mark.torch
@pytest.mark.parametrize("size", [(224, 224), (448, 616), (28, 84)])
@pytest.mark.parametrize("kind", KINDS)
def test_fixed_size_patches_equal_hugging_face(upstream, kind, size):
    transforms = pytest.importorskip("transformers.image_transforms")
    ours, theirs = make(kind, 333, 517)
    rgb = Image.fromarray(transforms.convert_to_rgb(theirs, return_numpy=True))
    target = rgb.resize(size[::-1], Image.Resampling.BICUBIC)
    # The area limits equal the target's area, so upstream does not resize a second time.
    area = size[0] * size[1]
    fixed = upstream.Qwen2VLImageProcessorPil(min_pixels=area, max_pixels=area)

    preprocess = Preprocessor(image_height=size[0], image_width=size[1])
    resized = preprocess.resize(open_image(ours))

    np.testing.assert_array_equal(resized, np.asarray(target))
    expected = fixed(target, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(preprocess.patches(resized), expected)


@pytest.mark.torch
def test_other_constants_equal_hugging_face(upstream):
    constants: dict[str, Any] = {
        "patch_size": 16,
        "temporal_patch_size": 1,
        "image_mean": (0.5, 0.4, 0.3),
        "image_std": (0.5, 0.25, 1.0),
    }
    theirs = upstream.Qwen2VLImageProcessorPil(**constants, min_pixels=1, max_pixels=10**6)
    preprocess = Preprocessor(image_height=64, image_width=96, **constants)
    image = picture(64, 96)
    expected = theirs(Image.fromarray(image), return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(preprocess.patches(image), expected)


@pytest.mark.torch
def test_smart_resize_equals_hugging_face_on_many_sizes(upstream):
    rng = random.Random(0)
    for _ in range(5000):
        height, width = (int(10 ** rng.uniform(0.5, 3.8)) for _ in range(2))
        if max(height, width) > 200 * min(height, width):
            continue
        factor = rng.choice([28, 32])
        limits = {
            "min_pixels": rng.choice([1, 3136, 10**5]),
            "max_pixels": rng.choice([10**5, 10**6]),
        }
        assert smart_resize(height, width, factor=factor, **limits) == upstream.smart_resize(
            height, width, factor=factor, **limits
        )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), (224, 224)),
        ((70, 98), (56, 112)),  # halves go to the even neighbour
        ((10, 10), (56, 56)),  # grown to the minimum area
        ((4000, 4000), (980, 980)),  # shrunk below the maximum area
        ((10, 2000), (28, 812)),  # a side that rounds to 0 counts as too small an area
    ],
)
def test_smart_resize_of_known_sizes(size, expected):
    assert smart_resize(*size, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS) == expected


def test_smart_resize_refuses_a_ribbon():
    with pytest.raises(InputError, match="more than 200 times"):
        smart_resize(10, 2001, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)


def test_patches_come_in_merge_groups_with_equal_frames():
    image = np.zeros((28, 56, 3), np.uint8)
    image[14:, 14:28, 1] = 255  # second row, second column of the first group: patch 3
    patches = Preprocessor(image_height=28, image_width=56).patches(image)
    frames = patches.reshape(8, 3, 2, 14, 14)
    bright = np.flatnonzero((frames[:, 1, 0] > 0).all(axis=(1, 2)))
    assert bright.tolist() == [3]
    np.testing.assert_array_equal(frames[:, :, 0], frames[:, :, 1])


def test_resize_returns_an_image_of_the_right_size_as_it_is():
    image = picture(56, 84)
    assert Preprocessor(image_height=56, image_width=84).resize(image) is image


@pytest.mark.parametrize(
    "settings",
    [
        {"image_height": 225, "image_width": 224},
        {"image_height": 0, "image_width": 224},
        {"image_height": 224, "image_width": 224, "patch_size": 0},
        {"image_height": 224, "image_width": 224, "image_std": (0.2, 0.0, 0.2)},
        {"image_height": 224, "image_width": 224, "image_mean": (0.5, 0.5)},
    ],
)
def test_bad_settings_are_config_errors(settings):
    with pytest.raises(ConfigError):
        Preprocessor(**settings)


@pytest.mark.parametrize("shape", [(28, 28, 4), (28, 56, 3), (28, 28)])
def test_patches_of_an_unresized_image_is_an_error(shape):
    with pytest.raises(InputError, match="expected a uint8 image"):
        Preprocessor(image_height=28, image_width=28).patches(np.zeros(shape, np.uint8))
