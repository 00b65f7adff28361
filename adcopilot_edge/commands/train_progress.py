"""How a training run shows itself: a bar with time left, or a line an event. All on stderr."""

from __future__ import annotations

from typing import Any

_FINDINGS_SHOWN = 10


class TrainProgress:
    """A progress bar with time left on a terminal; a line an event elsewhere. All on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            TextColumn("{task.fields[loss]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=None, loss="")

    def __enter__(self) -> TrainProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, event: dict[str, Any]) -> None:
        """Show one event of a run."""
        if event["event"] == "evaluation":
            for name, scores in event["scores"].items():
                self._say(f"step {event['step']}: {scores_line(name, scores)}")
        elif event["event"] == "stage":
            self._say(f"stage {event['name']} from step {event['step']}")
        elif event["event"] == "note":
            self._say(event["text"])
        elif event["event"] == "folder":
            self._say_folder(event)
        elif event["event"] == "start":
            self._bar.update(self._task, total=event["steps"], completed=event["step"])
            self._say(f"{event['parameters']:,} parameters, from step {event['step']}")
        elif event["event"] == "answers":
            rewards = " ".join(f"{name} {value:.3f}" for name, value in event["rewards"].items())
            self._bar.update(self._task, completed=event["step"], loss=rewards)
            self._say(f"step {event['step']}: rewards {rewards}")
        elif event["event"] == "step":
            losses = " ".join(f"{name} {value:.3f}" for name, value in event["loss"].items())
            if self._console.is_terminal:
                self._bar.update(self._task, completed=event["step"], loss=losses)
            else:
                self._say(f"step {event['step']}: {event['pairs_per_s']} pairs/s, {losses}")

    def _say_folder(self, event: dict[str, Any]) -> None:
        counts = (f"{sum(event[side].values())} {side}" for side in ("train", "held_out"))
        left_out = event["left_out"]
        self._say(
            f"{event['folder']} ({event['layout']}): {', '.join(counts).replace('_', ' ')}, "
            f"{len(left_out)} left out"
        )
        for line in left_out[:_FINDINGS_SHOWN]:
            self._say(f"  {line}")
        if more := left_out[_FINDINGS_SHOWN:]:
            self._say(f"  and {len(more)} more, in log.jsonl")

    def _say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


def scores_line(name: str, scores: dict[str, Any]) -> str:
    """The scores of one set in a line, without those that were not measured."""
    if "num_dialogues" in scores:
        return _dialogue_line(name, scores)
    figures = {
        "verdict": scores["verdict"],
        "map verdict": scores["map_verdict"],
        "map patch IoU": scores["map_iou"],
        "map box IoU": scores["map_miou"],
        "map types": scores["map_types"],
        f"text box IoU of {scores.get('num_answers', 'some')}": scores["text_miou"],
    }
    known = [f"{label} {value:.3f}" for label, value in figures.items() if value is not None]
    return f"{name} ({scores['num_pairs']} pairs): {', '.join(known)}"


def _dialogue_line(name: str, scores: dict[str, Any]) -> str:
    said = [
        f"{label} {scores[figure]['all']:.3f}"
        + "".join(
            f", {task} {value:.3f}" for task, value in scores[figure].items() if task != "all"
        )
        for label, figure in (("loss", "loss"), ("tokens", "token_accuracy"))
        if scores[figure]
    ]
    if scores["answers"]:
        earned = ", ".join(f"{kind} {value:.3f}" for kind, value in scores["answers"].items())
        said.append(f"answers of {scores['num_answers']}: {earned}")
    return f"{name} ({scores['num_dialogues']} dialogues): {'; '.join(said) or 'no words yet'}"
