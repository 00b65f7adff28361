"""Changes of products and goldens while the line runs: one at a time, whole or not at all.

A change counts once the worker has taken it between two parts and the journal has it, with who did
it. What the worker can't use is refused, and everything stays as it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import ConfigError, GoldenError, InputError, JournalError, NotReadyError
from adcopilot_edge.runtime.daemon.golden_revisions import STATION_FILE, Shelf, StoredGolden
from adcopilot_edge.runtime.daemon.golden_shelf import GoldenShelf
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.line import Line
from adcopilot_edge.runtime.daemon.messages import NewProducts, ProductSetup
from adcopilot_edge.runtime.daemon.station_file import ProductRecipe, StationFile

Setups = dict[str, ProductSetup]


class ProductChanges:
    """The products of a daemon and every way to change them. May be shared by threads.

    settings: gives the station file in use. images: the folder of kept images. on_change: told of
    the products after each change.
    """

    def __init__(
        self,
        *,
        shelf: GoldenShelf,
        journal: Journal,
        line: Line,
        life: Life,
        settings: Callable[[], StationFile],
        images: Path,
        on_change: Callable[[Setups], None] = lambda setups: None,
    ) -> None:
        self.shelf = shelf
        self._journal = journal
        self._line = line
        self._life = life
        self._settings = settings
        self._images = images
        self._on_change = on_change
        self._lock = threading.Lock()

    def shelf_of(self, product: str) -> Shelf:
        """The goldens of a product. Raises ConfigError when there is no such product."""
        return self.shelf.read(self._settings().product(product).name)

    def add(self, product: str, image: bytes, *, who: str, origin: str = "upload") -> StoredGolden:
        """Take in a golden; it waits for its approval.

        Raises:
            ConfigError: There is no such product.
            InputError: It is no image, or of other proportions than the goldens in use.
            GoldenError: It is in use already, or too many wait.
            StateFolderError: It can't be written.
            JournalError: It could not be noted.
        """
        name = self._settings().product(product).name
        with self._lock:
            golden = self.shelf.place(name, image, who=who, origin=origin)
            before = self.shelf.read(name)
            after = before.adding(golden)
            if after is not before:
                self._keep(name, after, who, "golden.added", golden=golden.id, origin=origin)
            return after.golden(golden.id)

    def add_part(self, product: str, part: int, *, who: str) -> StoredGolden:
        """Take in the kept image of a part as a golden. Raises as ``add``.

        InputError also when the part is of another product, or its image was not kept.
        """
        record = self._journal.record(part)
        if record is None:
            raise InputError(f"there is no final record of a part {part}")
        if record["product"] != product:
            raise InputError(f"part {part} is of the product {record['product']}, not {product}")
        image = kept_image(self._journal, self._images, part)
        if image is None:
            raise InputError(f"the image of part {part} was not kept, or was removed since")
        return self.add(product, image, who=who, origin=f"part {part}")

    def approve(self, product: str, golden_id: str, *, who: str) -> Shelf:
        """Put a golden in use, as a new revision.

        Raises:
            ConfigError: There is no such product or golden.
            GoldenError: It is in use already.
            InputError: The worker can't use it; nothing has changed.
            NotReadyError: The daemon is not ready, or ended meanwhile.
            JournalError: It could not be noted; nothing has changed.
        """
        with self._lock:
            before = self.shelf_of(product)
            after = before.approving(golden_id, who, time.time())
            details = {"golden": golden_id, "revision": after.in_use}
            return self._use(product, after, who, "golden.approved", **details)

    def roll_back(self, product: str, *, who: str) -> Shelf:
        """Put the revision before in use again. Raises as ``approve``."""
        with self._lock:
            before = self.shelf_of(product)
            after = before.rolling_back()
            details = {"revision": after.in_use, "before": before.in_use}
            return self._use(product, after, who, "goldens.rolled_back", **details)

    def discard(self, product: str, golden_id: str, *, who: str) -> Shelf:
        """Remove a pending golden.

        Raises ConfigError when there is none such, GoldenError when it is not pending, and
        JournalError.
        """
        with self._lock:
            before = self.shelf_of(product)
            golden = before.golden(golden_id)
            after = before.discarding(golden_id)
            self._keep(product, after, who, "golden.removed", golden=golden_id)
            if golden not in after.stored:
                self.shelf.drop(product, golden)
            return after

    def choose(self, station: str, product: str, *, who: str) -> None:
        """Have a station inspect another product from the next part on.

        Raises:
            ConfigError: There is no such station or product.
            GoldenError: The product has no golden in use.
            JournalError: It could not be noted.
        """
        settings = self._settings()
        name = settings.station(station).name
        with self._lock:
            if not self.shelf_of(product).current.goldens:
                raise GoldenError(
                    f"the product {product} has no golden in use; add one and approve it first"
                )
            facts = {f"product:{name}": product}
            details = {"station": name, "product": product}
            self._journal.decide(who, "station.product", facts, **details).result()

    def use_file(
        self, settings: StationFile, who: str, swap: Callable[[], None], **details: Any
    ) -> None:
        """Go by another station file from the next part on; swap: makes it the one in use.

        A station for which the file now names another product has that one, whatever was chosen.

        Raises:
            ConfigError: A golden it lists can't be used, or it lacks a product that was chosen for
                a station; nothing has changed.
            InputError, NotReadyError, JournalError: As for ``approve``.
        """
        with self._lock:
            shelves = {item.name: self.shelf.following(item) for item in settings.products}
            changed = {
                name: shelf for name, shelf in shelves.items() if shelf != self.shelf.read(name)
            }
            facts = {**self.shelf.facts(changed), **self._choices(settings)}
            before = self._setups()
            after = setups_of(settings, self.shelf, shelves)
            self._have_worker_take(after)
            try:
                self._journal.decide(who, "station_file.reloaded", facts, **details).result()
            except JournalError:
                self._line.use_products(NewProducts(products=before)).result()
                raise
            swap()
        self._on_change(after)

    def _choices(self, settings: StationFile) -> dict[str, None]:
        """The choices that another station file ends. Raises ConfigError."""
        ended: dict[str, None] = {}
        before = {station.name: station.product for station in self._settings().stations}
        known = {product.name for product in settings.products}
        for station in settings.stations:
            if before.get(station.name, station.product) != station.product:
                ended[f"product:{station.name}"] = None
            elif (chosen := self._journal.fact(f"product:{station.name}")) not in (None, *known):
                raise ConfigError(
                    f"station {station.name} has the product {chosen} now, which the station file "
                    "no longer lists; choose another one first"
                )
        return ended

    def _use(self, product: str, shelf: Shelf, who: str, action: str, **details: Any) -> Shelf:
        before = self._setups()
        recipe = self._settings().product(product)
        after = {**before, product: product_setup(recipe, self.shelf, shelf)}
        self._have_worker_take(after)
        try:
            self._keep(product, shelf, who, action, **details)
        except JournalError:
            self._line.use_products(NewProducts(products=before)).result()
            raise
        self._on_change(after)
        return shelf

    def _have_worker_take(self, setups: Setups) -> None:
        if not self._life.is_ready:
            raise NotReadyError(
                f"the daemon is {self._life.state}; nothing was changed",
                retry_after_s=self._life.ready_in_s(),
            )
        problem = self._line.use_products(NewProducts(products=setups)).result()
        if problem is not None:
            raise InputError(f"{problem}. Nothing was changed")

    def _keep(self, product: str, shelf: Shelf, who: str, action: str, **details: Any) -> None:
        self.shelf.keep({product: shelf}, who, action, product=product, **details)

    def _setups(self) -> Setups:
        settings = self._settings()
        shelves = {item.name: self.shelf.read(item.name) for item in settings.products}
        return setups_of(settings, self.shelf, shelves)


def place_listed(settings: StationFile, shelf: GoldenShelf) -> Setups:
    """The products at the start of a daemon; what the station file lists is on the shelf then.

    Raises ConfigError for a golden that can't be used.
    """
    shelves = {item.name: shelf.following(item) for item in settings.products}
    changed = {name: one for name, one in shelves.items() if one != shelf.read(name)}
    if changed:
        shelf.keep(changed, STATION_FILE, "goldens.listed", products=sorted(changed))
    return setups_of(settings, shelf, shelves)


def setups_of(settings: StationFile, shelf: GoldenShelf, shelves: Mapping[str, Shelf]) -> Setups:
    """The products as the worker needs them."""
    return {item.name: product_setup(item, shelf, shelves[item.name]) for item in settings.products}


def product_setup(recipe: ProductRecipe, shelf: GoldenShelf, goldens: Shelf) -> ProductSetup:
    """A product as the worker needs it."""
    return ProductSetup(
        goldens=shelf.paths(recipe.name, goldens),
        revision=goldens.in_use,
        choose=recipe.choose,
        tasks=recipe.tasks,
        threshold=recipe.threshold,
        roi=recipe.roi,
        tile=recipe.tile,
        max_new_tokens=recipe.max_new_tokens,
    )


def kept_image(journal: Journal, images: Path, part: int) -> bytes | None:
    """The bytes of a part's image as they came; None where it was not kept or is gone."""
    rows = journal.read("SELECT image_file FROM parts WHERE id = ?", part)
    if not rows or rows[0]["image_file"] is None:
        return None
    path = images / rows[0]["image_file"]
    return path.read_bytes() if path.is_file() else None
