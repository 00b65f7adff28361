"""Asks a bundle a benchmark's questions: the logits of the option letters, and the answer's words.

Unlike an inspection it takes the prompt of the benchmark, can look at an image without a template,
and lets the two images differ in their proportions, since both take the bundle's size anyway.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.calibration.benchmark_prompt import Wording, benchmark_prompt
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.prompt import PromptTemplate
from adcopilot_edge.runtime.engine import Engine, open_engine
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.types import ImageArray


@dataclass(frozen=True, slots=True)
class Reply:
    """What a bundle answers: the logit of each letter that was an option, and its words, or None.

    The logits are those of the first token, which is where an answer by letter has its letter.
    """

    letters: dict[str, float]
    words: str | None


class Questioner:
    """A bundle that is shown images and answers questions about them.

    Raises:
        ManifestError: A prompt and the tokenizer do not fit together.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def bundle_id(self) -> str:
        """The bundle's id."""
        return self._engine.bundle.id

    @property
    def prompt(self) -> PromptTemplate:
        """The prompt in use."""
        return self._engine.bundle.manifest.prompt

    def show(self, query: ImageArray, template: ImageArray | None) -> None:
        """Show a query image beside its template, or alone.

        Alone it is compared with itself: the model's rule for the first image of a prompt.

        Args:
            query: (H, W, 3) uint8 RGB.
            template: Likewise, of any size.

        Raises:
            SessionError: A graph fails.
        """
        engine = self._engine
        golden = None if template is None else engine.read_golden(template)
        patches = engine.preprocessor.patches(engine.preprocessor.resize(query))
        encoded = engine.encoder.encode(patches)
        previous = encoded.features if golden is None else golden.features
        comparison = engine.encoder.compare(previous, encoded.features)
        if golden is None:
            engine.dialogue.read_golden(encoded.tokens, comparison.tokens)
        else:
            engine.dialogue.show(golden.prefix, encoded.tokens, comparison.tokens)

    def ask(self, question: str, letters: Collection[str], *, max_new_tokens: int | None) -> Reply:
        """Ask about the images that were shown.

        Args:
            question: Its words, options included.
            letters: The letters of the options.
            max_new_tokens: Limit of the words; None asks for the letters alone, which costs no
                decoding.

        Raises:
            ConfigError: A letter is no single token of the bundle's tokenizer.
            InputError: The prompt is longer than the bundle allows, or the question holds reserved
                tokens.
            SessionError: A graph fails.
        """
        engine = self._engine
        engine.tokenizer.check_plain(question)
        logits = engine.dialogue.first_logits(question) if letters else None
        scores = {} if logits is None else {a: float(logits[self._id_of(a)]) for a in letters}
        if max_new_tokens is None:
            return Reply(scores, None)
        answer = engine.dialogue.answer(question, max_new_tokens=max_new_tokens, clock=StageClock())
        return Reply(scores, answer.text)

    def _id_of(self, letter: str) -> int:
        ids = self._engine.tokenizer.encode(letter)
        if len(ids) != 1:
            raise ConfigError(
                f"the letter {letter} has {len(ids)} tokens in the bundle's tokenizer, so its "
                "logit is none of an option"
            )
        return int(ids[0])


def open_questioner(
    path: Path | None,
    *,
    wording: Wording,
    shots: int,
    asks_for_letter: bool = True,
    provider: str = "cpu",
    num_threads: Threads | Path = None,
) -> Questioner:
    """Open a bundle under a benchmark's prompt.

    Args:
        path: Its folder; None is the small bundle inside the package.
        wording: Whose words, as for ``benchmark_prompt``.
        shots: Template images, 0 or 1.
        asks_for_letter: As for ``benchmark_prompt``.
        provider: As for ``Inspector.open``.
        num_threads: As for ``Inspector.open``.

    Raises:
        ConfigError: The number of shots is neither.
        BundleError: As for ``Inspector.open``, and its other errors.
    """
    bundle = open_bundle(embedded_bundle() if path is None else path, verify=True)
    prompt = benchmark_prompt(
        bundle.manifest.prompt, wording, shots=shots, asks_for_letter=asks_for_letter
    )
    manifest = bundle.manifest.model_copy(update={"prompt": prompt})
    engine = open_engine(
        replace(bundle, manifest=manifest), provider=provider, num_threads=num_threads
    )
    return Questioner(engine)
