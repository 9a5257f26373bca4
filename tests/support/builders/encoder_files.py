"""Writes tiny BERTs with random weights, which make embeddings or rank documents: as GGUF and as a checkpoint.

Both files of a kind have the same weights and words, so both engines must answer the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.builders.model_files import Shapes, write_gguf, write_safetensors

LAYERS, HIDDEN, INNER, HEADS, CONTEXT = 2, 64, 128, 2, 512
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("king", "queen", "man", "woman", "river", "bank", "a", "the", "of")
PADDING, UNKNOWN, START, SEPARATOR, MASK = range(5)
MEAN, RANK = 1, 4
"""llama.cpp's numbers of two ways to make one vector of those of all tokens."""
VOCABULARY = [*SPECIAL, *dict.fromkeys([*WORDS, *LETTERS]), *(f"##{letter}" for letter in LETTERS)]

_LAYER = {
    # a layer's part by llama.cpp's name and by the Hub's, with its shape as (out, in)
    "attn_q": ("attention.self.query", (HIDDEN, HIDDEN)),
    "attn_k": ("attention.self.key", (HIDDEN, HIDDEN)),
    "attn_v": ("attention.self.value", (HIDDEN, HIDDEN)),
    "attn_output": ("attention.output.dense", (HIDDEN, HIDDEN)),
    "attn_output_norm": ("attention.output.LayerNorm", (HIDDEN,)),
    "ffn_up": ("intermediate.dense", (INNER, HIDDEN)),
    "ffn_down": ("output.dense", (HIDDEN, INNER)),
    "layer_output_norm": ("output.LayerNorm", (HIDDEN,)),
}
_AROUND = {
    "token_embd.weight": ("embeddings.word_embeddings.weight", (len(VOCABULARY), HIDDEN)),
    "position_embd.weight": ("embeddings.position_embeddings.weight", (CONTEXT, HIDDEN)),
    "token_types.weight": ("embeddings.token_type_embeddings.weight", (2, HIDDEN)),
    "token_embd_norm.weight": ("embeddings.LayerNorm.weight", (HIDDEN,)),
    "token_embd_norm.bias": ("embeddings.LayerNorm.bias", (HIDDEN,)),
}
_RANKING = {
    "cls.weight": ("bert.pooler.dense.weight", (HIDDEN, HIDDEN)),
    "cls.bias": ("bert.pooler.dense.bias", (HIDDEN,)),
    "cls.output.weight": ("classifier.weight", (1, HIDDEN)),
    "cls.output.bias": ("classifier.bias", (1,)),
}


def write_embedding_gguf(path: Path) -> Path:
    return _write_gguf(path, pooling=MEAN)


def write_reranking_gguf(path: Path) -> Path:
    return _write_gguf(path, pooling=RANK)


def write_embedding_checkpoint(folder: Path) -> Path:
    """As sentence-transformers stores it: files next to the model say that all tokens' vectors are averaged."""
    _write_checkpoint(folder, "BertModel", {hub: shape for _, hub, shape in _tensors()})
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def write_reranking_checkpoint(folder: Path) -> Path:
    shapes = {f"bert.{hub}": shape for _, hub, shape in _tensors()} | dict(_RANKING.values())
    return _write_checkpoint(folder, "BertForSequenceClassification", shapes, num_labels=1, id2label={"0": "LABEL_0"})


def _tensors() -> list[tuple[str, str, tuple[int, ...]]]:
    """llama.cpp's name, the Hub's, and the shape as the Hub has it."""
    found = [(ours, hub, shape) for ours, (hub, shape) in _AROUND.items()]
    for number in range(LAYERS):
        for ours, (hub, shape) in _LAYER.items():
            for part, size in (("weight", shape), ("bias", shape[:1])):
                found.append((f"blk.{number}.{ours}.{part}", f"encoder.layer.{number}.{hub}.{part}", size))
    return found


def _write_gguf(path: Path, *, pooling: int) -> Path:
    tensors = {ours: shape for ours, _, shape in _tensors()}
    if pooling == RANK:
        tensors |= {ours: shape for ours, (_, shape) in _RANKING.items()}
    shapes: Shapes = {name: shape[::-1] for name, shape in tensors.items()}
    # A word's first piece starts with the mark of a space, where the Hub's tokenizers mark the pieces that follow.
    pieces = [
        each if each in SPECIAL else each[2:] if each.startswith("##") else f"\u2581{each}" for each in VOCABULARY
    ]
    metadata: dict[str, Any] = {
        "general.architecture": "bert",
        "bert.block_count": LAYERS,
        "bert.context_length": CONTEXT,
        "bert.embedding_length": HIDDEN,
        "bert.feed_forward_length": INNER,
        "bert.attention.head_count": HEADS,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": pooling,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (len(pieces) - len(SPECIAL)),
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.padding_token_id": PADDING,
        "tokenizer.ggml.unknown_token_id": UNKNOWN,
        "tokenizer.ggml.bos_token_id": START,
        "tokenizer.ggml.cls_token_id": START,
        "tokenizer.ggml.eos_token_id": SEPARATOR,
        "tokenizer.ggml.seperator_token_id": SEPARATOR,
        "tokenizer.ggml.mask_token_id": MASK,
    }
    return write_gguf(path, metadata, shapes)


def _write_checkpoint(folder: Path, architecture: str, shapes: Shapes, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    merged = {
        "architectures": [architecture],
        "model_type": "bert",
        "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "type_vocab_size": 2,
        "vocab_size": len(VOCABULARY),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": PADDING,
        "torch_dtype": "float32",
        **config,
    }
    (folder / "config.json").write_text(json.dumps(merged))
    write_safetensors(folder / "model.safetensors", shapes)
    _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    start, separator = ({"SpecialToken": {"id": each, "type_id": 0}} for each in ("[CLS]", "[SEP]"))
    first, second = ({"Sequence": {"id": each, "type_id": kind}} for each, kind in (("A", 0), ("B", 1)))
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": each, "special": True, "single_word": False, "lstrip": False, "rstrip": False}
            | {"normalized": False}
            for number, each in enumerate(SPECIAL)
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, separator],
            "pair": [start, first, separator, second, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {
                each: {"id": each, "ids": [number], "tokens": [each]}
                for each, number in (("[CLS]", START), ("[SEP]", SEPARATOR))
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {each: number for number, each in enumerate(VOCABULARY)},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, "cls_token": "[CLS]"}
    named |= {"sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
