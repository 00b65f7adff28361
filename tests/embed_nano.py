"""Make a trained checkpoint the embedded model: its weights in float16, and the bundle of them.

    python tests/embed_nano.py runs/nano-types/checkpoint --threshold 0.35

Both folders are written anew under the assets of the package; look at `make figures` before you
commit them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from adcopilot_edge.embedded import EMBEDDED, embedded_bundle, embedded_checkpoint
from adcopilot_edge.training.base import load_base
from adcopilot_edge.training.recipe import BaseRecipe


def write_checkpoint(source: str, folder: Path) -> None:
    """The weights of ``source`` in float16, with all that ``export`` and ``train`` read beside."""
    model, processor = load_base(BaseRecipe(checkpoint=source))
    draft = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    model.half().save_pretrained(draft)
    processor.save_pretrained(draft)
    for path in draft.iterdir():
        path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="a folder with a checkpoint")
    parser.add_argument("--threshold", type=float, required=True, help="of the bundle's verdict")
    options = parser.parse_args()
    write_checkpoint(options.checkpoint, embedded_checkpoint())
    export = [sys.executable, "-m", "adcopilot_edge", "export", EMBEDDED]
    words = ["--int8", "--llm", "int4", "--threshold", str(options.threshold)]
    subprocess.run([*export, "--out", str(embedded_bundle()), *words], check=True)


if __name__ == "__main__":
    main()
