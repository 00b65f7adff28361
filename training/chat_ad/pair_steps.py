"""The first half of a curation: from folders to the pairs that are kept.

Knows neither words nor shards. Each step leaves files and finds those of a run that was killed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.comparable import (
    count_comparable,
    lone_categories,
    reasons_for_no_pair,
)
from adcopilot_edge.training.chat_ad.duplicates import Repeat, find_repeats
from adcopilot_edge.training.chat_ad.fingerprint import Fingerprint
from adcopilot_edge.training.chat_ad.jobs import Picture, look_job, mine_job
from adcopilot_edge.training.chat_ad.leakage import EvaluationImages
from adcopilot_edge.training.chat_ad.left_out import LeftOut
from adcopilot_edge.training.chat_ad.look import pictures_of
from adcopilot_edge.training.chat_ad.look_file import Looks, load_looks
from adcopilot_edge.training.chat_ad.match import Match, match_images
from adcopilot_edge.training.chat_ad.mine import Mined
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.reading import read_sources
from adcopilot_edge.training.chat_ad.run import Run, refuse_leaks
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage
from adcopilot_edge.training.chat_ad.stage_file import read_records, write_records

_IMAGES = "images.jsonl"
_MOST_NAMED = 5


def read(run: Run) -> None:
    """Take the images of all sources into this run.

    Raises:
        DatasetError: A folder can't be read, no image is left that a normal one can be compared
            with, or, if the plan is strict, an image is of an evaluated class.
    """
    if run.work.is_done("read"):
        refuse_leaks(run.plan, run.left_out())  # which the run before may have allowed
        return
    images, left_out = read_sources(run.plan, run.report)
    refuse_leaks(run.plan, left_out)
    if not count_comparable(images):
        reasons = reasons_for_no_pair(left_out, lone_categories(images))
        raise DatasetError(f"no pair can be made: {reasons}")
    run.tell("1-read", left_out)
    write_records(run.work.path / _IMAGES, images)
    run.clear("pictures")
    run.write_parts("pictures", [Picture(path) for path in pictures_of(images)])
    run.work.finish("read")


def look(run: Run) -> None:
    """Look at all pictures, first at those that are evaluated on.

    Raises:
        DatasetError: One of those can't be read.
    """
    if not run.work.is_done("evaluated"):
        _look_at_evaluated(run)
        run.work.finish("evaluated")
    run.do(look_job, "pictures", "looks", step="looking")


def match(run: Run) -> None:
    """Leave out what leaks, and give every query its template, category by category.

    Raises:
        DatasetError: An image is evaluated on, and the plan is strict.
    """
    if run.work.is_done("match"):
        return
    run.clear("matches")
    evaluated = _evaluated(run)
    part_of = {
        picture.path: part
        for part, path in enumerate(run.parts("pictures"))
        for picture in read_records(path, Picture)
    }
    looks_files = run.parts("looks")
    leaks: list[LeftOut] = []
    lost: list[LeftOut] = []
    groups = _by_category(read_records(run.work.path / _IMAGES, SourceImage))
    for number, images in enumerate(groups):
        run.report("matching", number, len(groups))
        looks = Looks()
        for part in sorted({part_of[path] for path in pictures_of(images)}):
            looks.update(load_looks(looks_files[part]))
        found = [_leak(image, looks.fingerprints, evaluated) for image in images]
        leaks += [one for one in found if one is not None]
        rest = [image for image, one in zip(images, found, strict=True) if one is None]
        pictures = set(pictures_of(rest))
        unreadable = [one for one in looks.unreadable if one.path in pictures]
        told = list(unreadable)
        matches = list(match_images(rest, looks.looks, roots=run.plan.roots(), tell=told.append))
        run.write_parts("matches", matches)
        lost += _told_of(rest, matches, told, {one.path for one in unreadable})
    run.report("matching", len(groups), len(groups))
    refuse_leaks(run.plan, leaks)
    run.tell("2-match", dict.fromkeys([*leaks, *lost]))
    run.work.finish("match")


def mine(run: Run) -> None:
    """Find out what is wrong with every query, and where."""
    knowledge = [str(path.resolve()) for path in run.plan.knowledge]
    run.do(mine_job, "matches", "mined", step="mining", knowledge=knowledge)


def drop_repeats(run: Run) -> None:
    """Keep the pairs whose queries say something new.

    Raises:
        DatasetError: None is left.
    """
    if run.work.is_done("pairs"):
        return
    run.clear("pairs")
    pairs: list[MinedPair] = []
    left_out: list[LeftOut] = []
    for mined, tried in zip(
        run.read_parts("mined", Mined), run.read_parts("matches", Match), strict=True
    ):
        if mined.pair is not None:
            pairs.append(mined.pair)
        left_out += [
            LeftOut(
                what=str(finding.path),
                source=tried.image.source,
                step="mine",
                reason="no pair" if mined.pair is None else "defect not placed",
                detail=finding.what,
            )
            for finding in mined.findings
        ]
    repeats = _repeats(run, pairs)
    left_out += [_repeat(pair, repeats[pair.key]) for pair in pairs if pair.key in repeats]
    kept = [pair for pair in pairs if pair.key not in repeats]
    if not kept:
        reasons = reasons_for_no_pair([*run.left_out(), *left_out])
        raise DatasetError(f"of {len(pairs)} pairs none is left: {reasons}")
    run.tell("3-pairs", left_out)
    run.write_parts("pairs", kept)
    run.work.finish("pairs")


def _repeats(run: Run, pairs: Sequence[MinedPair]) -> Mapping[str, Repeat]:
    """The queries to leave out, by the pair's key."""
    if run.plan.duplicate_bits is None:
        return {}
    run.report("duplicates", 0, 1)
    fingerprints: dict[Path, Fingerprint] = {}
    for path in run.parts("looks"):
        fingerprints.update(load_looks(path).fingerprints)
    repeats = find_repeats(
        pairs, [fingerprints[pair.query] for pair in pairs], bits=run.plan.duplicate_bits
    )
    run.report("duplicates", 1, 1)
    return {one.pair: one for one in repeats}


def _repeat(pair: MinedPair, repeat: Repeat) -> LeftOut:
    reason = "duplicate"
    detail = f"of {repeat.of}, {repeat.bits} of 256 bits differ"
    if repeat.contradicts:
        reason = "contradiction"
        detail = f"has the pixels of {repeat.of}, which is called otherwise"
    return LeftOut(
        what=pair.key, source=pair.source, step="duplicates", reason=reason, detail=detail
    )


def _look_at_evaluated(run: Run) -> None:
    """All anew, since the folders may have been put right since a run that was refused."""
    for name in ("evaluated", "evaluated-looks"):
        run.clear(name)
    run.write_parts("evaluated", [Picture(path) for path in run.plan.evaluated()])
    run.do(look_job, "evaluated", "evaluated-looks", step="evaluated")
    unreadable = [
        one for path in run.parts("evaluated-looks") for one in load_looks(path).unreadable
    ]
    if unreadable:
        named = [f"{one.path}: {one.what}" for one in unreadable[:_MOST_NAMED]]
        if len(unreadable) > _MOST_NAMED:
            named.append(f"and {len(unreadable) - _MOST_NAMED} more")
        raise DatasetError(
            f"{len(unreadable)} of the pictures in --exclude-images can't be read, so nothing can "
            f"be compared with them: {'; '.join(named)}. Put them right, or take them "
            "out of the folder"
        )


def _evaluated(run: Run) -> EvaluationImages:
    evaluated = EvaluationImages()
    for path in run.parts("evaluated-looks"):
        seen = load_looks(path).fingerprints
        evaluated.add(list(seen), seen.values())
    return evaluated


def _by_category(images: Iterable[SourceImage]) -> list[list[SourceImage]]:
    groups: dict[tuple[str, str], list[SourceImage]] = defaultdict(list)
    for image in images:
        groups[image.source, image.category].append(image)
    return list(groups.values())


def _leak(
    image: SourceImage, seen: Mapping[Path, Fingerprint], evaluated: EvaluationImages
) -> LeftOut | None:
    """Why an image is left out whose picture, or whose template's, is evaluated on."""
    if not len(evaluated):
        return None
    for path, whose in ((image.path, ""), (image.template or image.path, "its template ")):
        fingerprint = seen.get(path)
        found = None if fingerprint is None else evaluated.find(fingerprint)
        if found is not None:
            return LeftOut(
                what=str(image.path),
                source=image.source,
                step="exclude",
                reason="evaluated image",
                detail=f"{whose}shows {found[0]}, {found[1]} of 256 bits differ",
            )
    return None


def _told_of(
    images: Sequence[SourceImage],
    matches: Sequence[Match],
    told: Sequence[Finding],
    unreadable: Container[Path],
) -> list[LeftOut]:
    """All that was told of the images of a category and of their templates.

    The last that is told of an image without a match is why it has none.
    """
    matched = {match.image.path for match in matches}
    last = {finding.path: finding for finding in told}

    def reason(finding: Finding) -> str:
        if finding.path in unreadable:
            return "unreadable"
        is_kept = finding.path in matched or finding is not last[finding.path]
        return "template not used" if is_kept else "no template"

    return [
        LeftOut(
            what=str(finding.path),
            source=images[0].source,
            step="mine",
            reason=reason(finding),
            detail=finding.what,
        )
        for finding in told
    ]
