"""OpenCV's cameras behind a small face, and frames as files without loss."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.errors import DaemonError, MissingExtraError
from adcopilot_edge.runtime.daemon.inputs.settings import CameraSettings

Pixels: TypeAlias = NDArray[Any]  # (H, W, 3) BGR or (H, W) grey, uint8 or uint16

_OPEN_MS, _READ_MS = 5000, 5000


class CameraError(DaemonError):
    """A camera can't be opened."""


class Capture(Protocol):
    """A camera that is open."""

    def read(self) -> tuple[bool, Pixels | None]:
        """Wait for the next frame; False when there is none any more."""
        ...

    def release(self) -> None:
        """Close it."""
        ...


OpenCapture: TypeAlias = Callable[[], Capture]


def opener(settings: CameraSettings) -> OpenCapture:
    """What opens the camera; each call may raise CameraError.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as err:
        raise MissingExtraError(
            feature="a camera", extra="camera", package="opencv-python-headless"
        ) from err

    def open_camera() -> Capture:
        try:
            capture = _opened(cv2, settings)
        except cv2.error as err:
            raise CameraError(f"{shown(settings)} can't be opened: {err}") from err
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{shown(settings)} can't be opened{_hint(cv2, settings)}")
        wanted = (
            (cv2.CAP_PROP_FRAME_WIDTH, settings.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, settings.height),
            (cv2.CAP_PROP_FPS, settings.fps),
        )
        for name, value in wanted:
            if value is not None:
                capture.set(name, value)
        opened: Capture = capture
        return opened

    return open_camera


def shown(settings: CameraSettings) -> str:
    """Where the camera is, without a password."""
    if settings.device is not None:
        return f"device {settings.device}"
    if settings.url is not None:
        return without_secrets(settings.url)
    return "the pipeline " + without_secrets(settings.pipeline or "")


def without_secrets(address: str) -> str:
    """The address with the users and passwords of its URLs hidden."""
    return re.sub(r"//[^/@\s]*@", "//***@", address)


def lossless(pixels: Pixels) -> bytes:
    """A frame as a file: BMP for 8 bits, PNG for 16. pixels: (H, W, 3) BGR or (H, W)."""
    import cv2

    if pixels.dtype == np.uint8:
        is_done, content = cv2.imencode(".bmp", pixels)
    else:
        is_done, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert is_done
    return content.tobytes()


def _opened(cv2: Any, settings: CameraSettings) -> Any:
    if settings.pipeline is not None:
        return cv2.VideoCapture(settings.pipeline, cv2.CAP_GSTREAMER)
    if settings.url is not None:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
        return cv2.VideoCapture(settings.url, cv2.CAP_FFMPEG, [*limits, _READ_MS])
    device = settings.device
    if isinstance(device, int):
        return cv2.VideoCapture(device, cv2.CAP_V4L2)
    return cv2.VideoCapture(str(device))


def _hint(cv2: Any, settings: CameraSettings) -> str:
    backends = cv2.videoio_registry.getBackends()
    if settings.pipeline is not None and cv2.CAP_GSTREAMER not in backends:
        return ": this OpenCV was built without GStreamer; install one that was built with it"
    return ""
