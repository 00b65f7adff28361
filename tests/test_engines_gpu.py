"""On a GPU: an engine that is built here gives what its graph gives. Not run yet by anybody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adcopilot_edge.bundle import Bundle, open_bundle
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.cuda import find_gpu
from adcopilot_edge.runtime.engines.api import BACKENDS, Backend, load_api
from adcopilot_edge.runtime.engines.build import BuildOptions, build_engine, plan_builds
from adcopilot_edge.runtime.verify import verify_bundle

pytestmark = [pytest.mark.gpu, pytest.mark.torch]


@pytest.mark.parametrize("is_stripped", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("vision", ["fp16", "int8"])
def test_engines_pass_the_ladder(
    tensorrt_bundles: dict[Precision, Bundle],
    tmp_path: Path,
    backend: Backend,
    vision: Precision,
    is_stripped: bool,
) -> None:
    pytest.importorskip(backend.replace("-", "_"))
    folder = tmp_path / "bundle"
    ignore = shutil.ignore_patterns("engines")
    bundle = open_bundle(shutil.copytree(tensorrt_bundles[vision].path, folder, ignore=ignore))
    api = load_api(backend)
    options = BuildOptions(
        capabilities=(find_gpu().capability,) if api.names_targets else (),
        is_stripped=is_stripped,
    )
    for plan in plan_builds(bundle, api, options):
        build_engine(bundle, plan, api, options)
    assert verify_bundle(folder, provider=backend).first_failure is None
