"""Turns a Gemma 3 GGUF file into the Hugging Face folder that vLLM and transformers load.

Run as a program, `model_conversion.py SOURCE.gguf FOLDER`, in an environment of its own: what it imports (see
model-conversion-requirements.txt) is no dependency of devcluster. Weights are dequantized to bfloat16, so the folder
answers as the GGUF file does, up to rounding.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np  # type: ignore[import-not-found,unused-ignore]
from gguf import GGUFReader, dequantize  # type: ignore[import-not-found,unused-ignore]
from tokenizers import (  # type: ignore[import-not-found,unused-ignore]
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

CONTROL, USER_DEFINED = 3, 4  # values of tokenizer.ggml.token_type
SPACE = "▁"  # how SentencePiece writes a space
SLIDING_LAYERS_PER_FULL = 5  # every sixth layer of Gemma 3 attends to the entire context
ROWS_AT_ONCE = 8192  # of a tensor in memory: 20 MB of float32 in the largest one
LOCAL_ROPE_THETA = 10_000.0  # of the sliding layers; llama.cpp has it built in, so GGUF doesn't carry it

TENSOR_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYER_TENSOR_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(source: Path, folder: Path) -> None:
    """Write config, weights and tokenizer of `source` into `folder`."""
    reader = GGUFReader(source)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in configuration_files(facts).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    make_tokenizer(facts).save(str(folder / "tokenizer.json"))
    write_safetensors(reader.tensors, folder / "model.safetensors")


# --- Weights ---


def write_safetensors(tensors: list[Any], path: Path) -> None:
    """The length of a header, the header, and the tensors one after the other, never all of them in memory."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + 2 * int(tensor.n_elements)
        shape = [int(size) for size in reversed(tensor.shape)]
        header[hugging_face_name(tensor.name)] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)  # the format requires aligned tensors
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors:
            file.writelines(bfloat16_chunks(tensor))


def bfloat16_chunks(tensor: Any) -> Iterator[bytes]:
    """The values as Hugging Face has them, some thousand rows at a time."""
    # GGUF stores the factor of a norm, Hugging Face its difference from 1.
    offset = -1 if tensor.name.endswith("norm.weight") else 0
    for start in range(0, len(tensor.data), ROWS_AT_ONCE):
        rows = tensor.data[start : start + ROWS_AT_ONCE]
        yield bfloat16_bytes(dequantize(rows, tensor.tensor_type) + offset)


def hugging_face_name(name: str) -> str:
    """`blk.7.attn_q.weight` is `model.layers.7.self_attn.q_proj.weight`."""
    stem, suffix = name.rsplit(".", 1)
    if not stem.startswith("blk."):
        return f"{TENSOR_NAMES[stem]}.{suffix}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{LAYER_TENSOR_NAMES[part]}.{suffix}"


def bfloat16_bytes(values: Any) -> bytes:
    """The upper halves of the float32s, rounded to nearest and ties to even; numpy has no such type."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounding = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    return bytes(((bits + rounding) >> 16).astype("<u2").tobytes())


# --- Configuration ---


def configuration_files(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    special = {
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
    }
    return {
        "config.json": model_configuration(facts) | special,
        "generation_config.json": special,
        "tokenizer_config.json": tokenizer_configuration(facts),
    }


def model_configuration(facts: dict[str, Any]) -> dict[str, Any]:
    """The values of the checkpoint's own config.json. No quantization_config: the weights are plain bfloat16."""
    layers = facts["gemma3.block_count"]
    pattern = [*["sliding_attention"] * SLIDING_LAYERS_PER_FULL, "full_attention"]
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "torch_dtype": "bfloat16",
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "hidden_size": facts["gemma3.embedding_length"],
        "intermediate_size": facts["gemma3.feed_forward_length"],
        "num_hidden_layers": layers,
        "num_attention_heads": facts["gemma3.attention.head_count"],
        "num_key_value_heads": facts["gemma3.attention.head_count_kv"],
        "head_dim": facts["gemma3.attention.key_length"],
        "query_pre_attn_scalar": facts["gemma3.attention.key_length"],
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": float(f"{facts['gemma3.attention.layer_norm_rms_epsilon']:.6g}"),
        "max_position_embeddings": facts["gemma3.context_length"],
        "sliding_window": facts["gemma3.attention.sliding_window"],
        "layer_types": [pattern[layer % len(pattern)] for layer in range(layers)],
        "rope_theta": facts["gemma3.rope.freq_base"],
        "rope_local_base_freq": LOCAL_ROPE_THETA,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "tie_word_embeddings": True,
    }


def tokenizer_configuration(facts: dict[str, Any]) -> dict[str, Any]:
    tokens = facts["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is
        "model_max_length": facts["gemma3.context_length"],
        "bos_token": tokens[facts["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[facts["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[facts["tokenizer.ggml.padding_token_id"]],
        "unk_token": tokens[facts["tokenizer.ggml.unknown_token_id"]],
        "clean_up_tokenization_spaces": False,
    }


# --- Tokenizer ---


def make_tokenizer(facts: dict[str, Any]) -> Any:
    """A byte-pair tokenizer with the vocabulary of the file, which starts each text with <bos>."""
    pieces = vocabulary(facts)
    numbers = {piece: number for number, piece in enumerate(pieces)}
    bos, unknown = facts["tokenizer.ggml.bos_token_id"], facts["tokenizer.ggml.unknown_token_id"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab=numbers,
            merges=merges(pieces, scores(facts), numbers),
            unk_token=pieces[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    # Without <bos> at the start, the model generates nothing.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{pieces[bos]} $A", pair=f"{pieces[bos]} $A {pieces[bos]} $B", special_tokens=[(pieces[bos], bos)]
    )
    tokenizer.add_tokens(list(whole_pieces(pieces, facts["tokenizer.ggml.token_type"])))
    return tokenizer


def vocabulary(facts: dict[str, Any]) -> list[str]:
    """The pieces in order; GGUF writes those that a user defined with plain spaces, Hugging Face never does."""
    kinds = facts["tokenizer.ggml.token_type"]
    tokens = facts["tokenizer.ggml.tokens"]
    return [
        token.replace(" ", SPACE) if kind == USER_DEFINED else token for token, kind in zip(tokens, kinds, strict=True)
    ]


def scores(facts: dict[str, Any]) -> list[float]:
    """The score of each piece, by which merges are ordered. Pieces that a user defined (runs of spaces, for one) have
    precedence over all that were learned: SentencePiece scores them 0, but GGUF does not preserve that."""
    kinds = facts["tokenizer.ggml.token_type"]
    return [
        0.0 if kind == USER_DEFINED else score
        for score, kind in zip(facts["tokenizer.ggml.scores"], kinds, strict=True)
    ]


def whole_pieces(pieces: list[str], kinds: list[int]) -> Iterator[Any]:
    """The pieces that are matched in a text before it is split and merged."""
    for piece, kind in zip(pieces, kinds, strict=True):
        if kind in (CONTROL, USER_DEFINED):
            yield AddedToken(piece, normalized=False, special=kind == CONTROL)


def merges(pieces: list[str], worth: list[float], numbers: dict[str, int]) -> list[tuple[str, str]]:
    """Every pair of pieces that forms a piece, best score first: SentencePiece merges the pair with the best result."""
    found = [
        (-score, -len(left), -len(right), numbers[left], numbers[right], left, right)
        for piece, score in zip(pieces, worth, strict=True)
        for left, right in ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        if left in numbers and right in numbers
    ]
    return [(left, right) for *_, left, right in sorted(found)]


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
