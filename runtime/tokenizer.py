"""Text to token ids and back. Knows nothing of prompts, images or positions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from adcopilot_edge.errors import InputError, ManifestError
from adcopilot_edge.types import IntArray


class TextTokenizer:
    """The tokenizer of a bundle.

    Args:
        path: A tokenizer.json of the tokenizers library.

    Raises:
        ManifestError: The file is no tokenizer.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as err:  # the library raises nothing more specific
            raise ManifestError(f"{path} is no tokenizer: {err}. Copy the bundle again.") from err
        added = self._tokenizer.get_added_tokens_decoder().values()
        self._special = tuple(token.content for token in added if token.special)

    def encode(self, text: str) -> IntArray:
        """Return the ids (T,) of ``text``; special tokens in it count as such, none are added."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids`` without special tokens and outer white space."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def id_of(self, token: str) -> int | None:
        """Return the id of one token, or None if the vocabulary lacks it."""
        return self._tokenizer.token_to_id(token)

    def check_plain(self, text: str) -> None:
        """Raise InputError if ``text`` holds a special token: a user's words are no markup."""
        found = [token for token in self._special if token in text]
        if found:
            raise InputError(
                f"the question holds {', '.join(found)}, which the prompt reserves. Leave it out"
            )
