"""What an output is told of a part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A final record on its way out.

    number: of the part. journal: marks the journal, so that the numbers of two never mix. record:
    as ``FinalRecord.to_json``.
    """

    number: int
    journal: str
    record: dict[str, Any]

    @property
    def key(self) -> str:
        """The same for each attempt to tell of this part, and for no other part anywhere."""
        return f"{self.journal}-{self.number}"

    def to_json(self) -> dict[str, Any]:
        """The record with its place in the sequence."""
        return {"seq": self.number, "journal": self.journal, **self.record}

    def body(self) -> bytes:
        """The JSON in UTF-8, on one line."""
        return json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":")).encode()


class Channel(Protocol):
    """How one output is reached. Only ``cancel`` may be called from another thread."""

    def open(self) -> None:
        """Be reachable; called again and again, so it is quick when that is so already.

        Raises OutputError when it is not.
        """
        ...

    def send(self, message: Message) -> None:
        """Tell, and return once the other side has confirmed.

        Raises OutputError when it did not, and OutputRefusedError when it never will.
        """
        ...

    def cancel(self) -> None:
        """Have a ``send`` or ``open`` in another thread end soon."""
        ...

    def close(self) -> None:
        """Take leave."""
        ...
