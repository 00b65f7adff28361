"""The device side works where the workshop's packages can't be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

from adcopilot_edge.bundle import Bundle

WITHOUT_WORKSHOP = """
import sys
OTHERS = (
    *("huggingface_hub", "onnx", "onnx_ir", "onnxscript"),
    *("optimum", "peft", "torch", "transformers"),
)
for name in OTHERS:
    sys.modules[name] = None  # makes any import of it fail
"""

IMPORT_EVERYTHING = """
import importlib, pkgutil
import adcopilot_edge
WORKSHOP = ("__main__", "calibration", "export", "training")
def load(package):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name.rpartition(".")[2] not in WORKSHOP:
            print(module.name)
            loaded = importlib.import_module(module.name)
            if module.ispkg:
                load(loaded)
load(adcopilot_edge)
"""

INSPECT_A_PAIR = """
import sys
from PIL import Image
from adcopilot_edge import Inspector
inspector = Inspector.open()
for task in ("verdict", "all"):
    golden = inspector.golden(sys.argv[1])
    print(inspector.inspect(golden, sys.argv[2], task=task).verdict)
"""

CALIBRATE = """
import sys
from adcopilot_edge.cli import main
main(["calibrate", *sys.argv[1:], "--max-overkill", "0.5", "--dry-run"])
"""


def run_on_device(code: str, *arguments: str | Path) -> list[str]:
    """Run ``code`` in an interpreter without the workshop's packages; return its lines."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT_WORKSHOP + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_device_module_imports() -> None:
    modules = run_on_device(IMPORT_EVERYTHING)
    assert {"adcopilot_edge.errors", "adcopilot_edge.types", "adcopilot_edge.runtime"} <= {*modules}


def test_a_whole_inspection(repository: Path) -> None:
    assets = repository / "adcopilot_edge" / "assets"
    golden, test = assets / "samples" / "golden.png", assets / "samples" / "test.png"
    assert {*run_on_device(INSPECT_A_PAIR, golden, test)} <= {"normal", "anomaly", "uncertain"}


def test_a_calibration(toy_bundle: Bundle, tmp_path: Path) -> None:
    for value, name in enumerate(("golden", "good/0", "bad/0")):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (84, 56), (60 * value, 0, 0)).save(path)
    folders = ("--golden", tmp_path / "golden.png", "--good", tmp_path / "good")
    words = run_on_device(CALIBRATE, toy_bundle.path, *folders, "--bad", tmp_path / "bad")
    assert words[0] == "state"
