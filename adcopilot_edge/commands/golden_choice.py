"""Which golden images ``inspect`` goes by: one, several, or a product's packs; and which it took.

Knows nothing of test images beyond their place among the words of the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.commands.printing import print_fact, print_rows
from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.runtime.golden_set import Choice, GoldenSet
    from adcopilot_edge.runtime.inspector import Inspector
    from adcopilot_edge.types import ImageArray, Inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenChoice:
    """The golden of an inspection: the file of a single one, or a set with a name for each."""

    golden: Path | GoldenSet
    names: tuple[str, ...] = ()

    def tell(self, inspection: Inspection) -> dict[str, Any]:
        """For a set, what ``inspect --json`` adds under ``goldens``: one object for each golden.

        ``golden`` is the file or the product's pack, ``taken`` whether boxes and words are those
        of the inspection against it, ``verdict`` its vote, or null where it had none.
        """
        if isinstance(self.golden, Path):
            return {}
        taken, votes = self._taken(inspection), _note(inspection, "golden_votes")
        verdicts = [None] * len(self.names) if votes is None else votes.split(",")
        rows = zip(self.names, self.golden.references, verdicts, strict=True)
        return {
            "goldens": [
                {
                    "golden": name,
                    "golden_sha256": reference.image_sha256,
                    "verdict": verdict,
                    "taken": index == taken,
                }
                for index, (name, reference, verdict) in enumerate(rows)
            ]
        }

    def print_told(self, inspection: Inspection) -> None:
        """Print the same for people."""
        if not (told := self.tell(inspection)):
            return
        goldens = told["goldens"]
        (taken,) = (one["golden"] for one in goldens if one["taken"])
        if goldens[0]["verdict"] is None:
            print_fact("golden", f"{taken}, the nearest of {len(goldens)}")
            return
        print_fact("golden", f"{len(goldens)} vote; boxes and words are those of {taken}")
        print_rows((one["golden"], one["verdict"]) for one in goldens)

    def picture(self, inspection: Inspection) -> ImageArray:
        """The picture (H, W, 3) of the golden that boxes and words of ``inspection`` belong to."""
        from adcopilot_edge.runtime.images import open_image

        if isinstance(self.golden, Path):
            return open_image(self.golden)
        return self.golden.references[self._taken(inspection)].image

    def _taken(self, inspection: Inspection) -> int:
        assert not isinstance(self.golden, Path)
        if (place := _note(inspection, "golden_shown")) is not None:
            return int(place)
        nearest = _note(inspection, "golden_nearest")
        starts = [reference.image_sha256[:16] for reference in self.golden.references]
        return starts.index(nearest or "")


def split_pictures(
    pictures: Sequence[Path], further: Sequence[Path], product: str | None, choose: str | None
) -> tuple[list[Path], list[Path]]:
    """Which of the pictures that were named in order are golden images, and which test images.

    Raises:
        ConfigError: There is no test image, or the options contradict each other.
    """
    if product is not None and further:
        raise ConfigError("--product brings the golden images: leave --golden out")
    if choose is not None and product is None and not further:
        raise ConfigError("--choose is among several golden images: add --golden or --product")
    num_first = 0 if product is not None else 1
    goldens, tests = [*pictures[:num_first], *further], list(pictures[num_first:])
    if not tests:
        raise ConfigError("name a golden image and a test image, or a test image and --product")
    return goldens, tests


def choose_goldens(
    inspector: Inspector, goldens: Sequence[Path], product: str | None, choose: Choice | None
) -> GoldenChoice:
    """Read the golden images where there are several, or those of a product.

    Args:
        inspector: Reads them.
        goldens: Files; none with a product.
        product: As in ``golden add --name``.
        choose: The way to choose among them; None is the nearest.

    Raises:
        ConfigError: Two files have the same pixels.
        InputError: A file can't be used.
        PackError: The product has no pack that can be used.
    """
    if product is None and len(goldens) == 1:
        return GoldenChoice(golden=goldens[0])
    from adcopilot_edge.runtime.golden_set import GoldenSet

    if product is not None:
        references = inspector.product(product)
        names = tuple(f"{product} {reference.image_sha256[:16]}" for reference in references)
    else:
        references, names = tuple(map(inspector.golden, goldens)), tuple(map(str, goldens))
    first: dict[str, str] = {}
    for reference, name in zip(references, names, strict=True):
        if (twin := first.get(reference.image_sha256)) is not None:
            raise ConfigError(f"the golden images {twin} and {name} have the same pixels: name one")
        first[reference.image_sha256] = name
    return GoldenChoice(golden=GoldenSet(references, choose or "nearest"), names=names)


def _note(inspection: Inspection, name: str) -> str | None:
    """What the note ``NAME:...`` says, or None."""
    return next(
        (note.partition(":")[2] for note in inspection.notes if note.startswith(f"{name}:")), None
    )
