"""The text of growing ids, piece by piece: only what no later token can change."""

from __future__ import annotations

from adcopilot_edge.runtime.tokenizer import TextTokenizer

_HALF_A_LETTER = "\ufffd"


class TextPieces:
    """The pieces of one answer; joined they are what ``TextTokenizer.decode`` returns."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._sent = ""

    def add(self, token: int) -> str:
        """Return the text that is certain with one more token; often it is empty.

        White space waits for the next word, and the bytes of a letter for each other.
        """
        self._ids.append(token)
        return self._unsent(self._tokenizer.decode(self._ids).rstrip(_HALF_A_LETTER).rstrip())

    def rest(self) -> str:
        """Return what was held back, at the end."""
        return self._unsent(self._tokenizer.decode(self._ids))

    def _unsent(self, text: str) -> str:
        piece = text[len(self._sent) :]
        self._sent += piece
        return piece
