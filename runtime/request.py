"""What a caller asks beside the verdict, checked before any work; knows nothing of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.cascade import Cascade
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.types import TASKS, Task

TaskChoice = Task | Literal["all"] | Sequence[Task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask beside the verdict: questions by name, and how they are answered.

    questions: their names are those of the tasks, and ``ask`` for the user's own question.
    max_new_tokens: limit of each answer. is_constrained: boxes are decoded under a grammar.
    has_pieces: tell the words of an answer while they come. cascade: when nothing is asked at all,
    not even for the verdict. threshold: on the score that is shown, 0..1, in place of the limits of
    the bundle or of the golden's verdict state.
    """

    questions: dict[str, str]
    max_new_tokens: int = 128
    is_constrained: bool = True
    has_pieces: bool = False
    cascade: Cascade | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.threshold is not None and not 0.0 < self.threshold < 1.0:
            raise ConfigError(f"threshold must lie between 0 and 1, got {self.threshold}")

    def with_threshold(self, find: Callable[[], float]) -> Request:
        """The same request; a cascade without a threshold of its own has the one that is found."""
        if self.cascade is None or self.cascade.threshold is not None:
            return self
        return replace(self, cascade=replace(self.cascade, threshold=find()))

    @property
    def map_threshold(self) -> float | None:
        """The suspicion up to which the cascade lets a part pass."""
        return None if self.cascade is None else self.cascade.threshold

    def only(self, *names: str) -> Request:
        """The same request with these questions alone, as far as it has them."""
        kept = {name: text for name, text in self.questions.items() if name in names}
        return replace(self, questions=kept)

    def without(self, *names: str) -> Request:
        """The same request without these questions."""
        return self.only(*(name for name in self.questions if name not in names))


def read_request(
    engine: Engine,
    task: TaskChoice,
    ask: str | None,
    max_new_tokens: int,
    is_constrained: bool,
    cascade: Cascade | None,
    *,
    has_pieces: bool = False,
    threshold: float | None = None,
) -> Request:
    """Return the request of a caller, checked.

    The first one that has boxes under their grammar sorts the engine's vocabulary.

    Args:
        engine: Has the words of the tasks, and knows what a user's words may not hold.
        task: One task, several, or ``all``; the verdict is no question.
        ask: The user's own question.
        max_new_tokens: As in ``Request``, and so are the others.
        is_constrained: See there.
        cascade: See there.
        has_pieces: See there.
        threshold: See there.

    Raises:
        ConfigError: There is no such task, ``ask`` is empty, or a limit is out of range.
        InputError: ``ask`` holds reserved tokens.
    """
    tasks: Sequence[str] = (task,) if isinstance(task, str) else task
    if unknown := [name for name in tasks if name not in (*TASKS, "all")]:
        raise ConfigError(
            f"task must be of {', '.join(TASKS)} or all, got {', '.join(map(repr, unknown))}"
        )
    words = engine.bundle.manifest.prompt.tasks
    questions: dict[str, str] = {
        name: words[name]
        for name in TASKS
        if name != "verdict" and (name in tasks or "all" in tasks)
    }
    if ask is not None:
        if not ask.strip():
            raise ConfigError("the question is empty; ask something or leave it out")
        engine.tokenizer.check_plain(ask)
        questions["ask"] = ask.strip()
    if is_constrained and "locate" in questions:
        engine.dialogue.box_guide()
    return Request(
        questions=questions,
        max_new_tokens=max_new_tokens,
        is_constrained=is_constrained,
        has_pieces=has_pieces,
        cascade=cascade,
        threshold=threshold,
    )


def check_limits(
    takt_ms: float | None, cascade: Cascade | None, *, has_many_verdicts: bool
) -> None:
    """Raise ConfigError for what is not for tiles or votes, whose verdicts are all needed."""
    if has_many_verdicts and (takt_ms is not None or cascade is not None):
        raise ConfigError("tiles and votes have no takt and no cascade: all verdicts are needed")
