"""A checkpoint asked a benchmark's questions by torch, as a bundle is by the runtime.

The prompts and the size of the images are those that a bundle would have, so that what differs is
what the export did. Slow: the whole prompt is read anew for each question.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tokenizers import Tokenizer

from adcopilot_edge.calibration.benchmark_prompt import Wording, benchmark_prompt
from adcopilot_edge.calibration.questioner import Reply
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import Description, describe, read_tokenizer
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import Seen, TorchReference
from adcopilot_edge.prompt import DEFAULT_PROMPT, PromptTemplate
from adcopilot_edge.types import ImageArray


class TorchRespondent:
    """A checkpoint that is shown images and answers questions about them."""

    def __init__(
        self, reference: TorchReference, description: Description, tokenizer: Tokenizer
    ) -> None:
        self._reference = reference
        self._description = description
        self._tokenizer = tokenizer
        self._seen: Seen | None = None
        self._num_images = 0

    @property
    def prompt(self) -> PromptTemplate:
        """The prompt in use."""
        return self._description.prompt

    def show(self, query: ImageArray, template: ImageArray | None) -> None:
        """Show a query image (H, W, 3) uint8 beside its template, or alone."""
        images = [query] if template is None else [template, query]
        self._seen, self._num_images = self._reference.look_at(*images), len(images)

    def ask(self, question: str, letters: Collection[str], *, max_new_tokens: int | None) -> Reply:
        """Ask about the images that were shown.

        Args:
            question: Its words, options included.
            letters: The letters of the options.
            max_new_tokens: Limit of the words; None asks for the letters alone.

        Raises:
            ConfigError: A letter is no single token.
        """
        assert self._seen is not None, "show comes before ask"
        texts = [self.prompt.golden, self.prompt.test][: self._num_images]
        texts.append(self.prompt.ask(question))
        scores = {}
        if letters:
            logits = self._reference.first_logits(self._seen, *texts)
            scores = {letter: float(logits[self._id_of(letter)]) for letter in letters}
        if max_new_tokens is None:
            return Reply(scores, None)
        words = self._reference.answer(self._seen, *texts, max_new_tokens=max_new_tokens)
        return Reply(scores, words)

    def _id_of(self, letter: str) -> int:
        ids = self._tokenizer.encode(letter, add_special_tokens=False).ids
        if len(ids) != 1:
            raise ConfigError(f"the letter {letter} has {len(ids)} tokens in the tokenizer")
        return int(ids[0])


def open_respondent(
    checkpoint: Checkpoint,
    *,
    image_size: tuple[int, int],
    wording: Wording,
    shots: int,
    asks_for_letter: bool = True,
    max_ram: int | None = None,
) -> TorchRespondent:
    """Open a checkpoint under a benchmark's prompt.

    Args:
        checkpoint: The weights.
        image_size: Rows and columns that every image takes.
        wording: Whose words, as for ``benchmark_prompt``.
        shots: Template images, 0 or 1.
        asks_for_letter: As for ``benchmark_prompt``.
        max_ram: Bytes of memory it may take; None takes four fifths of what is free.

    Raises:
        ConfigError: A setting does not fit the model, or the memory is too small.
        CheckpointError: The tokenizer is missing or damaged.
        UnsupportedModelError: The tokenizer does not fit the prompt.
    """
    recipe = ExportRecipe(image_height=image_size[0], image_width=image_size[1])
    prompt = benchmark_prompt(DEFAULT_PROMPT, wording, shots=shots, asks_for_letter=asks_for_letter)
    description = replace(describe(checkpoint, recipe, DEFAULT_PROMPT), prompt=prompt)
    tokenizer = read_tokenizer(checkpoint)
    budget = plan_export(checkpoint, recipe, max_ram).memory.torch_budget
    reference = TorchReference(checkpoint, description, tokenizer, budget_bytes=budget)
    return TorchRespondent(reference, description, tokenizer)
