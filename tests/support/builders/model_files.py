"""Writes small models in the formats that engines read, byte by byte, so that tests can damage any part."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, CONTEXT = 2, 64, 128, 2, 1, 512
HEAD_DIM = HIDDEN // HEADS
BYTES = [f"<0x{number:02X}>" for number in range(256)]
VOCABULARY = ["<unk>", "<s>", "</s>", *BYTES]

Shapes = dict[str, tuple[int, ...]]

# --- GGUF ------------------------------------------------------------------------------------------------------------

F32, Q4_0 = 0, 2
UINT32, FLOAT32, BOOL, STRING, ARRAY, INT32, UINT16, UINT64 = 4, 6, 7, 8, 9, 5, 2, 10

LLAMA_GGUF: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": LAYERS,
    "llama.context_length": CONTEXT,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": HEAD_DIM,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": VOCABULARY,
    "tokenizer.ggml.scores": [0.0] * len(VOCABULARY),
    "tokenizer.ggml.token_type": [2, 3, 3] + [6] * len(BYTES),
}


def llama_gguf_shapes() -> Shapes:
    """Returns the tensors of a tiny Llama by llama.cpp's names; the innermost dimension first, as in GGUF."""
    layer = {
        "attn_norm": (HIDDEN,),
        "attn_q": (HIDDEN, HIDDEN),
        "attn_k": (HIDDEN, KV_HEADS * HEAD_DIM),
        "attn_v": (HIDDEN, KV_HEADS * HEAD_DIM),
        "attn_output": (HIDDEN, HIDDEN),
        "ffn_norm": (HIDDEN,),
        "ffn_gate": (HIDDEN, INNER),
        "ffn_up": (HIDDEN, INNER),
        "ffn_down": (INNER, HIDDEN),
    }
    around = {
        "token_embd.weight": (HIDDEN, len(VOCABULARY)),
        "output_norm.weight": (HIDDEN,),
        "output.weight": (HIDDEN, len(VOCABULARY)),
    }
    return around | {f"blk.{number}.{name}.weight": shape for number in range(LAYERS) for name, shape in layer.items()}


def without(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def write_gguf(
    path: Path,
    metadata: Mapping[str, Any] | None = None,
    shapes: Shapes | None = None,
    *,
    version: int = 3,
    tensor_type: int = F32,
) -> Path:
    """Writes a tiny Llama with random weights, or with the metadata and shapes that are given."""
    metadata = LLAMA_GGUF if metadata is None else metadata
    shapes = llama_gguf_shapes() if shapes is None else shapes
    header, weights = b"", b""
    for name, shape in shapes.items():
        header += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, tensor_type, len(weights))
        data = _floats(math.prod(shape)) if tensor_type == F32 else bytes(math.prod(shape) // 32 * 18)
        weights += data + bytes(-len(data) % 32)
    pairs = b"".join(_text(key) + _typed(value) for key, value in metadata.items())
    start = b"GGUF" + struct.pack("<IQQ", version, len(shapes), len(metadata)) + pairs + header
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(start + bytes(-len(start) % 32) + weights)
    return path


def write_gguf_parts(folder: Path, count: int, stem: str = "tiny") -> list[Path]:
    """Writes the same Llama in several files, as llama.cpp splits large models."""
    shapes = llama_gguf_shapes()
    split = {"split.count": (UINT16, count), "split.tensors.count": (INT32, len(shapes))}
    names = [*shapes]
    files = []
    for number in range(count):
        own = {name: shapes[name] for name in names[number::count]}
        metadata = (LLAMA_GGUF if number == 0 else {}) | split | {"split.no": (UINT16, number)}
        files.append(write_gguf(folder / f"{stem}-{number + 1:05}-of-{count:05}.gguf", metadata, own))
    return files


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _typed(value: Any) -> bytes:
    """Encodes a value after its type; (type, number) where the type of a number matters."""
    match value:
        case (kind, number) if isinstance(value, tuple):
            return struct.pack("<I", kind) + struct.pack({UINT16: "<H", INT32: "<i", UINT64: "<Q"}[kind], number)
        case bool():
            return struct.pack("<I?", BOOL, value)
        case int():
            return struct.pack("<II", UINT32, value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case str():
            return struct.pack("<I", STRING) + _text(value)
        case [*items]:
            kind = {str: STRING, float: FLOAT32, bool: BOOL}.get(type(items[0]), INT32)
            form = {FLOAT32: "f", BOOL: "?", INT32: "i"}.get(kind)
            packed = struct.pack(f"<{len(items)}{form}", *items) if form else b"".join(map(_text, items))
            return struct.pack("<IIQ", ARRAY, kind, len(items)) + packed
    raise TypeError(value)


# --- safetensors, and the folder around them -------------------------------------------------------------------------

LLAMA_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": LAYERS,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": CONTEXT,
    "vocab_size": 256,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float32",
}
SIZES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "I32": 4, "I8": 1, "U8": 1}


def llama_checkpoint_shapes() -> Shapes:
    """Returns the tensors of a tiny Llama by their names on the Hugging Face hub."""
    layer = {
        "input_layernorm": (HIDDEN,),
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
        "self_attn.v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "post_attention_layernorm": (HIDDEN,),
        "mlp.gate_proj": (INNER, HIDDEN),
        "mlp.up_proj": (INNER, HIDDEN),
        "mlp.down_proj": (HIDDEN, INNER),
    }
    around = {
        "model.embed_tokens.weight": (256, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (256, HIDDEN),
    }
    return around | {
        f"model.layers.{number}.{name}.weight": shape for number in range(LAYERS) for name, shape in layer.items()
    }


def write_safetensors(path: Path, shapes: Shapes, dtype: str = "F32") -> Path:
    header, weights = {}, b""
    for name, shape in shapes.items():
        data = _floats(math.prod(shape)) if dtype == "F32" else bytes(math.prod(shape) * SIZES[dtype])
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(weights), len(weights) + len(data)]}
        weights += data
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + weights)
    return path


def write_checkpoint(folder: Path, *, parts: int = 1, dtype: str = "F32", **config: Any) -> Path:
    """Writes a folder as on the hub: config, weights in one file or several, tokenizer. A config value of None is left
    out."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {key: value for key, value in (LLAMA_CONFIG | config).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(merged))
    write_tokenizer(folder, context=merged.get("max_position_embeddings", CONTEXT))
    shapes = llama_checkpoint_shapes()
    if parts == 1:
        write_safetensors(folder / "model.safetensors", shapes, dtype)
        return folder
    names = [f"model-{number + 1:05}-of-{parts:05}.safetensors" for number in range(parts)]
    weight_map = {tensor: names[place % parts] for place, tensor in enumerate(shapes)}
    for name in names:
        write_safetensors(folder / name, {each: shapes[each] for each in shapes if weight_map[each] == name}, dtype)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def write_tokenizer(folder: Path, *, context: int = CONTEXT) -> None:
    """Writes a tokenizer with one token for each byte."""
    vocabulary = {letter: number for number, letter in enumerate(_byte_letters())}
    model = {"type": "BPE", "vocab": vocabulary, "merges": []}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = {
        "version": "1.0",
        "model": model,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "added_tokens": [],
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))


def write_adapter(folder: Path, *, rank: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    adapter = {"r": rank, "lora_alpha": 16, "base_model_name_or_path": "some/base", "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(adapter | {"peft_type": "LORA"}))
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes: Shapes = {f"{name}.lora_A.weight": (rank, HIDDEN), f"{name}.lora_B.weight": (HIDDEN, rank)}
    write_safetensors(folder / "adapter_model.safetensors", shapes)
    return folder


def cut(path: Path, *, to: float) -> None:
    """Truncates a file to this fraction of its size."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * to)])


def write_lfs_pointer(path: Path) -> None:
    """Writes what `git clone` leaves of a large file where Git LFS isn't installed."""
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 16060522904\n")


def _byte_letters() -> list[str]:
    """Returns the letters by which byte-level tokenizers represent the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [number for number in range(256) if number not in printable]
    letters = {number: chr(number) for number in printable} | {n: chr(256 + at) for at, n in enumerate(others)}
    return [letters[number] for number in range(256)]


@cache
def _floats(count: int) -> bytes:
    chance = random.Random(count)
    return struct.pack(f"<{count}f", *(chance.gauss(0, 0.05) for _ in range(count)))
