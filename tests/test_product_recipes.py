"""What a product's settings do to its inspections, with the model inside the package."""

from __future__ import annotations

import numpy as np
import pytest

from adcopilot_edge.embedded import sample_pictures
from adcopilot_edge.errors import ConfigError, InputError
from adcopilot_edge.runtime.daemon.messages import ProductSetup
from adcopilot_edge.runtime.daemon.product_goldens import load_products
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.runtime.inspector import Inspector


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """The embedded bundle on one thread."""
    return Inspector.open(num_threads=1, packs=tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def samples():
    return sample_pictures()


@pytest.fixture(scope="module")
def framed(samples, tmp_path_factory):
    """The samples with a frame of 40 and 24 pixels around, as files."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("framed")
    paths = []
    for path in samples:
        picture = open_image(path)
        wide = np.full((picture.shape[0] + 48, picture.shape[1] + 80, 3), 90, np.uint8)
        wide[24:-24, 40:-40] = picture
        paths.append(folder / path.name)
        Image.fromarray(wide).save(paths[-1])
    return paths


def product(nano, *goldens, **settings):
    setups = {"lid": ProductSetup(goldens=goldens, **settings)}
    return load_products(nano, setups)["lid"]


def inspect(nano, one, image, **words):
    return one.inspect(nano, image.read_bytes(), takt_ms=None, **words)


@pytest.fixture(scope="module")
def plain(nano, samples):
    """The inspection without any setting."""
    found = inspect(nano, product(nano, samples[0]), samples[1])
    assert (found.verdict, bool(found.defects)) == ("anomaly", True)
    return found


def test_boxes_of_a_region_are_those_of_the_whole_picture(nano, samples, framed, plain):
    height, width = open_image(samples[0]).shape[:2]
    roi = (40, 24, 40 + width, 24 + height)
    found = inspect(nano, product(nano, framed[0], roi=roi), framed[1])
    assert (found.verdict, found.anomaly_score) == (plain.verdict, plain.anomaly_score)
    assert [it.bbox_2d for it in found.defects] == [
        (x1 + 40, y1 + 24, x2 + 40, y2 + 24)
        for x1, y1, x2, y2 in (it.bbox_2d for it in plain.defects)
    ]


def test_what_is_outside_of_the_region_does_not_count(nano, samples, framed):
    part = open_image(framed[0]).copy()
    part[:24] = 255
    height, width = open_image(samples[0]).shape[:2]
    one = product(nano, framed[0], roi=(40, 24, 40 + width, 24 + height))
    assert one.inspect(nano, part, takt_ms=None).verdict == "normal"


def test_a_region_beyond_the_golden(nano, samples):
    with pytest.raises(ConfigError, match=r"product lid: the region of interest .* reaches beyond"):
        product(nano, samples[0], roi=(0, 0, 5000, 10))


def test_a_part_smaller_than_the_region(nano, samples, framed):
    height, width = open_image(framed[0]).shape[:2]
    one = product(nano, framed[0], roi=(0, 0, width, height))
    with pytest.raises(InputError, match="reaches beyond the picture"):
        inspect(nano, one, samples[1])


def test_the_threshold_decides(nano, samples, plain):
    score = plain.anomaly_score
    above, below = min(0.999999, score + (1 - score) / 2), score / 2
    strict = inspect(nano, product(nano, samples[0], threshold=below), samples[1])
    loose = inspect(nano, product(nano, samples[0], threshold=above), samples[1])
    assert (strict.verdict, loose.verdict) == ("anomaly", "normal")
    assert strict.threshold == pytest.approx(below)
    assert strict.anomaly_score == loose.anomaly_score == score


def test_tasks_are_asked(nano, samples, plain):
    assert plain.text == {}
    one = product(nano, samples[0], tasks=("describe", "classify"), max_new_tokens=2)
    assert {*inspect(nano, one, samples[1]).text} == {"describe", "classify"}


def test_a_question(nano, samples):
    one = product(nano, samples[0], max_new_tokens=2)
    assert "ask" in inspect(nano, one, samples[1], ask="Is there a scratch?").text


def test_a_takt_leaves_words_out_and_never_the_verdict(nano, samples, plain):
    one = product(nano, samples[0], tasks=("describe",))
    found = one.inspect(nano, samples[1].read_bytes(), takt_ms=0.5)
    assert found.verdict == plain.verdict
    assert "takt_dropped:describe" in found.notes


def test_tiles(nano, framed):
    one = product(nano, framed[0], tile=True)
    found = one.inspect(nano, framed[1].read_bytes(), takt_ms=50.0)  # tiles have no takt
    assert any(note.startswith("tiles:") for note in found.notes)
    assert found.takt_overrun_ms is None


def test_the_nearest_golden(nano, samples):
    one = product(nano, *samples, choose="nearest")
    found = inspect(nano, one, samples[1])
    assert found.verdict == "normal"
    assert one.golden_of(found) == one.references[1].image_sha256[:16]


def test_a_vote(nano, samples):
    one = product(nano, *samples, choose="vote")
    found = one.inspect(nano, samples[1].read_bytes(), takt_ms=50.0)  # votes have no takt
    assert "golden_votes:anomaly,normal" in found.notes
    assert found.verdict == "uncertain"


def test_goldens_of_other_proportions(nano, samples, framed):
    with pytest.raises(ConfigError, match=r"product lid: .*their proportions differ"):
        product(nano, samples[0], framed[0])


def test_a_golden_that_is_no_picture(nano, tmp_path):
    path = tmp_path / "golden.png"
    with pytest.raises(ConfigError, match="product lid: "):
        product(nano, path)
    path.write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="product lid: "):
        product(nano, path)


def test_a_part_of_other_proportions(nano, samples, framed):
    with pytest.raises(InputError, match="proportions differ"):
        inspect(nano, product(nano, samples[0]), framed[1])


def test_a_product_without_goldens_is_left_out(nano):
    assert load_products(nano, {"new": ProductSetup(goldens=())}) == {}
