"""What happens in a run, told to whoever asks: JSON lines, TensorBoard, pictures, a callback.

Only the main process tells anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from adcopilot_edge.runtime.overlay import save_image
from adcopilot_edge.training.arguments import is_main_process
from adcopilot_edge.training.curves import LOG_NAME

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

BOARD_NAME = "tensorboard"
SAMPLES_NAME = "samples"


class EventLog:
    """Takes events of a run and tells them: ``run/log.jsonl``, ``run/tensorboard/``, ``report``.

    first_step: where the run goes on; what TensorBoard had behind it is taken back.
    """

    def __init__(
        self, run: Path, report: Callable[[dict[str, Any]], None], *, first_step: int = 0
    ) -> None:
        self._run = run
        self._report = report
        self._board = _open_board(run / BOARD_NAME, first_step) if is_main_process() else None

    def __call__(self, event: dict[str, Any]) -> None:
        """Append ``event`` to the file as a JSON line and pass it on."""
        if self._board is None:
            return
        with (self._run / LOG_NAME).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
        for tag, value in _scalars(event).items():
            self._board.add_scalar(tag, value, event["step"])
        if event["event"] == "checkpoint":
            self._board.flush()
        self._report(event)

    def show(self, sheets: Mapping[str, Image.Image], step: int) -> None:
        """Store a picture of each set of pairs behind ``step``."""
        if self._board is None:
            return
        folder = self._run / SAMPLES_NAME
        folder.mkdir(exist_ok=True)
        for name, sheet in sheets.items():
            save_image(sheet, folder / f"{name}-{step:06}.png")
            self._board.add_image(f"samples/{name}", np.asarray(sheet), step, dataformats="HWC")

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._board is not None:
            self._board.close()


def scores_by(run: Path, step: int) -> dict[str, dict[str, Any]]:
    """The scores of the last evaluation by ``step`` that the log of ``run`` tells of, by set."""
    path = run / LOG_NAME
    scores: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):  # a line may end where the run was killed
            event = json.loads(line)
            if event["event"] == "evaluation" and event["step"] <= step:
                scores |= event["scores"]
    return scores


def _open_board(folder: Path, first_step: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)


def _scalars(event: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an event by their names in TensorBoard."""
    if event["event"] == "step":
        losses = {f"loss/{name}": value for name, value in event["loss"].items()}
        others = ("learning_rate", "grad_norm", "pairs_per_s")
        return {**losses, **{f"train/{name}": event[name] for name in others}}
    if event["event"] != "evaluation":
        return {}
    found: dict[str, float] = {}
    for name, scores in event["scores"].items():
        for figure, value in scores.items():
            if isinstance(value, dict):
                found |= {f"{name}/{figure}/{key}": item for key, item in value.items()}
            elif value is not None and not figure.startswith("num_"):
                found[f"{name}/{figure}"] = value
    return found
