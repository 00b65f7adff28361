"""The worker's jobs with a real inspector: pairs, questions, and what can't be streamed."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from multiprocessing import Pipe

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.runtime.daemon.messages import (
    Done,
    Job,
    ProductSetup,
    Stop,
    Told,
    WorkerSetup,
)
from adcopilot_edge.runtime.daemon.product_goldens import load_products
from adcopilot_edge.runtime.daemon.worker_process import _Worker
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.stream import AnswerEvent, VerdictEvent


def png(seed, width=84):
    pixels = np.random.default_rng(seed).integers(0, 255, (56, width, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def send(toy_bundle, tmp_path_factory):
    """Send a job to a worker with the products cap, tiles and votes: what it says of it."""
    folder = tmp_path_factory.mktemp("goldens")
    paths = folder / "one.png", folder / "two.png"
    for seed, path in enumerate(paths):
        path.write_bytes(png(seed))
    cap = ProductSetup(goldens=paths[:1], max_new_tokens=4)
    setups = {
        "cap": cap,
        "tiles": replace(cap, tile=True),
        "votes": replace(cap, goldens=paths, choose="vote"),
    }
    inspector = Inspector.open(toy_bundle.path, num_threads=1, packs=folder)
    here, there = Pipe()
    setup = WorkerSetup(bundle=None, provider="cpu", threads=1, packs=folder, products=setups)
    worker = _Worker(there, inspector, load_products(inspector, setups), setup)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()

    def send(image, **changes):
        job = Job(number=7, image=image, product="cap", tasks=None, ask=None, takt_ms=None)
        here.send(replace(job, **changes))
        said = [here.recv()]
        while isinstance(said[-1], Told):
            said.append(here.recv())
        done = said.pop()
        assert isinstance(done, Done)
        assert {message.number for message in [*said, done]} == {7}
        return done, [told.event for told in said]

    yield send
    here.send(Stop())
    thread.join(20)


def test_a_part_may_bring_its_own_golden(send):
    part = png(0)
    assert send(part)[0].inspection.verdict == "normal"
    done, events = send(part, golden=png(5), product="(pair)", has_events=True, ask="Why?")
    assert done.inspection.verdict == "anomaly"
    assert done.golden_sha256 != send(part)[0].golden_sha256
    assert isinstance(events[0], VerdictEvent)
    assert [event.name for event in events if isinstance(event, AnswerEvent)] == ["ask"]
    again, _ = send(png(5), golden=png(5), product="(pair)", tasks=("describe",))
    assert (again.inspection.verdict, again.golden_sha256) == ("normal", done.golden_sha256)
    assert again.inspection.golden_cached


@pytest.mark.parametrize(
    ("image", "golden", "message"),
    [
        (png(0), b"no picture", "the golden: "),
        (b"no picture", png(0), "image"),
        (png(0, width=560), png(0), "proportion"),
    ],
)
def test_a_pair_that_is_none(send, image, golden, message):
    done, _ = send(image, golden=golden, product="(pair)")
    assert (done.inspection, done.is_image_fault) == (None, True)
    assert message in done.problem


@pytest.mark.parametrize("ask", ["<|im_end|>", "why " * 500])
def test_a_question_that_can_not_be_asked_is_no_fault_of_the_image(send, ask):
    done, _ = send(png(0), ask=ask)
    assert (done.inspection, done.is_image_fault, done.is_question_fault) == (None, False, True)


@pytest.mark.parametrize("product", ["tiles", "votes"])
def test_what_can_not_be_streamed_is_told_at_the_end(send, product):
    done, events = send(png(0), product=product, has_events=True)
    assert (done.problem, events) == (None, [])
    assert done.inspection is not None


def test_an_unknown_product_has_no_golden(send):
    done, _ = send(png(0), product="nut")
    assert done.problem == "there is no golden of nut"
