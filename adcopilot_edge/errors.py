"""Every error a user of adcopilot-edge can meet, and the exit code of each kind.

The tree::

    EdgeError                          1   base class, shown to the user as it is
    ├── ConfigError (ValueError)       2   an unknown key, a value out of range
    │   └── UnknownNameError
    ├── MissingExtraError (ImportError) 2  an optional package is not installed
    ├── BundleError                    3
    │   ├── BundleNotFoundError (FileNotFoundError)
    │   ├── BundleVersionError
    │   ├── ChecksumError
    │   ├── SignatureError
    │   └── ManifestError
    ├── ExportError                    4
    │   ├── CheckpointError
    │   ├── UnsupportedModelError
    │   ├── ParityError
    │   └── BuildError
    ├── CalibrationError               5
    │   ├── DatasetError
    │   ├── TooFewSamplesError
    │   └── StateError
    ├── DaemonError                    7
    │   ├── StateFolderError
    │   ├── JournalError
    │   ├── NotReadyError
    │   ├── QueueFullError
    │   ├── GoldenError
    │   ├── ReplayError
    │   ├── OutputError
    │   │   └── OutputRefusedError
    │   ├── WorkerError
    │   ├── UnauthenticatedError
    │   └── ForbiddenError (PermissionError)
    ├── GateError                      8
    ├── TeacherError                   9
    │   ├── TeacherUnavailableError
    │   ├── TeacherQualityError
    │   └── BudgetError
    └── InferenceError                 6
        ├── ProviderUnavailableError
        ├── SessionError
        ├── EngineError
        ├── PackError
        ├── InputError (ValueError)
        │   ├── ImageNotFoundError (FileNotFoundError)
        │   ├── ImageDecodeError
        │   ├── ImageTooLargeError
        │   ├── AspectMismatchError
        │   └── QuestionError
        └── AnswerError

A message says what failed, where, and what to do. Where a builtin exception fits, the class
inherits it too, so that ``except FileNotFoundError`` works as a caller expects.
"""

from __future__ import annotations

from typing import ClassVar


class EdgeError(Exception):
    """Base of all errors that are shown to the user without a traceback."""

    exit_code: ClassVar[int] = 1


class ConfigError(EdgeError, ValueError):
    """A setting is unknown, missing, or out of range."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """There is nothing of the name or number that was asked for."""


class MissingExtraError(EdgeError, ImportError):
    """A command needs packages that this installation does not have."""

    exit_code = 2

    def __init__(self, *, feature: str, extra: str, package: str) -> None:
        super().__init__(
            f"{feature} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'adcopilot-edge[{extra}]'"
        )
        self.extra = extra
        self.package = package


class BundleError(EdgeError):
    """A bundle can't be used."""

    exit_code = 3


class BundleNotFoundError(BundleError, FileNotFoundError):
    """The folder is missing, or holds no manifest.json, or lacks a file of its manifest."""


class BundleVersionError(BundleError):
    """The manifest has a format version that this release does not read."""


class ChecksumError(BundleError):
    """A file of the bundle is not the one that was exported."""


class SignatureError(BundleError):
    """The bundle is not signed by the key that it must be signed by."""


class ManifestError(BundleError):
    """The manifest is not valid JSON, or a field is missing, unknown, or out of range."""


class ExportError(EdgeError):
    """A checkpoint can't be turned into a bundle."""

    exit_code = 4


class CheckpointError(ExportError):
    """The checkpoint folder is incomplete, or a tensor is missing or has a wrong shape."""


class UnsupportedModelError(ExportError):
    """The checkpoint is of a model family, or has a setting, that the exporter does not know."""


class ParityError(ExportError):
    """The exported graphs do not reproduce the checkpoint within the stated tolerances."""


class BuildError(ExportError):
    """An engine can't be built: from this graph, for this device, or in this memory."""


class CalibrationError(EdgeError):
    """Calibration or evaluation data can't be used."""

    exit_code = 5


class DatasetError(CalibrationError):
    """A data folder does not have the layout it is said to have."""


class TooFewSamplesError(CalibrationError):
    """There are fewer pairs or parts than the step needs."""


class StateError(CalibrationError):
    """A stored state is damaged, or of another bundle, golden, machine or way to inspect."""


class DaemonError(EdgeError):
    """The daemon can't start, go on, or take a part."""

    exit_code = 7


class StateFolderError(DaemonError):
    """The state folder can't be used, or another daemon uses it."""


class JournalError(DaemonError):
    """The journal of parts can't be opened, read or written."""


class NotReadyError(DaemonError):
    """No part is taken now. retry_after_s: when to try again, None for never."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFullError(DaemonError):
    """More parts came than can be inspected. retry_after_s: when to try again."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GoldenError(DaemonError):
    """A golden can't be added, approved, removed or rolled back to as things are."""


class ReplayError(DaemonError):
    """A part can't be inspected again as it was: its image, golden or bundle is not there."""


class OutputError(DaemonError):
    """An output did not confirm a record; it is tried again."""


class OutputRefusedError(OutputError):
    """An output will not take this record, however often it is told."""


class WorkerError(DaemonError):
    """The process that inspects did not start, or hung or died too often."""


class UnauthenticatedError(DaemonError):
    """A request needs a token, and has none or a wrong one."""


class ForbiddenError(DaemonError, PermissionError):
    """Who asks is known, and may not do that; or a path is one that no client may read."""


class GateError(EdgeError):
    """A quantized bundle, or ranges measured for one, lose more of the task than gates allow."""

    exit_code = 8


class TeacherError(EdgeError):
    """A teacher model can't write what is asked of it; what it wrote before is kept."""

    exit_code = 9


class TeacherUnavailableError(TeacherError):
    """The endpoint refuses, can't be reached, or fails too often in a row."""


class TeacherQualityError(TeacherError):
    """Too much of what the teacher writes is wrong."""


class BudgetError(TeacherError):
    """The run has spent the requests, tokens or money that it may."""


class InferenceError(EdgeError):
    """An inspection can't be done."""

    exit_code = 6


class ProviderUnavailableError(InferenceError):
    """The execution provider asked for is not in this onnxruntime, or did not take the graph."""


class SessionError(InferenceError):
    """onnxruntime refused a graph or failed while running it."""


class EngineError(InferenceError):
    """There is no engine for a graph here, or it was built for another graph, release or GPU."""


class PackError(InferenceError):
    """A golden pack is damaged, is of something else, is not there, or can't be stored."""


class InputError(InferenceError, ValueError):
    """An image or an argument of an inspection is unusable."""


class ImageNotFoundError(InputError, FileNotFoundError):
    """There is no file at the given path."""


class ImageDecodeError(InputError):
    """The file is empty, truncated, or no image."""


class ImageTooLargeError(InputError):
    """The image has more pixels than the limit that guards memory."""


class QuestionError(InputError):
    """A question is too long for the bundle, or holds what the prompt reserves."""


class AspectMismatchError(InputError):
    """Golden and test image have different proportions, so they can't show the same view."""


class AnswerError(InferenceError):
    """The model's text is not an answer of the expected form."""
