"""What is known about a model before it is loaded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KV_VALUE_BYTES = 2  # 16 bits, unless another type is chosen for the cache


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The model's dimensions, as far as its config or header has them."""

    layers: int | None = None
    hidden_size: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None  # of each layer; where layers differ, of the widest
    head_dim: int | None = None
    vocabulary_size: int | None = None
    context_length: int | None = None
    experts: int | None = None
    experts_per_token: int | None = None
    sliding_window: int | None = None  # tokens that layers with a window see
    sliding_layers: int = 0  # layers with such a window
    stateless_layers: int = 0  # layers whose memory doesn't grow with the context, such as Mamba's
    latent_size: int | None = (
        None  # values that a layer stores per token, where keys and values are compressed into one
    )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A model's facts: the planner computes with them, and the preflight checks compare them."""

    path: str
    format: str  # safetensors | pytorch | gguf
    architecture: str
    shape: Shape
    weight_bytes: int
    files: int
    parameters: int | None = None
    active_parameters: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    tokenizer: str | None = None  # the name of its file
    chat_template: str = ""
    model_type: str = ""  # of its config
    needs_remote_code: bool = False
    adapters: tuple[str, ...] = ()
    task: str = ""  # what the model is for: a Task

    def kv_cache_bytes(self, tokens: int, value_bytes: float = KV_VALUE_BYTES) -> int | None:
        """Returns the memory for keys and values of one sequence of that length; None where the shape isn't known."""
        shape = self.shape
        values = shape.latent_size or (shape.kv_heads and shape.head_dim and 2 * shape.kv_heads * shape.head_dim)
        if not (shape.layers and values):
            return None
        growing = shape.layers - shape.sliding_layers - shape.stateless_layers
        windowed = shape.sliding_layers * min(tokens, shape.sliding_window or tokens)
        return int((growing * tokens + windowed) * values * value_bytes)

    def as_json(self) -> dict[str, Any]:
        """Returns the facts as JSON. `facts` has the names of an LLMDeployment's spec.model.facts; unknown ones are
        left out."""
        shape = self.shape
        facts = {
            "parameters": self.parameters,
            "activeParameters": self.active_parameters,
            "layers": shape.layers,
            "attentionHeads": shape.attention_heads,
            "kvHeads": shape.kv_heads,
            "headDim": shape.head_dim,
            "hiddenSize": shape.hidden_size,
            "vocabularySize": shape.vocabulary_size,
            "contextLength": shape.context_length,
            "dtype": self.dtype,
            "weights": str(self.weight_bytes),
        }
        told = {
            "path": self.path,
            "format": self.format,
            "architecture": self.architecture,
            "task": self.task,
            "quantization": self.quantization,
            "experts": shape.experts,
            "expertsPerToken": shape.experts_per_token,
            "slidingWindow": shape.sliding_window,
            "slidingLayers": shape.sliding_layers or None,
            "statelessLayers": shape.stateless_layers or None,
            "kvCacheBytesPerToken": self.kv_cache_bytes(1),
            "tokenizer": self.tokenizer,
            "chatTemplate": bool(self.chat_template),
            "needsRemoteCode": self.needs_remote_code,
            "adapters": list(self.adapters),
            "files": self.files,
            "facts": _known(facts),
        }
        return _known(told)


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """A LoRA adapter: what the engine must reserve for it."""

    path: str
    rank: int
    base_model: str = ""
    weight_bytes: int

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "format": "lora",
            "rank": self.rank,
            "baseModel": self.base_model,
            "weightBytes": self.weight_bytes,
        }


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
