"""All ways in of a daemon beside HTTP: they open when it is ready and close when it drains."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.inputs.camera import CameraInput
from adcopilot_edge.runtime.daemon.inputs.capture import OpenCapture, opener
from adcopilot_edge.runtime.daemon.inputs.folder import FolderInput
from adcopilot_edge.runtime.daemon.inputs.input import Input
from adcopilot_edge.runtime.daemon.inputs.mqtt import MqttInput
from adcopilot_edge.runtime.daemon.inputs.settings import (
    CameraSettings,
    FolderSettings,
    InputSettings,
)
from adcopilot_edge.runtime.daemon.life import State
from adcopilot_edge.runtime.daemon.station import StationDaemon


class Inputs:
    """The ways in of a station file, over a daemon. camera_opener: what opens a camera.

    Raises:
        ConfigError: A file for a broker can't be read.
        MissingExtraError: There is a camera, and the extra ``camera`` is not installed.
    """

    def __init__(
        self,
        daemon: StationDaemon,
        camera_opener: Callable[[CameraSettings], OpenCapture] = opener,
    ) -> None:
        self._daemon = daemon
        self._lock = threading.Lock()
        self._is_started = self._is_stopped = False
        settings = daemon.settings.inputs
        self.cameras = {
            item.name: CameraInput(item, camera_opener(item))
            for item in settings
            if isinstance(item, CameraSettings)
        }
        self.all: Sequence[Input] = [self._made(item) for item in settings]
        daemon.tell("inputs", self.to_json)
        daemon.life.listen(self._on_state)
        if daemon.life.is_ready:
            self._start()

    def camera(self, name: str) -> CameraInput:
        """The camera of that name. Raises ConfigError."""
        if name not in self.cameras:
            known = ", ".join(self.cameras) or "none"
            raise ConfigError(f"there is no camera {name!r}; known: {known}")
        return self.cameras[name]

    def stop(self) -> None:
        """Take no more parts; may be called twice."""
        with self._lock:
            self._is_stopped = True
            if not self._is_started:
                return
        for item in self.all:
            item.stop()

    def join(self, seconds: float) -> bool:
        """Wait until what was handed over is seen to its end; whether all is."""
        if not self._is_started:
            return True
        end = time.monotonic() + seconds
        ended = [item.join(max(0.0, end - time.monotonic())) for item in self.all]
        return all(ended)

    def to_json(self) -> list[dict[str, Any]]:
        """The state of each, as ``/healthz`` tells it."""
        return [item.to_json() for item in self.all]

    def _made(self, settings: InputSettings) -> Input:
        if isinstance(settings, CameraSettings):
            return self.cameras[settings.name]
        if isinstance(settings, FolderSettings):
            return FolderInput(settings)
        camera = None if settings.camera is None else self.cameras[settings.camera]
        return MqttInput(settings, camera)

    def _on_state(self, state: State) -> None:
        if state == "ready":
            self._start()
        elif state in ("draining", "stopped", "failed"):
            self.stop()

    def _start(self) -> None:
        with self._lock:
            if self._is_started or self._is_stopped:
                return
            self._is_started = True
            for item in self.all:
                item.start(self._daemon)
