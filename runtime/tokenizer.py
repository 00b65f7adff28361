"""Text to token ids and back. Knows nothing of prompts, images or positions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers

from adcopilot_edge.errors import ManifestError, QuestionError
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

    def byte_strings(self) -> dict[int, bytes] | None:
        """Return the bytes of each token that is not an added one, by id.

        None where the vocabulary is not one of bytes, as GPT-2's and Qwen's are.
        """
        words = self._tokenizer.get_vocab(with_added_tokens=False)
        for token in self._tokenizer.get_added_tokens_decoder().values():
            words.pop(token.content, None)
        letters = _byte_letters()
        if not {letter for word in words for letter in word} <= letters.keys():
            return None
        table = {ord(letter): byte for letter, byte in letters.items()}
        return {token: word.translate(table).encode("latin-1") for word, token in words.items()}

    def check_plain(self, text: str) -> None:
        """Raise QuestionError if ``text`` holds a special token: a user's words are no markup."""
        found = [token for token in self._special if token in text]
        if found:
            raise QuestionError(
                f"the question holds {', '.join(found)}, which the prompt reserves. Leave it out"
            )


def _byte_letters() -> dict[str, int]:
    """The letter that byte-level vocabularies write for each byte: printable ones for themselves.

    The others take the letters from U+0100 on, in order.
    """
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    plain = {chr(byte): byte for byte in range(256) if chr(byte) in alphabet}
    others = (byte for byte in range(256) if chr(byte) not in alphabet)
    return plain | dict(zip(sorted(alphabet - plain.keys()), others, strict=True))
