"""How long work shows itself: a bar a step on a terminal, a line a step elsewhere, on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID


class StepProgress:
    """Bars with the time left; call it with a step, how much of it is done, how much there is."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._is_terminal = console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description:11}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> StepProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` parts of ``step`` are finished."""
        is_new = step not in self._tasks
        if is_new:
            for task in self._tasks.values():
                self._finish(task)
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)
        if is_new and not self._is_terminal:
            print(f"{step} {done}/{total}" if total > 1 else step, file=sys.stderr, flush=True)

    def _finish(self, task: TaskID) -> None:
        """A step is over when the next begins, whatever it counted."""
        self._bars.update(task, completed=self._bars.tasks[task].total)
