"""What optimum is told of the graphs holds for graphs as they are written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from optimum.exporters.tasks import TasksManager
from tiny import tiny_checkpoint
from transformers import AutoConfig, PreTrainedConfig

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import MODEL_TYPES, Checkpoint, open_checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.decoder import write_decoder_graph
from adcopilot_edge.export.half import HalfForm
from adcopilot_edge.export.linear import FloatForm, LinearForm
from adcopilot_edge.export.optimum_config import EXPORTER, TASK, ADCopilotExporterConfig
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.manifest import GraphName
from adcopilot_edge.runtime.session import GraphSession

pytestmark = pytest.mark.torch

HEIGHT, WIDTH = 56, 84
GRID = (HEIGHT // 14, WIDTH // 14)

IMPORT_OFFLINE = """
import sys
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
sys.addaudithook(lambda event, _: event in NETWORK and print(event))
import adcopilot_edge.export.optimum_config
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("stock") / "checkpoint", is_stock=True)


def declare(config: PreTrainedConfig, **settings: Any) -> ADCopilotExporterConfig:
    """The declaration of a graph, found as a program finds it that knows optimum alone."""
    constructor = TasksManager.get_exporter_config_constructor(
        EXPORTER,
        model_type=config.model_type,
        task=TASK,
        library_name="transformers",
        exporter_config_kwargs=settings,
    )
    declaration = constructor(config)
    assert isinstance(declaration, ADCopilotExporterConfig)
    return declaration


def write_graph(path: Path, checkpoint: Checkpoint, graph: GraphName, form: LinearForm) -> None:
    if graph == "vision":
        write_vision_graph(path, checkpoint, grid=GRID, form=form)
    elif graph == "comparison":
        write_comparison_graph(path, checkpoint, grid=GRID, form=form)
    else:
        write_decoder_graph(path, checkpoint, form=form, head_form=form)


def free_axes(values: Iterable[ir.Value]) -> dict[str, dict[int, str]]:
    """By tensor of a graph: the axes that have a name instead of a length."""
    return {
        str(value.name): {
            axis: str(length.value)
            for axis, length in enumerate(value.shape or ())
            if isinstance(length, ir.SymbolicDim)
        }
        for value in values
    }


def check_declaration(
    path: Path, checkpoint: Checkpoint, graph: GraphName, form: LinearForm, float_dtype: str
) -> dict[str, np.ndarray]:
    """Hold a graph against its declaration; returns what it makes of the dummy inputs."""
    write_graph(path, checkpoint, graph, form)
    declaration = declare(checkpoint.settings, graph=graph, float_dtype=float_dtype)
    written = ir.load(path).graph
    assert free_axes(written.inputs) == declaration.inputs
    assert free_axes(written.outputs) == declaration.outputs
    feeds = declaration.generate_dummy_inputs(
        "np", height=HEIGHT, width=WIDTH, sequence_length=3, past_sequence_length=5
    )
    # The session takes exactly the graph's inputs, each of its type and its fixed lengths.
    outputs = GraphSession(path, num_threads=1).run(feeds)
    assert all(np.isfinite(array).all() for array in outputs.values())
    return outputs


@pytest.mark.parametrize("graph", ["vision", "comparison", "decoder"])
def test_graphs_are_as_declared(tmp_path: Path, checkpoint: Path, graph: GraphName) -> None:
    path = tmp_path / f"{graph}.onnx"
    check_declaration(path, open_checkpoint(checkpoint), graph, FloatForm(), "fp32")


def test_keys_and_values_are_of_the_type_that_was_asked_for(
    tmp_path: Path, checkpoint: Path
) -> None:
    path = tmp_path / "decoder.onnx"
    outputs = check_declaration(path, open_checkpoint(checkpoint), "decoder", HalfForm(), "fp16")
    assert outputs.pop("logits").dtype == np.float32
    assert {(array.dtype, array.shape) for array in outputs.values()} == {
        (np.dtype(np.float16), (1, 2, 3 + 5, 16))
    }


def test_a_model_without_the_map_has_no_output_for_it(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "checkpoint", compare_anomaly_map=False)
    path = tmp_path / "comparison.onnx"
    check_declaration(path, open_checkpoint(folder), "comparison", FloatForm(), "fp32")


def test_stock_models_have_two_graphs(tmp_path: Path, stock: Path) -> None:
    config = AutoConfig.from_pretrained(stock)
    with pytest.raises(ConfigError, match="'qwen2_5_vl' without a Comparison Encoder"):
        declare(config, graph="comparison")
    path = tmp_path / "vision.onnx"
    write_graph(path, open_checkpoint(stock), "vision", FloatForm())
    feeds = declare(config, graph="vision").generate_dummy_inputs("np", height=HEIGHT, width=WIDTH)
    assert set(GraphSession(path, num_threads=1).run(feeds)) == {"features", "tokens"}


def test_every_name_of_the_model_is_registered() -> None:
    for model_type in MODEL_TYPES:
        tasks = TasksManager.get_supported_tasks_for_model_type(
            model_type, EXPORTER, library_name="transformers"
        )
        assert list(tasks) == [TASK]


def test_a_wrong_setting_says_what_is_right(checkpoint: Path) -> None:
    config = open_checkpoint(checkpoint).settings
    with pytest.raises(ConfigError, match="must be one of vision, comparison, decoder, got 'map'"):
        declare(config, graph="map")
    with pytest.raises(ConfigError, match="image_width must be a positive multiple of 28, got 64"):
        declare(config, graph="vision").generate_dummy_inputs(height=56, width=64)


def test_import_is_quiet_and_offline() -> None:
    command = [sys.executable, "-W", "error", "-c", IMPORT_OFFLINE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
