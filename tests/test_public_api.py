from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import adcopilot_edge

LAZY = [name for name in adcopilot_edge.__all__ if name != "__version__"]


def test_public_names_are_sorted_and_complete() -> None:
    homes = vars(adcopilot_edge)["_HOMES"]
    assert adcopilot_edge.__all__ == sorted([*homes, "__version__"])
    assert set(adcopilot_edge.__all__) <= set(dir(adcopilot_edge))


@pytest.mark.parametrize("name", LAZY)
def test_public_name_is_the_object_of_its_home(name: str) -> None:
    value = getattr(adcopilot_edge, name)
    assert value is getattr(import_module(value.__module__), name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Inspektor'"):
        adcopilot_edge.Inspektor  # type: ignore[attr-defined]  # noqa: B018


def test_import_loads_nothing_else() -> None:
    heavy = ("numpy", "onnxruntime", "pydantic", "tokenizers", "typer")
    code = f"import sys, adcopilot_edge; print(*sorted({{*{heavy}}} & {{*sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
