"""What a caller asks beside the verdict, checked before any work; knows nothing of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.prompt import PromptTemplate
from adcopilot_edge.runtime.tokenizer import TextTokenizer
from adcopilot_edge.types import TASKS, Task

TaskChoice = Task | Literal["all"] | Sequence[Task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask beside the verdict: questions by name, and how they are answered.

    questions: their names are those of the tasks, and ``ask`` for the user's own question.
    max_new_tokens: limit of each answer. is_constrained: boxes are decoded under a grammar.
    has_pieces: tell the words of an answer while they come.
    """

    questions: dict[str, str]
    max_new_tokens: int = 128
    is_constrained: bool = True
    has_pieces: bool = False

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")

    def only(self, *names: str) -> Request:
        """The same request with these questions alone, as far as it has them."""
        kept = {name: text for name, text in self.questions.items() if name in names}
        return replace(self, questions=kept)

    def without(self, *names: str) -> Request:
        """The same request without these questions."""
        return self.only(*(name for name in self.questions if name not in names))


def read_questions(
    task: TaskChoice, ask: str | None, *, prompt: PromptTemplate, tokenizer: TextTokenizer
) -> dict[str, str]:
    """Return the words of the questions by name, those of the tasks in their order, then ``ask``.

    Args:
        task: One task, several, or ``all``; the verdict is no question.
        ask: The user's own question.
        prompt: Has the words of the tasks.
        tokenizer: Knows what a user's words may not hold.

    Raises:
        ConfigError: There is no such task, or ``ask`` is empty.
        InputError: ``ask`` holds reserved tokens.
    """
    tasks: Sequence[str] = (task,) if isinstance(task, str) else task
    if unknown := [name for name in tasks if name not in (*TASKS, "all")]:
        raise ConfigError(
            f"task must be of {', '.join(TASKS)} or all, got {', '.join(map(repr, unknown))}"
        )
    questions: dict[str, str] = {
        name: prompt.tasks[name]
        for name in TASKS
        if name != "verdict" and (name in tasks or "all" in tasks)
    }
    if ask is not None:
        if not ask.strip():
            raise ConfigError("the question is empty; ask something or leave it out")
        tokenizer.check_plain(ask)
        questions["ask"] = ask.strip()
    return questions
