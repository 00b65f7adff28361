"""What to profile, how long, and with which pictures: checked before any work."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.embedded import sample_pictures
from adcopilot_edge.errors import ConfigError, ImageNotFoundError, InputError
from adcopilot_edge.runtime.images import check_same_aspect, list_pictures, open_image
from adcopilot_edge.runtime.threads import Threads, as_settings
from adcopilot_edge.types import TASKS

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """One case: a bundle, its load, and when to stop.

    bundle: None is the embedded one. ask: a question in free words, asked last. tile: inspect in
    tiles. tests: shown one after the other, again and again. warm_up: inspections that count apart.
    max_time_s: when to give up waiting for stable figures. duration_s: measure that long instead,
    stable or not. soak_s: measure until the temperature is steady, at most that long. concurrency:
    callers that share one inspector, which takes them in turn. with_limits: measure what the
    machine can do, too.
    """

    golden: Path
    tests: tuple[Path, ...]
    bundle: Path | None = None
    task: str = "all"
    ask: str | None = None
    tile: bool = False
    provider: str = "cpu"
    threads: Threads | Path = None
    concurrency: int = 1
    takt_ms: float | None = None
    warm_up: int = 5
    max_time_s: float = 60.0
    duration_s: float | None = None
    soak_s: float | None = None
    max_new_tokens: int = 128
    with_limits: bool = True

    def __post_init__(self) -> None:
        if self.task not in (*TASKS, "all"):
            raise ConfigError(f"task must be of {', '.join(TASKS)} or all, got {self.task!r}")
        if self.ask is not None and not self.ask.strip():
            raise ConfigError("the question is empty; ask something or leave it out")
        for name, lowest in (("concurrency", 1), ("warm_up", 0), ("max_new_tokens", 1)):
            if (value := getattr(self, name)) < lowest:
                raise ConfigError(f"{name} must be at least {lowest}, got {value}")
        for name in ("takt_ms", "max_time_s", "duration_s", "soak_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be a number above 0, got {value}")
        if self.duration_s is not None and self.soak_s is not None:
            raise ConfigError("a soak has its own duration; leave out --duration or --soak")

    @property
    def num_threads(self) -> int | None:
        """The number of threads that was asked for; None where none was."""
        if isinstance(self.threads, Path):
            return None
        return as_settings(self.threads).num_threads

    def words(self, in_use: str | None = None) -> str:
        """Provider, threads and callers, for people; in_use: the threads, where they are known."""
        if in_use is not None:
            threads = in_use
        elif isinstance(self.threads, Path):
            threads = f"threads by {self.threads}"
        else:
            threads = as_settings(self.threads).words()
        callers = f"{self.concurrency} caller{'s' if self.concurrency > 1 else ''}"
        question = "" if self.ask is None else " and a question in free words"
        way = ", in tiles" if self.tile else ""
        return f"{self.provider}, {threads}, {callers}, task {self.task}{question}{way}"


def parse_duration(text: str) -> float:
    """Seconds of ``45``, ``90s``, ``30m`` or ``1.5h``. Raises ConfigError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or (seconds := float(match[1]) * _SECONDS[match[2]]) <= 0:
        raise ConfigError(f"a duration above 0 is written 45, 90s, 30m or 1.5h, got {text!r}")
    return seconds


def find_pictures(golden: Path | None, images: Path | None) -> tuple[Path, tuple[Path, ...]]:
    """The golden image and the test images to profile with; without both, the embedded sample.

    Each picture is decoded once, so that a bad one is named before anything is measured.

    Args:
        golden: A picture.
        images: A folder of pictures, or one picture.

    Raises:
        ConfigError: One is given without the other.
        InputError: The folder holds no picture, or a picture can't be used with the golden.
    """
    if golden is None and images is None:
        golden, test = sample_pictures()
        return golden, (test,)
    if golden is None or images is None:
        given, lacking = ("--images", "--golden") if golden is None else ("--golden", "--images")
        raise ConfigError(f"{given} needs {lacking}: pictures of the same view")
    if not images.exists():
        raise ImageNotFoundError(f"there is no folder {images}")
    tests = tuple(list_pictures(images)) if images.is_dir() else (images,)
    if not tests:
        raise InputError(f"{images} holds no pictures; put the test images there, as PNG or JPEG")
    shape = open_image(golden).shape
    for path in tests:
        _check_test(path, shape)
    return golden, tests


def _check_test(path: Path, golden_shape: tuple[int, ...]) -> None:
    """Decode a test image and compare proportions; an error names the file."""
    try:
        check_same_aspect(golden_shape, open_image(path).shape)
    except InputError as err:
        raise type(err)(f"{path}: {err}") from err
