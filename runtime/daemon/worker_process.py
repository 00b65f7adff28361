"""The process that inspects: it opens the bundle, proves it, and takes jobs over a pipe.

It is a process of its own so that an inspection that hangs can be ended. It never writes records.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import (
    EdgeError,
    InputError,
    ProviderUnavailableError,
    QuestionError,
    SignatureError,
)
from adcopilot_edge.runtime.daemon.messages import (
    Done,
    Entered,
    FromWorker,
    Job,
    NewProducts,
    ProductsTaken,
    Ready,
    Refused,
    Stop,
    Told,
    ToWorker,
    WorkerSetup,
)
from adcopilot_edge.runtime.daemon.product_goldens import LoadedProduct, load_pair, load_products
from adcopilot_edge.runtime.image_header import check_header
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.stream import InspectionEvent
from adcopilot_edge.runtime.verify import run_stored_pairs
from adcopilot_edge.signature import check_signature
from adcopilot_edge.types import Inspection

_LOG = logging.getLogger(__name__)
_WARM_UPS = 2


def run_worker(connection: Connection, setup: WorkerSetup) -> None:
    """Start, say so, and inspect until told to stop or the daemon is gone."""
    # A key press goes to the whole group; when to stop is the daemon's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(setup.nice)
    threading.Thread(target=_end_with_daemon, name="end with the daemon", daemon=True).start()
    try:
        inspector, products = _start(setup, connection.send)
    except EdgeError as err:
        connection.send(Refused(message=str(err), exit_code=err.exit_code))
        return
    except BrokenPipeError:  # the daemon is gone
        return
    _Worker(connection, inspector, products, setup).run()


def _start(
    setup: WorkerSetup, tell: Callable[[FromWorker], None]
) -> tuple[Inspector, dict[str, LoadedProduct]]:
    tell(Entered(state="checking"))
    path = setup.bundle or embedded_bundle()
    signed = None if setup.public_key is None else check_signature(path, setup.public_key)
    tell(Entered(state="loading"))
    inspector = Inspector.open(
        path,
        provider=setup.provider,
        num_threads=setup.threads,
        packs=setup.packs,
    )
    if signed is not None and inspector.engine.bundle.id != signed:
        raise SignatureError(f"{path} changed between the check of its signature and its opening")
    if inspector.engine.provider != setup.provider:
        raise ProviderUnavailableError(
            f"{setup.provider} was asked for and {inspector.engine.provider} runs"
        )
    products = load_products(inspector, setup.products)
    tell(Entered(state="warming-up"))
    for product in products.values():
        for _ in range(_WARM_UPS):
            product.inspect(inspector, product.picture(), takt_ms=None)
    tell(Entered(state="self-testing"))
    _, stages = run_stored_pairs(inspector)
    if wrong := [stage.stage for stage in stages if not stage.passed]:
        raise ProviderUnavailableError(
            f"the bundle does not work here as it did where it was exported: {', '.join(wrong)} "
            "differ from what is stored with it. See: adcopilot-edge verify BUNDLE"
        )
    engine = inspector.engine
    precision = engine.bundle.manifest.precision
    tell(Ready(bundle=engine.bundle.id, engine=f"{engine.provider} {precision}"))
    return inspector, products


class _Worker:
    def __init__(
        self,
        connection: Connection,
        inspector: Inspector,
        products: dict[str, LoadedProduct],
        setup: WorkerSetup,
    ) -> None:
        self._setup = setup
        self._connection = connection
        self._inspector = inspector
        self._products = products

    def run(self) -> None:
        while True:
            try:
                message: ToWorker = self._connection.recv()
            except (EOFError, OSError):  # the daemon is gone
                return
            if isinstance(message, Stop):
                return
            answer = self._take(message) if isinstance(message, NewProducts) else self._do(message)
            try:
                self._connection.send(answer)
            except OSError:
                return

    def _take(self, message: NewProducts) -> ProductsTaken:
        try:
            self._products = load_products(self._inspector, message.products)
        except EdgeError as err:
            return ProductsTaken(problem=str(err))
        return ProductsTaken()

    def _do(self, job: Job) -> Done:
        if job.golden is None and job.product not in self._products:
            return Done(number=job.number, problem=f"there is no golden of {job.product}")
        recipe: dict[str, Any] | None = None
        try:
            if job.golden is not None:
                try:
                    self._check(job.golden)
                except InputError as err:
                    raise InputError(f"the golden: {err}") from err
            product = self._product(job)
            recipe = product.setup.recipe(job.ask)
            self._check(job.image)
            inspection = (
                self._stream(job, product)
                if job.has_events and product.has_stream
                else product.inspect(self._inspector, job.image, takt_ms=job.takt_ms, ask=job.ask)
            )
        except QuestionError as err:
            return Done(number=job.number, problem=str(err), is_question_fault=True)
        except InputError as err:
            return Done(number=job.number, problem=str(err), is_image_fault=True, recipe=recipe)
        except EdgeError as err:
            return Done(number=job.number, problem=str(err), recipe=recipe)
        except Exception as err:  # one part must not end the line
            _LOG.exception("part %d", job.number)
            return Done(number=job.number, problem=f"{type(err).__name__}: {err}")
        return Done(
            number=job.number,
            inspection=inspection,
            golden_sha256=product.golden_of(inspection),
            recipe=recipe,
        )

    def _check(self, picture: bytes) -> None:
        """Raise InputError for a picture that is larger than may be, before it is decoded."""
        check_header(
            picture, max_pixels=self._setup.max_pixels, max_bytes=self._setup.max_image_bytes
        )

    def _product(self, job: Job) -> LoadedProduct:
        product = (
            self._products[job.product]
            if job.golden is None
            else load_pair(self._inspector, job.golden)
        )
        if job.tasks is None:
            return product
        return replace(product, setup=replace(product.setup, tasks=job.tasks))

    def _stream(self, job: Job, product: LoadedProduct) -> Inspection:
        for event in product.stream(self._inspector, job.image, takt_ms=job.takt_ms, ask=job.ask):
            if isinstance(event, InspectionEvent):
                return product.finished(event.inspection)
            self._connection.send(Told(number=job.number, event=event))
        raise AssertionError("a stream ends with its inspection")


def _end_with_daemon() -> None:
    """End when the daemon is gone, however it went, also amid an inspection that hangs."""
    daemon = multiprocessing.parent_process()
    if daemon is not None:
        daemon.join()
        os._exit(1)
