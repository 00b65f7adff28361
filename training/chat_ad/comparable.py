"""Which categories have no normal image to compare with, and why a curation has no pair at all.

Goes by what data sets say. That two normal images are copies, or that one can't be read, is found
later, by ``match``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from adcopilot_edge.training.chat_ad.left_out import LeftOut
from adcopilot_edge.training.chat_ad.source import SourceImage

_MOST_NAMED = 5
# The pair is there without the place or with another template; what a reader found is told again
# where it costs a pair.
_NO_REASONS = ("defect not placed", "template not used", "unusable")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneCategory:
    """A category with images for which neither it nor the data set has a template.

    normal, defective: how many of them.
    """

    source: str
    category: str
    normal: int
    defective: int

    @property
    def words(self) -> str:
        """What it has and what it lacks, for a person."""
        if not self.defective:
            return "1 normal image and no other one to compare it with"
        many = self.defective > 1
        return (
            f"{self.defective} defective image{'s' if many else ''} and no normal one to compare "
            f"{'them' if many else 'it'} with"
        )


def lone_categories(images: Iterable[SourceImage]) -> list[LoneCategory]:
    """The categories none of whose images without a template of their own can get one."""
    groups: dict[tuple[str, str], list[SourceImage]] = defaultdict(list)
    for image in images:
        groups[image.source, image.category].append(image)
    found = []
    for (source, category), group in groups.items():
        num_normal = sum(image.is_normal for image in group)
        bare = [image for image in group if image.template is None]
        is_single = num_normal == 1 and len(bare) == 1 and bare[0].is_normal
        if bare and (not num_normal or is_single):
            found.append(
                LoneCategory(
                    source=source,
                    category=category,
                    normal=sum(image.is_normal for image in bare),
                    defective=sum(not image.is_normal for image in bare),
                )
            )
    return found


def count_comparable(images: Iterable[SourceImage]) -> int:
    """How many images may become pairs, at most."""
    found = list(images)
    return len(found) - sum(one.normal + one.defective for one in lone_categories(found))


def reasons_for_no_pair(left_out: Iterable[LeftOut], lone: Iterable[LoneCategory] = ()) -> str:
    """Why nothing is left, by source and reason, and what to do about it."""
    details: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in left_out:
        if one.reason not in _NO_REASONS:
            details[one.source, one.reason].append(one.detail)
    lacking = [f"{one.source}/{one.category}: {one.words}" for one in lone]
    reasons = lacking + [
        f"{source}: {len(found)} left out, {reason}{_shortened(found, reason)}"
        for (source, reason), found in details.items()
    ]
    shown = reasons[:_MOST_NAMED] or ["the sources hold nothing to compare"]
    if len(reasons) > _MOST_NAMED:
        shown.append(f"and {len(reasons) - _MOST_NAMED} more such reasons")
    normal = "normal images of the same products, or " if lacking else ""
    return (
        f"{'; '.join(shown)}. Add {normal}another data set; --dry-run counts what is left of each"
    )


def _shortened(details: Iterable[str], reason: str) -> str:
    """The first detail in brackets; of classes, which are short, several."""
    distinct = list(dict.fromkeys(filter(None, details)))
    if not distinct:
        return ""
    if reason != "evaluated class":
        return f" ({distinct[0]})"
    more = [f"{len(distinct) - _MOST_NAMED} more"] if len(distinct) > _MOST_NAMED else []
    return f" ({', '.join(distinct[:_MOST_NAMED] + more)})"
