"""A bundle of toy graphs, written in milliseconds and without torch: real files, no learning.

The verdict is an anomaly when some patch of the test image differs from the golden's; the anomaly
map shows which. Other weights are random. Shapes and names are those of the graph contract.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from adcopilot_edge.bundle import Bundle, list_files, open_bundle, write_manifest
from adcopilot_edge.manifest import (
    Embedding,
    Graph,
    GraphName,
    Manifest,
    ModelSpec,
    Preprocessing,
    Source,
    Tokens,
)
from adcopilot_edge.prompt import DEFAULT_PROMPT, END_OF_TURN, IMAGE_TOKEN

SPECIAL = ("<|im_start|>", END_OF_TURN, "<|vision_start|>", "<|vision_end|>", IMAGE_TOKEN)

MODEL = ModelSpec(
    image_height=56,
    image_width=84,
    patch_size=14,
    temporal_patch_size=2,
    merge_size=2,
    vision_width=8,
    hidden_size=32,
    vocab_size=256 + len(SPECIAL),
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    max_sequence_length=512,
    rope_theta=10_000.0,
    mrope_section=(2, 3, 3),
    compare_token_size=4,
    compare_position_mode="diagonal",
    has_anomaly_map=True,
)

Weights = dict[str, NDArray[np.float32]]


def toy_tokenizer() -> Tokenizer:
    """One token a byte, and the special tokens of the prompt."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def write_toy_bundle(folder: Path, model: ModelSpec = MODEL) -> Bundle:
    """Write the bundle into ``folder``, which is made, and open it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    tokenizer = toy_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    embedding = rng.normal(0, 1, (model.vocab_size, model.hidden_size)).astype(np.float16)
    embedding[:, :2] = 0  # kept for the difference between the images
    np.save(folder / "embedding.npy", embedding)
    onnx.save(vision_graph(model, rng), folder / "vision.onnx")
    onnx.save(decoder_graph(model, rng, letters(tokenizer)), folder / "decoder.onnx")
    graphs: dict[GraphName, Graph] = {
        "vision": Graph(file="vision.onnx", precision="fp32"),
        "decoder": Graph(file="decoder.onnx", precision="fp32"),
    }
    if model.compare_token_size:
        onnx.save(comparison_graph(model, rng), folder / "comparison.onnx")
        graphs["comparison"] = Graph(file="comparison.onnx", precision="fp32")
    yes, no = letters(tokenizer)
    manifest = Manifest(
        created_by="tests",
        target="cpu",
        source=Source(name="toy", model_type="toy", sha256="0" * 64),
        model=model,
        preprocessing=Preprocessing(image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5)),
        tokens=Tokens(
            image=id_of(tokenizer, IMAGE_TOKEN),
            end=(id_of(tokenizer, END_OF_TURN),),
            yes=yes,
            no=no,
        ),
        prompt=DEFAULT_PROMPT,
        graphs=graphs,
        embedding=Embedding(file="embedding.npy", precision="fp16"),
        tokenizer="tokenizer.json",
        files=list_files(folder),
    )
    write_manifest(folder, manifest)
    return open_bundle(folder)


def letters(tokenizer: Tokenizer) -> tuple[int, int]:
    """The ids of the answers yes and no."""
    return id_of(tokenizer, DEFAULT_PROMPT.yes), id_of(tokenizer, DEFAULT_PROMPT.no)


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """The id of one token of the vocabulary."""
    found = tokenizer.token_to_id(token)
    assert found is not None
    return found


def vision_graph(model: ModelSpec, rng: np.random.Generator) -> onnx.ModelProto:
    """Features and tokens as two matrix products."""
    n, c, d = model.num_patches, model.vision_width, model.hidden_size
    merge = (rng.normal(0, 1, (4 * c, d)) / np.sqrt(4 * c)).astype(np.float32)
    merge[:, :2] = 0
    project = rng.normal(0, 1, (model.patch_values, c)) / np.sqrt(model.patch_values)
    weights = {"project": project.astype(np.float32), "merge": merge}
    nodes = [
        helper.make_node("MatMul", ["patches", "project"], ["features"]),
        helper.make_node("Reshape", ["features", "groups"], ["grouped"]),
        helper.make_node("MatMul", ["grouped", "merge"], ["tokens"]),
    ]
    shapes = {"groups": np.array([n // 4, 4 * c], dtype=np.int64)}
    inputs = [_value("patches", [n, model.patch_values])]
    outputs = [_value("features", [n, c]), _value("tokens", [n // 4, d])]
    return _model(nodes, inputs, outputs, weights | shapes)


def comparison_graph(model: ModelSpec, rng: np.random.Generator) -> onnx.ModelProto:
    """Tokens that carry the largest difference of a patch; the map of all differences."""
    n, c, d, length = (
        model.num_patches,
        model.vision_width,
        model.hidden_size,
        model.compare_token_size,
    )
    rows, cols = model.grid
    base = rng.normal(0, 1, (length, d)).astype(np.float32)
    base[:, :2] = 0
    channel = np.zeros((1, d), dtype=np.float32)
    channel[0, 0] = 1
    order = np.arange(n).reshape(rows // 2, cols // 2, 2, 2).transpose(0, 2, 1, 3).reshape(-1)
    constants = {
        "base": base,
        "channel": channel,
        "order": order.astype(np.int64),
        "raster": np.array([rows, cols], dtype=np.int64),
        "offset": np.array(0.5, dtype=np.float32),
        "gain": np.array(20, dtype=np.float32),
        "width": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Sub", ["current", "previous"], ["signed"]),
        helper.make_node("Abs", ["signed"], ["difference"]),
        helper.make_node("ReduceMax", ["difference", "width"], ["by_patch"], keepdims=0),
        helper.make_node("ReduceMax", ["by_patch"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "channel"], ["marked"]),
        helper.make_node("Add", ["base", "marked"], ["comparison_tokens"]),
        helper.make_node("Gather", ["by_patch", "order"], ["in_raster"]),
        helper.make_node("Reshape", ["in_raster", "raster"], ["map"]),
        helper.make_node("Sub", ["map", "offset"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "gain"], ["anomaly_logits"]),
    ]
    inputs = [_value("previous", [n, c]), _value("current", [n, c])]
    outputs = [_value("comparison_tokens", [length, d]), _value("anomaly_logits", [rows, cols])]
    if not model.has_anomaly_map:
        del nodes[-4:], outputs[-1]
    return _model(nodes, inputs, outputs, constants)


def decoder_graph(
    model: ModelSpec, rng: np.random.Generator, answers: tuple[int, int] = (65, 66)
) -> onnx.ModelProto:
    """Attention layers with a residual; the first hands the difference on to the letter yes."""
    d, heads, kv, width = model.hidden_size, model.num_heads, model.num_kv_heads, model.head_dim
    packed = (heads + 2 * kv) * width
    weights: Weights = {}
    nodes = []
    hidden = "embeds"
    for layer in range(model.num_layers):
        qkv = rng.normal(0, 0.5, (d, packed)) / np.sqrt(d)
        out = rng.normal(0, 0.5, (heads * width, d)).astype(np.float32)
        out[:, :2] = 0
        if layer == 0:
            first_value = (heads + kv) * width
            qkv[:, first_value] = 0
            qkv[0, first_value] = 1
            out[::width] = 0
            out[::width, 1] = 1
        weights |= {f"qkv.{layer}": qkv.astype(np.float32), f"out.{layer}": out}
        nodes += [
            helper.make_node("MatMul", [hidden, f"qkv.{layer}"], [f"packed.{layer}"]),
            helper.make_node(
                "GroupQueryAttention",
                [
                    f"packed.{layer}",
                    "",
                    "",
                    f"past_key.{layer}",
                    f"past_value.{layer}",
                    "seqlens_k",
                    "total_sequence_length",
                    "cos",
                    "sin",
                ],
                [f"mixed.{layer}", f"present_key.{layer}", f"present_value.{layer}"],
                domain="com.microsoft",
                num_heads=heads,
                kv_num_heads=kv,
                do_rotary=1,
            ),
            helper.make_node("MatMul", [f"mixed.{layer}", f"out.{layer}"], [f"update.{layer}"]),
            helper.make_node("Add", [hidden, f"update.{layer}"], [f"hidden.{layer}"]),
        ]
        hidden = f"hidden.{layer}"
    yes, no = answers
    head = rng.normal(0, 1, (d, model.vocab_size)).astype(np.float32)
    head[:2] = 0
    head[:, [yes, no]] = 0
    head[1, yes] = 100
    bias = np.zeros(model.vocab_size, dtype=np.float32)
    bias[no] = 1
    weights |= {"head": head, "bias": bias}
    nodes += [
        helper.make_node("Gather", [hidden, "last"], ["final"], axis=1),
        helper.make_node("MatMul", ["final", "head"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["logits"]),
    ]
    inputs = [
        _value("embeds", [1, "S", d]),
        _value("cos", ["T", width // 2]),
        _value("sin", ["T", width // 2]),
        _value("seqlens_k", [1], TensorProto.INT32),
        _value("total_sequence_length", [], TensorProto.INT32),
    ]
    outputs = [_value("logits", [1, model.vocab_size])]
    for layer in range(model.num_layers):
        for kind in ("key", "value"):
            shape: list[int | str] = [1, kv, "P", width]
            inputs.append(_value(f"past_{kind}.{layer}", shape))
            outputs.append(_value(f"present_{kind}.{layer}", shape))
    return _model(nodes, inputs, outputs, weights | {"last": np.array(-1, dtype=np.int64)})


def _value(
    name: str, shape: list[int | str], dtype: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def _model(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
