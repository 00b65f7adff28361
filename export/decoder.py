"""Write the language model's graph: embeddings to the logits of the last position, KV in place.

Layer by layer straight from the checkpoint, so that one layer is in memory. Knows nothing of
M-RoPE: row t of the rotary tables, which are inputs, already holds the angles of token t.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.graph import MICROSOFT, GraphBuilder, new_graph
from adcopilot_edge.export.language import LanguageSettings
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.section import Section
from adcopilot_edge.export.weights import Linear


def write_decoder_graph(
    path: Path,
    checkpoint: Checkpoint,
    *,
    form: LinearForm,
    head_form: LinearForm,
    on_layer: Callable[[int], None] = lambda _: None,
) -> None:
    """Write ``embeds`` (1, S, D) and the state of the sequence -> ``logits`` (1, V) and the state.

    The state is ``past_key.{i}`` and ``past_value.{i}`` (1, KV heads, P, head_dim), which
    ``present_*`` may share memory with when P is the whole capacity. ``seqlens_k`` (1,) int32 is
    the length after this call minus one, ``total_sequence_length`` () int32 that length;
    ``cos`` and ``sin`` (T, head_dim / 2) have a row for each token of it. The state is of the type
    that the layers compute in, all else is float32, as is the sum of the layers.

    Args:
        path: The ONNX file.
        checkpoint: Where the weights are.
        form: How the linear layers compute.
        head_form: How the output head computes.
        on_layer: Called with the number of layers written so far.
    """
    config = checkpoint.language
    with new_graph(path) as graph:
        model = Section(graph, checkpoint, form, FUSED, "language_model")
        embeds = graph.input("embeds", (1, "S", config.hidden_size))
        hidden = graph.reshape(embeds, (-1, config.hidden_size), name="rows")
        dtype = form.operand(model.layer("layers.0.self_attn.q_proj"))
        sequence = _Sequence(graph, config, dtype)
        last = config.num_layers - 1
        for index in range(config.num_layers):
            layer = model.child(f"layers.{index}")
            hidden = _layer(layer, hidden, sequence, index, last_row_only=index == last)
            graph.end_block()
            on_layer(index + 1)
        normed = model.norm(hidden, "norm", eps=config.rms_norm_eps)
        head = Linear(checkpoint, "lm_head", (checkpoint.head_name.removesuffix(".weight"),))
        logits = head_form.apply(graph, normed, head)
        graph.output(logits, "logits", (1, config.vocab_size))
        sequence.add_outputs()


class _Sequence:
    """The inputs that all layers share, and each layer's keys and values before and after."""

    def __init__(self, graph: GraphBuilder, config: LanguageSettings, dtype: ir.DataType) -> None:
        self._graph = graph
        self._dtype = dtype
        self._config = config
        self._head_dim = config.head_dim
        self._kv_heads = config.num_kv_heads
        table = ("T", self._head_dim // 2)
        self._lengths = [
            graph.input("seqlens_k", (1,), ir.DataType.INT32),
            graph.input("total_sequence_length", (), ir.DataType.INT32),
        ]
        self._rotary = [
            graph.cast(graph.input(name, table), dtype, name=f"{name}.operand")
            for name in ("cos", "sin")
        ]
        self._present: list[tuple[ir.Value, str]] = []

    def attend(self, fused: ir.Value, index: int, *, name: str) -> ir.Value:
        """Causal attention of layer ``index`` over the past and ``fused``, (S, H * head_dim).

        fused: (S, (H + 2 KV) * head_dim), queries, keys and values of the new tokens.
        """
        heads, kv_heads = self._config.num_heads, self._kv_heads
        width = (heads + 2 * kv_heads) * self._head_dim
        past = [
            self._graph.input(
                f"past_{kind}.{index}", (1, kv_heads, "P", self._head_dim), self._dtype
            )
            for kind in ("key", "value")
        ]
        batch = self._graph.reshape(fused, (1, -1, width), name=f"{name}.batch")
        mixed, key, value = self._graph.op_outputs(
            "GroupQueryAttention",
            [batch, None, None, *past, *self._lengths, *self._rotary],
            {"num_heads": heads, "kv_num_heads": kv_heads, "do_rotary": 1},
            name=f"{name}.attention",
            domain=MICROSOFT,
            num_outputs=3,
        )
        self._present += [(key, f"present_key.{index}"), (value, f"present_value.{index}")]
        return self._graph.reshape(mixed, (-1, heads * self._head_dim), name=f"{name}.mixed")

    def add_outputs(self) -> None:
        """Make every layer's new keys and values outputs of the graph."""
        shape = (1, self._kv_heads, "P_present", self._head_dim)
        for value, name in self._present:
            self._graph.output(value, name, shape, self._dtype)


def _layer(
    layer: Section, hidden: ir.Value, sequence: _Sequence, index: int, *, last_row_only: bool
) -> ir.Value:
    """One decoder layer: (S, D) to (S, D), or to (1, D) where only the last token is wanted.

    The last layer needs keys and values of all tokens, but the rest of its work for one only.
    """
    graph, prefix = layer.graph, layer.prefix
    eps = layer.checkpoint.language.rms_norm_eps
    normed = layer.norm(hidden, "input_layernorm", eps=eps)
    modules = [f"self_attn.{role}_proj" for role in ("q", "k", "v")]
    fused = layer.linear(normed, *modules, name="self_attn.qkv")
    mixed = sequence.attend(fused, index, name=f"{prefix}.self_attn")
    if last_row_only:
        last = np.array([-1])
        mixed = graph.gather_rows(mixed, last, name=f"{prefix}.last_mixed")
        hidden = graph.gather_rows(hidden, last, name=f"{prefix}.last_hidden")
    update = layer.linear(mixed, "self_attn.o_proj")
    hidden = graph.add(hidden, update, name=f"{prefix}.attended")
    update = layer.swiglu(layer.norm(hidden, "post_attention_layernorm", eps=eps), "mlp")
    return graph.add(hidden, update, name=f"{prefix}.output")
