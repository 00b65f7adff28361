"""Which normal image each query is compared with: the one its data set names, or the most alike.

Opens no picture: it goes by what ``look_at`` kept of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.look import Look
from adcopilot_edge.training.chat_ad.mined import TemplateRule
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage

Tell = Callable[[Finding], None]
"""Is told what can't be mined, and why."""

TRAIN = "train"
_BLOCK = 512  # queries that are held against all normal images at a time
_ASPECT_TOLERANCE = 0.02  # as between golden and test image of an inspection
_DIGITS = 5  # of a similarity; how products are summed up differs between machines behind them


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A query and its template: all that is needed of other images to mine it.

    The fields are those of ``MinedPair``; category_labels: those of all the category's defects, as
    the data set has them, sorted.
    """

    key: str
    image: SourceImage
    template: Path
    query_size: tuple[int, int]
    template_size: tuple[int, int]
    rule: TemplateRule
    similarity: float
    category_labels: tuple[str, ...] = ()


def match_images(
    images: Sequence[SourceImage],
    looks: Mapping[Path, Look],
    *,
    roots: Mapping[str, Path],
    tell: Tell,
) -> Iterator[Match]:
    """A template for every image, category by category, in the order of the images in each.

    A template is a normal image of the same source and category, never the query itself nor one
    with the same pixels. It is the one that the data set names. Else images of the query's
    proportions (the same camera) come before all others, then those for training, then the one most
    alike: by the cosine of their vectors times the ratio of their proportions, the first by key
    where several are equal.

    Args:
        images: Whole categories, of one or several sources.
        looks: At all of ``pictures_of``; of those without one, which can't be read, the caller has
            told already.
        roots: The folder of each source, for the keys.
        tell: Is told what gets no template.

    Raises:
        DatasetError: An image is not in the folder of its source, or that folder is not named.
    """
    groups: dict[tuple[str, str], dict[str, SourceImage]] = defaultdict(dict)
    keys: set[str] = set()
    for image in images:
        key = _key(image, roots)
        if key in keys:
            tell(Finding(image.path, "is given twice; the second is left out"))
        elif image.path in looks:
            groups[image.source, image.category][key] = image
        keys.add(key)
    for group in groups.values():
        yield from _match_category(group, looks, tell)


def _key(image: SourceImage, roots: Mapping[str, Path]) -> str:
    """Source and path in it; readers may give the path with links resolved."""
    root = roots.get(image.source)
    if root is None:
        raise DatasetError(f"nobody says in which folder the source {image.source} is; name it")
    for folder in (root, root.absolute(), root.resolve()):
        if image.path.is_relative_to(folder):
            return f"{image.source}/{image.path.relative_to(folder).as_posix()}"
    raise DatasetError(f"{image.path} is not in {root}, the folder of {image.source}; move it in")


def _match_category(
    group: Mapping[str, SourceImage], looks: Mapping[Path, Look], tell: Tell
) -> Iterator[Match]:
    """The matches of one category, its images by key."""
    labels = {defect.label for image in group.values() for defect in image.defects}
    named: dict[str, Look] = {}
    for key, image in group.items():
        template = _named(image, looks, tell)
        if template is not None:
            named[key] = template
    pool = _Pool([image for _, image in sorted(group.items()) if image.is_normal], looks)
    found = pool.most_alike([looks[group[key].path] for key in group if key not in named])
    alike = dict(zip((key for key in group if key not in named), found, strict=True))
    for key, image in group.items():
        query = looks[image.path]
        template = named.get(key) or alike[key]
        if template is None:
            tell(
                Finding(
                    image.path,
                    f"has no template: the category {image.category} has no other normal image, "
                    "copies don't count; add one",
                )
            )
            continue
        is_aligned = key in named and template.size == query.size
        yield Match(
            key=key,
            image=image,
            template=template.path,
            query_size=query.size,
            template_size=template.size,
            rule="aligned" if is_aligned else "similar",
            similarity=1.0 if is_aligned else _similarity(query, template),
            category_labels=tuple(sorted(labels)),
        )


def _named(image: SourceImage, looks: Mapping[Path, Look], tell: Tell) -> Look | None:
    """The template that the data set names, if it can be one."""
    if image.template is None:
        return None
    template = looks.get(image.template)
    if template is None:
        tell(Finding(image.path, f"its template {image.template} can't be read; another is taken"))
    elif template.pixels == looks[image.path].pixels:
        tell(
            Finding(
                image.path, f"has the pixels of its template {image.template}; another is taken"
            )
        )
        return None
    return template


class _Pool:
    """The normal images of a category, by key, and the search in them."""

    def __init__(self, images: Sequence[SourceImage], looks: Mapping[Path, Look]) -> None:
        self.looks = [looks[image.path] for image in images]
        self.is_train = np.array([image.split == TRAIN for image in images], dtype=bool)
        self.numbers = {look.pixels: number for number, look in enumerate(self.looks)}
        self.pixels = self._pixels(self.looks)

    def most_alike(self, queries: Sequence[Look]) -> list[Look | None]:
        """The template of each query, None where there is none."""
        if not self.looks:
            return [None] * len(queries)
        found: list[Look | None] = []
        for start in range(0, len(queries), _BLOCK):
            block = queries[start : start + _BLOCK]
            ratios = _ratios(block, self.looks)
            is_usable = self._pixels(block)[:, np.newaxis] != self.pixels
            rank = _similarities(block, self.looks) + 4 * self.is_train  # beyond any similarity
            rank += 8 * (ratios > 1 - _ASPECT_TOLERANCE)
            best = np.where(is_usable, rank, -np.inf).argmax(axis=1)
            found += [
                self.looks[int(place)] if is_usable[row, place] else None
                for row, place in enumerate(best)
            ]
        return found

    def _pixels(self, looks: Sequence[Look]) -> NDArray[np.int64]:
        """Numbers that are equal where pixels are; -1 for pixels that no normal image has."""
        return np.array([self.numbers.get(look.pixels, -1) for look in looks], dtype=np.int64)


def _similarities(queries: Sequence[Look], looks: Sequence[Look]) -> NDArray[np.floating]:
    """(queries, looks): cosine times the ratio of the proportions, -1..1, rounded."""
    cosine = np.stack([look.vector for look in queries]) @ np.stack([one.vector for one in looks]).T
    return np.asarray(np.clip(cosine * _ratios(queries, looks), -1, 1).round(_DIGITS))


def _ratios(queries: Sequence[Look], looks: Sequence[Look]) -> NDArray[np.float64]:
    """(queries, looks): the smaller ratio of width to height by the larger one, 0..1."""
    one, other = (
        np.array([look.size[0] / look.size[1] for look in side]) for side in (queries, looks)
    )
    ratio = one[:, np.newaxis] / other
    return np.asarray(np.minimum(ratio, 1 / ratio))


def _similarity(query: Look, template: Look) -> float:
    return float(_similarities([query], [template])[0, 0])
