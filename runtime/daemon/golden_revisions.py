"""Which goldens a product has: what was added, what is in use, and what was before.

Values only: every change gives a new ``Shelf``. Knows nothing of files, and nothing of the worker.
"""

from __future__ import annotations

from typing import Any, Literal

from adcopilot_edge.errors import GoldenError, UnknownNameError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.part import iso_time

STATION_FILE = "station file"
_ID_DIGITS = 16
_MAX_PENDING = 64

GoldenState = Literal["in use", "pending", "retired"]


class StoredGolden(Record):
    """A golden image that is on the shelf.

    sha256: of its file's bytes. file: its name in the product's folder. width, height: in pixels.
    added_at: seconds since 1970. origin: ``station file``, ``upload``, or ``part 12``.
    """

    sha256: str
    file: str
    width: int
    height: int
    added_at: float
    added_by: str
    origin: str

    @property
    def id(self) -> str:
        """How it is called: the first digits of its hash."""
        return self.sha256[:_ID_DIGITS]


class Revision(Record):
    """A set of goldens that is or was in use. parent: the revision that it was made of."""

    number: int
    goldens: tuple[str, ...]
    parent: int | None
    made_at: float
    made_by: str


class Shelf(Record):
    """The goldens of one product.

    stored: all of them, oldest first. listed: ids of those that the station file lists. pending:
    ids of those that nobody has approved. revisions: by number, from 0. in_use: number of one.
    """

    stored: tuple[StoredGolden, ...] = ()
    listed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    revisions: tuple[Revision, ...] = ()
    in_use: int = 0

    @property
    def current(self) -> Revision:
        """The revision in use."""
        return self.revisions[self.in_use]

    def golden(self, golden_id: str) -> StoredGolden:
        """The golden of that id. Raises UnknownNameError."""
        for golden in self.stored:
            if golden.id == golden_id:
                return golden
        raise UnknownNameError(f"there is no golden {golden_id!r} of this product")

    def revision(self, number: int) -> Revision:
        """The revision of that number. Raises UnknownNameError."""
        if not 0 <= number < len(self.revisions):
            raise UnknownNameError(
                f"there is no revision {number} of the goldens; the last is "
                f"{len(self.revisions) - 1}"
            )
        return self.revisions[number]

    def state_of(self, golden_id: str) -> GoldenState:
        """What a golden is at present."""
        if golden_id in self.current.goldens:
            return "in use"
        return "pending" if golden_id in self.pending else "retired"

    def following(self, listed: tuple[StoredGolden, ...], at: float) -> Shelf:
        """With the goldens that the station file lists now.

        Where they are others than before, a new revision has them, and those that were approved
        beside the former ones. The first revision is what the file lists first.
        """
        ids = tuple(dict.fromkeys(golden.id for golden in listed))
        shelf = self._with(*listed)
        if not self.revisions:
            return shelf._revised(ids, STATION_FILE, at, listed=ids)
        if ids == self.listed:
            return self
        own = tuple(name for name in self.current.goldens if name not in (*self.listed, *ids))
        return shelf._revised((*ids, *own), STATION_FILE, at, listed=ids)

    def adding(self, golden: StoredGolden) -> Shelf:
        """With a golden that waits for its approval.

        One that is pending stays so. Raises GoldenError when the same image is in use, or too many
        wait.
        """
        if golden.id in self.current.goldens:
            raise GoldenError(f"the golden {golden.id} is in use already")
        if golden.id in self.pending:
            return self
        if len(self.pending) >= _MAX_PENDING:
            raise GoldenError(
                f"{_MAX_PENDING} goldens of this product wait for approval; approve or remove some"
            )
        return self._with(golden).model_copy(update={"pending": (*self.pending, golden.id)})

    def approving(self, golden_id: str, who: str, at: float) -> Shelf:
        """With a new revision that has a golden which is pending or retired.

        Raises UnknownNameError, and GoldenError when it is in use.
        """
        self.golden(golden_id)
        if golden_id in self.current.goldens:
            raise GoldenError(f"the golden {golden_id} is in use already")
        shelf = self._revised((*self.current.goldens, golden_id), who, at, listed=self.listed)
        return shelf._without_pending(golden_id)

    def rolling_back(self) -> Shelf:
        """With the revision in use that the present one was made of. Raises GoldenError."""
        parent = self.current.parent
        if parent is None:
            raise GoldenError(
                f"revision {self.in_use} is the first of the product's goldens; there is none "
                "before it"
            )
        if not self.revisions[parent].goldens:
            raise GoldenError(
                f"revision {parent} has no goldens, so no part could be inspected with it"
            )
        return self.model_copy(update={"in_use": parent})

    def discarding(self, golden_id: str) -> Shelf:
        """Without a pending golden. Raises UnknownNameError, and GoldenError for any other."""
        self.golden(golden_id)
        if golden_id not in self.pending:
            raise GoldenError(
                f"the golden {golden_id} is {self.state_of(golden_id)}; only what is pending can "
                "be removed, for records tell of the others"
            )
        shelf = self._without_pending(golden_id)
        if any(golden_id in revision.goldens for revision in self.revisions):
            return shelf
        stored = tuple(golden for golden in self.stored if golden.id != golden_id)
        return shelf.model_copy(update={"stored": stored})

    def to_json(self) -> dict[str, Any]:
        """The shelf as the API tells it."""
        return {
            "revision": self.in_use,
            "goldens": [
                {
                    "id": golden.id,
                    "state": self.state_of(golden.id),
                    "sha256": golden.sha256,
                    "width": golden.width,
                    "height": golden.height,
                    "added_at": iso_time(golden.added_at),
                    "added_by": golden.added_by,
                    "origin": golden.origin,
                }
                for golden in self.stored
            ],
            "revisions": [
                {
                    "number": revision.number,
                    "goldens": list(revision.goldens),
                    "parent": revision.parent,
                    "made_at": iso_time(revision.made_at),
                    "made_by": revision.made_by,
                }
                for revision in self.revisions
            ],
        }

    def _with(self, *goldens: StoredGolden) -> Shelf:
        known = {golden.id for golden in self.stored}
        new = {golden.id: golden for golden in goldens if golden.id not in known}
        return self.model_copy(update={"stored": (*self.stored, *new.values())})

    def _without_pending(self, golden_id: str) -> Shelf:
        pending = tuple(name for name in self.pending if name != golden_id)
        return self.model_copy(update={"pending": pending})

    def _revised(
        self, goldens: tuple[str, ...], who: str, at: float, *, listed: tuple[str, ...]
    ) -> Shelf:
        revision = Revision(
            number=len(self.revisions),
            goldens=goldens,
            parent=self.in_use if self.revisions else None,
            made_at=at,
            made_by=who,
        )
        pending = tuple(name for name in self.pending if name not in goldens)
        return self.model_copy(
            update={
                "revisions": (*self.revisions, revision),
                "in_use": revision.number,
                "listed": listed,
                "pending": pending,
            }
        )
