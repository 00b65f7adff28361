"""The images that a curation begins with. Opens no picture but for its header.

Knows no pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.leakage import ClassList, read_classes
from adcopilot_edge.training.chat_ad.left_out import LeftOut
from adcopilot_edge.training.chat_ad.plan import CurationPlan
from adcopilot_edge.training.chat_ad.readers import find_reader
from adcopilot_edge.training.chat_ad.source import SourceImage
from adcopilot_edge.types import OnStep


def read_sources(plan: CurationPlan, report: OnStep) -> tuple[list[SourceImage], list[LeftOut]]:
    """The images of all sources but for excluded classes, and what is wrong with the folders.

    A source that gives the same file twice gives it once.

    Raises:
        DatasetError: A folder can't be read.
        ConfigError: The list of classes can't be used.
    """
    excluded = read_classes(plan.exclude_classes) if plan.exclude_classes else ClassList()
    images: list[SourceImage] = []
    left_out: list[LeftOut] = []
    roots = plan.roots()
    for number, (source, root) in enumerate(roots.items()):
        report("reading", number, len(roots))
        held = find_reader(root, plan.layout).survey(root, source=source)
        if not held.images:
            first = held.findings[0]
            raise DatasetError(f"{first.path}: {first.what}; --check lists all that is wrong")
        left_out += [
            LeftOut(
                what=str(one.path), source=source, step="read", reason="unusable", detail=one.what
            )
            for one in held.findings
        ]
        for image in held.images:
            if image in excluded:
                left_out.append(
                    LeftOut(
                        what=str(image.path),
                        source=source,
                        step="exclude",
                        reason="evaluated class",
                        detail=image.category,
                    )
                )
            else:
                images.append(image)
    report("reading", len(roots), len(roots))
    return (images if plan.limit is None else limit_images(images, plan.limit)), left_out


def limit_images(images: Sequence[SourceImage], limit: int) -> list[SourceImage]:
    """At most ``limit`` images of each category, spread evenly, in their order.

    Half of them normal and half defective; where one kind has fewer, the other has more.
    """
    groups: dict[tuple[str, str], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number, image in enumerate(images):
        groups[image.source, image.category][image.is_normal].append(number)
    chosen: set[int] = set()
    for defective, normal in groups.values():
        num_defective = min(len(defective), max(limit // 2, limit - len(normal)))
        chosen.update(_spread(defective, num_defective))
        chosen.update(_spread(normal, limit - num_defective))
    return [images[number] for number in sorted(chosen)]


def _spread(numbers: Sequence[int], count: int) -> Iterable[int]:
    if count >= len(numbers):
        return numbers
    return (numbers[place * len(numbers) // count] for place in range(count))
