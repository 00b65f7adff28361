"""The model's conversation about a pair: read the golden, look at the test image, ask, step back.

The golden's part is read once and kept; the test image is read once for all questions; each
question starts from the state behind the test image.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from adcopilot_edge.manifest import Manifest
from adcopilot_edge.positions import EMPTY, Positions, mrope_positions
from adcopilot_edge.runtime.box_grammar import BoxGrammar
from adcopilot_edge.runtime.box_guide import BoxGuide, TokenChoices
from adcopilot_edge.runtime.cache import KVPrefix
from adcopilot_edge.runtime.decode import Decoder, Embeds, Guide
from adcopilot_edge.runtime.drain import drain
from adcopilot_edge.runtime.segments import PromptSegments, Segment
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.tokenizer import TextTokenizer
from adcopilot_edge.runtime.vocabulary import Vocabulary
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class GoldenPrefix:
    """The prompt up to the reuse boundary: the decoder's state and the positions so far."""

    state: KVPrefix
    positions: Positions


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's words.

    ids: the generated ids with the end token, if there was one. is_complete: false when a limit
    cut the answer short.
    """

    text: str
    ids: tuple[int, ...]
    is_complete: bool


class Dialogue:
    """A conversation about one pair at a time.

    ``show`` comes before ``first_logits`` and ``answer``, which leave the state as they found it.

    Raises:
        ManifestError: Prompt, tokenizer and token ids of the bundle do not fit together.
    """

    def __init__(
        self,
        manifest: Manifest,
        decoder: Decoder,
        tokenizer: TextTokenizer,
    ) -> None:
        self._manifest = manifest
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._segments = PromptSegments(manifest, tokenizer)
        self._positions = EMPTY
        self._box_choices: TokenChoices | None = None
        self._knows_boxes = False

    def read_golden(self, *image_tokens: FloatArray) -> GoldenPrefix:
        """Read the prompt up to the reuse boundary, from nothing.

        Args:
            *image_tokens: Together (N / 4 + L, D), of the golden compared with itself.
        """
        self._decoder.cache.truncate(0)
        self._positions = EMPTY
        self._read(self._segments.golden, image_tokens)
        return GoldenPrefix(self._decoder.cache.snapshot(), self._positions)

    def show(self, golden: GoldenPrefix, *image_tokens: FloatArray) -> None:
        """Read the test image behind the golden; what was read before is forgotten.

        Args:
            golden: As ``read_golden`` returned it.
            *image_tokens: Together (N / 4 + L, D), of the test image compared with the golden.
        """
        self._decoder.cache.load(golden.state)
        self._positions = golden.positions
        self._read(self._segments.test, image_tokens)

    def first_logits(self, question: str) -> FloatArray:
        """Return the logits (V,) float32 of the first token of the answer to ``question``.

        Raises:
            InputError: The question is too long for the bundle.
            SessionError: The decoder fails.
        """
        with self._stepping_back():
            return self._read(self._question(question))

    def answer(self, question: str, *, max_new_tokens: int, clock: StageClock) -> Answer:
        """Answer ``question`` greedily, all steps of ``answering`` at once."""
        return drain(self.answering(question, max_new_tokens=max_new_tokens, clock=clock))

    def answering(
        self,
        question: str,
        *,
        max_new_tokens: int,
        clock: StageClock,
        guide: Guide | None = None,
        may_go_on: Callable[[], bool] | None = None,
    ) -> Generator[int, None, Answer]:
        """Answer ``question``, one token a step.

        The state behind the test image comes back at the end, also when the steps are closed
        before it.

        Args:
            question: The words of the question alone.
            max_new_tokens: Limit of generated tokens, at least 1.
            clock: Gets the time of the stages ``prefill`` and ``decode``.
            guide: As for ``Decoder.generating``.
            may_go_on: As for ``Decoder.generating``.

        Yields:
            The id of each token of the answer.

        Raises:
            InputError: The question is too long for the bundle.
            SessionError: The decoder fails.
        """
        with self._stepping_back():
            with clock.stage("prefill"):
                logits = self._read(self._question(question))
            with clock.stage("decode"):
                generation = yield from self._decoder.generating(
                    logits,
                    position=self._positions.maximum + 1,
                    end=self._manifest.tokens.end,
                    max_new_tokens=max_new_tokens,
                    guide=guide,
                    may_go_on=may_go_on,
                )
        text = self._tokenizer.decode(generation.ids)
        return Answer(text, generation.ids, generation.is_complete)

    def box_guide(self) -> BoxGuide | None:
        """Return what guides one answer that is boxes, in pixels of the model's image.

        The first call sorts the vocabulary. None where its tokens can't be told as bytes.
        """
        if not self._knows_boxes:
            self._box_choices, self._knows_boxes = self._read_vocabulary(), True
        return None if self._box_choices is None else BoxGuide(self._box_choices)

    def _read_vocabulary(self) -> TokenChoices | None:
        model = self._manifest.model
        grammar = BoxGrammar(height=model.image_height, width=model.image_width)
        tokens = self._tokenizer.byte_strings() or {}
        vocabulary = Vocabulary(
            {token: text for token, text in tokens.items() if token < model.vocab_size}
        )
        return TokenChoices(vocabulary, grammar) if vocabulary.has_bytes(grammar.alphabet) else None

    def _question(self, question: str) -> Segment:
        return self._segments.question(self._manifest.prompt.ask(question))

    @contextmanager
    def _stepping_back(self) -> Iterator[None]:
        """Return to the state behind the test image, whatever the block appends."""
        length, positions = self._decoder.cache.length, self._positions
        try:
            yield
        finally:
            self._decoder.cache.truncate(length)
            self._positions = positions

    def _read(self, segment: Segment, image_tokens: Sequence[FloatArray] = ()) -> FloatArray:
        """Append a segment; return the logits (V,) behind it."""
        ids, image = segment.ids, segment.image
        parts: list[Embeds] = [ids]
        if image is not None:
            parts = [ids[: image.start], *image_tokens, ids[image.stop :]]
        mode = self._manifest.model.compare_position_mode
        positions = mrope_positions(segment.spans, mode, after=self._positions)
        logits = self._decoder.prefill(parts, positions.ids)
        self._positions = positions
        return logits
