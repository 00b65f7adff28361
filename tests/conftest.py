from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.engines.api import Api, load_api
from adcopilot_edge.runtime.golden_packs import StoredPack
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import FloatArray, ImageArray

if TYPE_CHECKING:
    from teacher_server import Teacher

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("runtime", "export", "calibration", "training")


@pytest.fixture(scope="session", autouse=True)
def _no_bare_names() -> Iterator[None]:
    """No test may load a linked folder under its bare name: its classes would exist twice."""
    yield
    loaded = [name for name in FOLDERS if name in sys.modules]
    assert not loaded, f"imported under a bare name, without the prefix adcopilot_edge: {loaded}"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is built from, so that no build folder stays in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("adcopilot_edge", *FOLDERS):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    return source


@pytest.fixture(scope="session")
def wheel(source: Path) -> Path:
    """The wheel."""
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(source / "dist")]
    build = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="session")
def editable_wheel(source: Path) -> Path:
    """The wheel that ``pip install -e`` builds: it refers to ``source``."""
    folder = source / "dist" / "editable"
    folder.mkdir(parents=True)
    code = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    build = [sys.executable, "-c", code, str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def rtx() -> Api:
    """TensorRT-RTX, which builds engines on any machine that NVIDIA has it for."""
    if sys.platform == "darwin":
        pytest.skip("NVIDIA has no TensorRT-RTX for macOS")
    return load_api("tensorrt-rtx")


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The toy bundle, to be read only."""
    from toy import write_toy_bundle

    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture(scope="session")
def tensorrt_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[Precision, Bundle]:
    """A small model as ``export --target tensorrt`` writes it, by precision; to be read only.

    Engines may be built into it.
    """
    from tensorrt_export import tensorrt_bundle
    from tiny import tiny_checkpoint

    folder = tmp_path_factory.mktemp("tensorrt")
    checkpoint = tiny_checkpoint(folder / "checkpoint")
    precisions: tuple[Precision, ...] = ("fp16", "int8")
    return {vision: tensorrt_bundle(checkpoint, folder / vision, vision) for vision in precisions}


@pytest.fixture(scope="session")
def static_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small model in static INT8 for a CPU, to be read only."""
    from tiny import tiny_checkpoint

    from adcopilot_edge.calibration.pairs import CalibrationPairs
    from adcopilot_edge.export.pipeline import export_bundle
    from adcopilot_edge.export.recipe import ExportRecipe
    from adcopilot_edge.training.synthetic import generate_pair

    folder = tmp_path_factory.mktemp("static")
    pairs = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]
    recipe = ExportRecipe(
        image_height=56,
        image_width=84,
        vision="int8",
        int8_form="static",
        num_parity_pairs=2,
        max_new_tokens=2,
    )
    checkpoint = tiny_checkpoint(folder / "checkpoint")
    calibration = CalibrationPairs("generated boards", pairs)
    return export_bundle(
        checkpoint, folder / "bundle", recipe, pairs=pairs, calibration=calibration
    )


@pytest.fixture
def damaged_bundle(toy_bundle: Bundle, tmp_path: Path) -> Path:
    """The folder of a toy bundle that a test may change."""
    return Path(shutil.copytree(toy_bundle.path, tmp_path / "bundle"))


@pytest.fixture
def pack(damaged_bundle: Path, image_pair: tuple[ImageArray, ImageArray]) -> StoredPack:
    """The pack of the pair's golden image beside ``damaged_bundle``."""
    from pack_cases import open_inspector

    return open_inspector(damaged_bundle).add_golden(image_pair[0], "lid")


@pytest.fixture
def toy_inspector(toy_bundle: Bundle) -> Inspector:
    """An inspector of the toy bundle on one thread."""
    from adcopilot_edge.runtime.engine import open_engine

    return Inspector(open_engine(toy_bundle, provider="cpu", num_threads=1))


@pytest.fixture
def fed(toy_inspector: Inspector, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all that the decoder of ``toy_inspector`` was fed, in order."""
    decoder = toy_inspector.engine.dialogue._decoder
    run, lengths = decoder._run, []

    def count(embeds: FloatArray, end: int) -> FloatArray:
        lengths.append(embeds.shape[1])
        return run(embeds, end)

    monkeypatch.setattr(decoder, "_run", count)
    return lengths


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the program in this process; returns exit code, stdout and stderr."""
    from adcopilot_edge.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    """A server that answers as a teacher that is right about everything."""
    from teacher_server import answering, right_answer, teacher_server

    with teacher_server() as teacher:
        teacher.answer = lambda request, _: answering(right_answer(request))
        yield teacher


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of random numbers, the same in every run."""
    return np.random.default_rng(20240229)


@pytest.fixture
def image_pair(rng: np.random.Generator) -> tuple[ImageArray, ImageArray]:
    """A golden of coarse blocks and a test image with one bright defect: both (56, 84, 3)."""
    blocks = rng.integers(0, 160, (4, 6, 3), dtype=np.uint8)
    golden = blocks.repeat(14, axis=0).repeat(14, axis=1)
    test = golden.copy()
    test[20:34, 30:50] = 255
    return golden, test


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pairs that lies beside the repository, on machines that have it."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"the real pairs are not on this machine: no folder {data}")
    return data
