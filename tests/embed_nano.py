"""Make a trained checkpoint the embedded model: its weights in float16, and the bundle of them.

    make embed TRAINED=runs/nano-types/checkpoint

Both folders under the assets of the package are replaced once the new bundle is proven. Look at
`make figures` before you commit them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from adcopilot_edge.embedded import embedded_bundle, embedded_checkpoint
from adcopilot_edge.training.base import load_base
from adcopilot_edge.training.recipe import BaseRecipe


def write_checkpoint(source: str, folder: Path) -> None:
    """The weights of ``source`` in float16, with all that ``export`` and ``train`` read beside."""
    model, processor = load_base(BaseRecipe(checkpoint=source))
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def export(checkpoint: Path, bundle: Path, threshold: float) -> None:
    """The bundle of ``checkpoint``, in the precisions of the embedded one."""
    words = ["--out", str(bundle), "--int8", "--llm", "int4", "--threshold", str(threshold)]
    command = [sys.executable, "-m", "adcopilot_edge", "export", str(checkpoint), *words]
    subprocess.run(command, check=True)


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="a folder with a checkpoint")
    parser.add_argument("--threshold", type=float, required=True, help="of the bundle's verdict")
    options = parser.parse_args()
    places = embedded_checkpoint(), embedded_bundle()
    with tempfile.TemporaryDirectory(dir=places[0].parent, prefix=".") as draft:
        checkpoint, bundle = (Path(draft) / place.name for place in places)
        write_checkpoint(options.checkpoint, checkpoint)
        export(checkpoint, bundle, options.threshold)
        for new, place in zip((checkpoint, bundle), places, strict=True):
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)


if __name__ == "__main__":
    main()
