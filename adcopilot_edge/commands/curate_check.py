"""``curate --check``: what folders of data sets hold, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.errors import DatasetError

if TYPE_CHECKING:
    from adcopilot_edge.training.chat_ad.leakage import ClassList
    from adcopilot_edge.training.chat_ad.source import Finding, SourceImage


def check_sources(
    sources: Sequence[Path], layout: str | None, exclude_classes: str | None, *, as_json: bool
) -> bool:
    """Print what the folders hold; returns whether nothing is wrong with any.

    exclude_classes: as for a curation, which leaves their images out. Raises ConfigError where that
    list can't be used.
    """
    from adcopilot_edge.training.chat_ad.leakage import ClassList, read_classes

    excluded = read_classes(exclude_classes) if exclude_classes else ClassList()
    checked = []
    with StepProgress() as progress:
        for number, root in enumerate(sources):
            progress("data sets", number, len(sources))
            checked.append(_check(root, layout, excluded))
    num_findings = sum(len(one.findings) for one in checked)
    if as_json:
        print_json({"sources": [one.to_json() for one in checked], "findings": num_findings})
    else:
        for one in checked:
            _print(one)
    return not num_findings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What a folder holds; layout: None where no reader knows it. excluded: images left out."""

    root: Path
    layout: str | None
    images: list[SourceImage]
    excluded: int
    findings: list[Finding]

    @property
    def labels(self) -> dict[str, int]:
        """The number of defects of each label, by label."""
        counts = Counter(defect.label for image in self.images for defect in image.defects)
        return dict(sorted(counts.items()))

    @property
    def placed(self) -> int:
        """Of how many defects the place is known."""
        return sum(defect.is_placed for image in self.images for defect in image.defects)

    @property
    def normal(self) -> int:
        """How many images have no defect."""
        return sum(image.is_normal for image in self.images)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.root),
            "layout": self.layout,
            "images": len(self.images),
            "excluded": self.excluded,
            "normal": self.normal,
            "defective": len(self.images) - self.normal,
            "defects": self.labels,
            "placed": self.placed,
            "findings": [{"path": str(one.path), "what": one.what} for one in self.findings],
        }


def _check(root: Path, layout: str | None, excluded: ClassList) -> _Checked:
    """What ``root`` holds; whatever is wrong with it becomes a finding, so that others follow."""
    from adcopilot_edge.training.chat_ad.comparable import lone_categories
    from adcopilot_edge.training.chat_ad.readers import find_reader
    from adcopilot_edge.training.chat_ad.source import Finding

    try:
        reader = find_reader(root, layout)
    except DatasetError as err:
        wrong = [Finding(root, str(err))]
        return _Checked(root=root, layout=None, images=[], excluded=0, findings=wrong)
    held = reader.survey(root, source=root.resolve().name)
    images = [image for image in held.images if image not in excluded]
    lone = [
        Finding(
            root,
            f"the category {one.category} has {one.words}, so no pair can be made of that; add "
            "normal images of the same product to the data set, or leave it out",
        )
        for one in lone_categories(images)
    ]
    return _Checked(
        root=root,
        layout=reader.name,
        images=images,
        excluded=len(held.images) - len(images),
        findings=[*held.findings, *lone],
    )


def _print(checked: _Checked) -> None:
    print_fact("folder", str(checked.root))
    print_fact("layout", checked.layout or "none of the known ones")
    num_images, normal = len(checked.images), checked.normal
    print_fact("images", f"{num_images}: {normal} normal, {num_images - normal} defective")
    if checked.excluded:
        print_fact("excluded", f"{checked.excluded} images of classes that are evaluated on")
    if labels := checked.labels:
        print_fact("defects", f"{sum(labels.values())}, {checked.placed} of them placed")
        print_rows((" ".join(label.split()), str(count)) for label, count in labels.items())
    print_fact("wrong", str(len(checked.findings)) if checked.findings else "nothing")
    for finding in checked.findings:
        print(f"  {finding.path}: {finding.what}")
