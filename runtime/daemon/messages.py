"""What the daemon and its worker process say to each other, pickled over a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adcopilot_edge.runtime.daemon.life import State
from adcopilot_edge.runtime.golden_set import Choice
from adcopilot_edge.runtime.images import MAX_PIXELS
from adcopilot_edge.runtime.stream import Event
from adcopilot_edge.types import Inspection, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSetup:
    """A product as the worker needs it.

    goldens: files of its golden images; without any no part can be inspected. revision: of the
    goldens on the shelf. roi: (x1, y1, x2, y2) of golden and part in pixels, or None. The others
    are those of ``ProductRecipe``.
    """

    goldens: tuple[Path, ...]
    revision: int = 0
    choose: Choice = "nearest"
    tasks: tuple[Task, ...] = ()
    threshold: float | None = None
    roi: tuple[int, int, int, int] | None = None
    tile: bool = False
    max_new_tokens: int = 128

    def recipe(self, ask: str | None) -> dict[str, Any]:
        """All that a part's result depends on beside images and bundle, as its record has it."""
        return {
            "golden_revision": self.revision,
            "choose": self.choose,
            "tasks": list(self.tasks),
            "ask": ask,
            "threshold": self.threshold,
            "roi": None if self.roi is None else list(self.roi),
            "tile": self.tile,
            "max_new_tokens": self.max_new_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """What a worker starts with.

    packs: folder of the golden packs. nice: how much its process stands back behind others, 0 to
    19. public_key: that signed the bundle, or None when nobody asks. max_pixels, max_image_bytes:
    of a part's picture. For the others see ``Inspector.open``.
    """

    bundle: Path | None
    provider: str
    threads: int | None
    packs: Path
    products: Mapping[str, ProductSetup]
    nice: int = 0
    public_key: Path | None = None
    max_pixels: int = MAX_PIXELS
    max_image_bytes: int = 1 << 30

    def with_products(self, products: Mapping[str, ProductSetup]) -> WorkerSetup:
        """The same setup with other products."""
        return replace(self, products=products)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A part to inspect.

    takt_ms: what is left of its time. has_events: tell words as they come. golden: the file of a
    golden for this part, in place of the product's.
    """

    number: int
    image: bytes
    product: str
    tasks: tuple[Task, ...] | None
    ask: str | None
    takt_ms: float | None
    has_events: bool = False
    golden: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProducts:
    """Other products, or other goldens of a product, from the next job on."""

    products: Mapping[str, ProductSetup]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End when the job in hand is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """The worker is in another state of its start."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker takes jobs. bundle: its id. engine: provider and precision in use."""

    bundle: str
    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductsTaken:
    """The new products are in use, or why they are not."""

    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The worker can't start. exit_code: of the error."""

    message: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event of the job in hand, before it is done."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A job is done: its inspection, or what is wrong.

    is_image_fault, is_question_fault: whether the picture or the question is to blame.
    golden_sha256: of the golden that counted. recipe: what it was inspected with, see
    ``ProductSetup.recipe``.
    """

    number: int
    inspection: Inspection | None = None
    golden_sha256: str | None = None
    problem: str | None = None
    is_image_fault: bool = False
    recipe: dict[str, Any] | None = None
    is_question_fault: bool = False


ToWorker = Job | NewProducts | Stop
FromWorker = Entered | Ready | ProductsTaken | Refused | Told | Done
