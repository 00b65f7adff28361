from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_MIB = 260  # of files, as `du -m --apparent-size` counts
INSTALLERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")


@pytest.mark.slow
def test_device_install_is_small(repository: Path, wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "device"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    constraints = repository / "constraints.txt"
    device = f"adcopilot-edge[cpu] @ {wheel.as_uri()}"
    pip = environment / "bin" / "pip"
    subprocess.run([pip, "install", "--quiet", "-c", constraints, device], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    sizes_mib = {
        entry.name: sum(file.stat().st_size for file in files_of(entry)) / 2**20
        for entry in packages.iterdir()
        if not entry.name.startswith(INSTALLERS)
    }
    largest = sorted(sizes_mib.items(), key=lambda item: item[1], reverse=True)[:8]
    print(f"{sum(sizes_mib.values()):.0f} MiB, the largest: {largest}")
    assert sum(sizes_mib.values()) <= LIMIT_MIB


def files_of(entry: Path) -> list[Path]:
    return [path for path in (entry, *entry.rglob("*")) if path.is_file()]
