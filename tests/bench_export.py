"""Memory, time and size of an export beside onnxruntime-genai's model builder, as a table.

    python tests/full_shape.py 3b checkpoint-3b
    python tests/bench_export.py checkpoint-3b --max-ram 3G --genai genai-venv/bin/python

Each tool runs as a process of its own, one after the other; the peak is the kernel's own count of
that process (ru_maxrss). ``genai`` names a Python that has onnxruntime-genai; its builder writes
the language model only, and proves nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Run:
    """One process: seconds, peak of memory, and when each step that it names began."""

    code: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    begins: dict[str, float] = field(default_factory=dict)
    last_lines: list[str] = field(default_factory=list)


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> Run:
    """Run ``command`` to its end."""
    result, started = Run(), time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            result.begins.setdefault(line.split(" ")[0].strip(), time.monotonic() - started)
            result.last_lines = [*result.last_lines[-4:], line.strip()]

    listener = threading.Thread(target=listen)
    listener.start()
    _, status, usage = os.wait4(process.pid, 0)
    listener.join()
    result.seconds = time.monotonic() - started
    result.code = os.waitstatus_to_exitcode(status)
    result.peak_bytes = usage.ru_maxrss * 1024
    return result


def folder_bytes(folder: Path) -> int:
    """The size of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--max-ram", required=True)
    parser.add_argument("--image-size", default="448")
    parser.add_argument("--out", type=Path, help="keep the bundle here")
    parser.add_argument("--genai", type=Path, help="a Python that has onnxruntime-genai")
    options, export_words = parser.parse_known_args()
    _row("tool", "what", "peak RSS, GiB", "seconds", "size, GB")
    _row(*["---"] * 5)
    with tempfile.TemporaryDirectory(dir=options.out and options.out.parent) as scratch:
        out = options.out or Path(scratch) / "bundle"
        words = ["--image-size", options.image_size, "--max-ram", options.max_ram]
        command = [sys.executable, "-m", "adcopilot_edge", "export", str(options.checkpoint)]
        ours = run([*command, "--out", str(out), *words, *(export_words or ["--llm", "int4"])])
        _check(ours)
        how = "not proven" if "--no-proof" in export_words else "proven"
        _row("adcopilot-edge", f"whole bundle, {how}", *_figures(ours, out))
        begins = {**ours.begins, "end": ours.seconds}
        steps = list(begins)
        for step, following in itertools.pairwise(steps):
            _row("", f"of which {step}", "", f"{begins[following] - begins[step]:.0f}", "")
        if options.genai is None:
            return
        target = Path(scratch) / "genai"
        builder = [
            *(str(options.genai), "-m", "onnxruntime_genai.models.builder"),
            *("-i", str(_as_stock(options.checkpoint, Path(scratch) / "stock"))),
            *("-o", str(target), "-p", "int4", "-e", "cpu", "-c", str(Path(scratch) / "cache")),
        ]
        theirs = run(builder, {"HF_HUB_OFFLINE": "1"})
        _check(theirs)
        _row("onnxruntime-genai", "language model, not proven", *_figures(theirs, target))


def _as_stock(checkpoint: Path, folder: Path) -> Path:
    """The same weights under the name that the builder knows; what it does not know, it ignores."""
    folder.mkdir()
    for file in checkpoint.resolve().iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("auto_map", None)
    config.update(
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        model_type="qwen2_5_vl",
    )
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _figures(result: Run, folder: Path) -> tuple[str, str, str]:
    """Peak in GiB, seconds, and the size of what was written in GB."""
    return (
        f"{result.peak_bytes / 2**30:.2f}",
        f"{result.seconds:.0f}",
        f"{folder_bytes(folder) / 1e9:.2f}",
    )


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _check(result: Run) -> None:
    """Stop where the process failed, with what it said last."""
    if result.code:
        raise SystemExit("\n".join(["failed:", *result.last_lines]))


if __name__ == "__main__":
    main()
