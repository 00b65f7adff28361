from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_MB = 260
INSTALLERS = ("pip", "setuptools", "_distutils_hack", "distutils-precedence")


@pytest.mark.slow
def test_device_install_is_small(repository: Path, wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "device"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    constraints = repository / "constraints.txt"
    device = f"adcopilot-edge[cpu] @ {wheel.as_uri()}"
    pip = environment / "bin" / "pip"
    subprocess.run([pip, "install", "--quiet", "-c", constraints, device], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    sizes_mb = {
        entry.name: sum(file.stat().st_size for file in files_of(entry)) / 1e6
        for entry in packages.iterdir()
        if not entry.name.startswith(INSTALLERS)
    }
    largest = sorted(sizes_mb.items(), key=lambda item: item[1], reverse=True)[:8]
    print(f"{sum(sizes_mb.values()):.0f} MB, the largest: {largest}")
    assert sum(sizes_mb.values()) <= LIMIT_MB


def files_of(entry: Path) -> list[Path]:
    return [path for path in (entry, *entry.rglob("*")) if path.is_file()]
