"""The prompt as token ids: golden, test image, question, each with the spans of its positions.

The texts meet at special tokens, so ids of the segments in a row are the ids of the whole prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcopilot_edge.errors import ManifestError
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.positions import ImageSpan, TextSpan
from adcopilot_edge.prompt import IMAGE_TOKEN
from adcopilot_edge.runtime.tokenizer import TextTokenizer
from adcopilot_edge.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A part of the prompt.

    ids: (T,) int64, with as many image placeholders as the image has tokens. spans: the same
    tokens as spans of positions. image: where the placeholders are, or None.
    """

    ids: IntArray
    spans: tuple[TextSpan | ImageSpan, ...]
    image: slice | None


class PromptSegments:
    """The segments of a bundle's prompt.

    ``golden`` ends at the reuse boundary; ``test`` follows it; then comes one ``question``.

    Raises:
        ManifestError: Prompt, tokenizer and token ids of the bundle do not fit together.
    """

    def __init__(self, manifest: Manifest, tokenizer: TextTokenizer) -> None:
        self._manifest = manifest
        self._tokenizer = tokenizer
        self._check_tokens()
        self.golden = self._with_image(manifest.prompt.golden)
        self.test = self._with_image(manifest.prompt.test)

    def question(self, text: str) -> Segment:
        """The segment of ``text``, the closing part of the prompt as ``PromptTemplate`` made it."""
        ids = self._tokenizer.encode(text)
        return Segment(ids, (TextSpan(len(ids)),), image=None)

    def _with_image(self, text: str) -> Segment:
        """Encode a text with one image placeholder and make room for the image's tokens."""
        model = self._manifest.model
        ids = self._tokenizer.encode(text)
        (found,) = np.nonzero(ids == self._manifest.tokens.image)
        if len(found) != 1:
            raise ManifestError(
                f"each image of the prompt needs one {IMAGE_TOKEN}, found {len(found)} in "
                f"{text!r}. Export the bundle again."
            )
        start = int(found[0])
        count = model.num_merged + model.compare_token_size
        copies = np.full(count, self._manifest.tokens.image, dtype=np.int64)
        rows, cols = (side // model.merge_size for side in model.grid)
        return Segment(
            ids=np.concatenate([ids[:start], copies, ids[start + 1 :]]),
            spans=(
                TextSpan(start),
                ImageSpan(rows, cols, model.compare_token_size),
                TextSpan(len(ids) - start - 1),
            ),
            image=slice(start, start + count),
        )

    def _check_tokens(self) -> None:
        """Compare the manifest's ids with the tokenizer's, and collect what differs."""
        prompt, tokens = self._manifest.prompt, self._manifest.tokens
        expected = {IMAGE_TOKEN: tokens.image, prompt.yes: tokens.yes, prompt.no: tokens.no}
        wrong = [
            f"{text!r} is {ids}, not {token}"
            for text, token in expected.items()
            if (ids := self._tokenizer.encode(text).tolist()) != [token]
        ]
        if wrong:
            raise ManifestError(
                f"the tokenizer does not fit the manifest's token ids: {'; '.join(wrong)}. "
                "Export the bundle again."
            )
