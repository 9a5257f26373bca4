"""What is known about a model before it runs: its size, and what each kind of its layers keeps of a request. Pure.

Made by `config.py` (a checkpoint's config.json), `gguf.py` (a GGUF header) and `catalogue.py` (models that Slipway
knows), and completed by `sources.py`, where `spec.model.facts` wins. The planner computes with nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from slipway.contract.tasks import Task


class Evidence(StrEnum):
    """How far a number can be trusted."""

    EXACT = "exact"  # read from the checkpoint's own files, or computed from them without a guess
    REPORTED = "reported"  # the spec, the catalogue, an overlay or the Hub says so
    MEASURED = "measured"  # an engine reported it after it had loaded the model
    ESTIMATED = "estimated"  # by a formula that was fitted to measurements


class Keeps(StrEnum):
    """What a layer keeps of a request while the request runs."""

    KEYS_AND_VALUES = "keys and values"  # for each token, or for those of a window
    LATENT = "latent"  # one compressed vector for each token (multi-head latent attention)
    STATE = "state"  # of a fixed size, whatever the number of tokens (Mamba, linear attention, short convolutions)
    NOTHING = "nothing"  # encoders; layers with experts alone; layers that read what an earlier one keeps


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Layers of the language model that are alike in what they keep.

    Those of Falcon-H1 have attention and Mamba side by side: they keep keys and values, and a state besides.
    """

    count: int
    keeps: Keeps = Keeps.KEYS_AND_VALUES
    kv_heads: int = 0  # where keys and values are kept
    key_size: int = 0  # of one head; with a latent, what is computed from it (without the rotary part)
    value_size: int = 0  # of one head
    window: int | None = None  # tokens that the layer sees, as vLLM counts them; None: all
    latent_size: int = 0  # values per token, the rotary part included
    rotary_size: int = 0  # of these, the rotary part, which nothing is expanded from
    index_bytes: int = 0  # per token, of a second cache that finds the tokens to attend to (DeepSeek-V3.2)
    state_16_bit: int = 0  # values of a state that are in the model's own type
    state_32_bit: int = 0  # values of a state that are always in 32 bits

    @property
    def values_per_token(self) -> int:
        """Values that a layer stores for each token; 0 where the size is fixed."""
        return self.latent_size or self.kv_heads * (self.key_size + self.value_size)

    @property
    def has_state(self) -> bool:
        return self.keeps is Keeps.STATE or bool(self.state_16_bit or self.state_32_bit)

    def apart(self) -> tuple[Layers, ...]:
        """As the layers of an engine's cache, each of which keeps one thing: what is for tokens, and the state."""
        if self.keeps is not Keeps.KEYS_AND_VALUES or not self.has_state:
            return (self,)
        state = Layers(
            count=self.count, keeps=Keeps.STATE, state_16_bit=self.state_16_bit, state_32_bit=self.state_32_bit
        )
        return replace(self, state_16_bit=0, state_32_bit=0), state


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts."""

    count: int  # routed experts in a layer
    per_token: int
    intermediate_size: int  # of one expert
    layers: int  # layers that have them


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The parameters, by how engines treat them. All numbers are of parameters, but for `file_bytes`."""

    total: int
    active: int  # used for each token; the total, where there are no experts
    embedding: int = 0  # the table of input tokens
    head: int = 0  # the output layer; 0 if it is the embedding itself
    experts: int = 0  # all routed experts together
    encoders: int = 0  # vision and audio towers, with their projections
    unsplit: int = 0  # what tensor parallelism copies to each device: norms, routers, compressing projections
    file_bytes: int | None = None  # the weight files; None: unknown


MXFP4_GROUP = 32
"""Weights that share a scale; NVFP4 has groups of 16."""


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the checkpoint itself is quantized."""

    method: str  # as config.json names it: fp8, awq, gptq, compressed-tensors, mxfp4…
    bits: float  # of a quantized weight, without scales
    group_size: int | None = None  # weights that share a scale
    only_experts: bool = False  # everything else stays in 16 bits (gpt-oss)
    floats: bool = False  # floating-point numbers, where the method can mean them as well as integers
    edge: int | None = None  # no device may have a part of a group of so many neighbouring weights

    @property
    def format(self) -> str:
        """What a device must be able to compute with: fp8, int8, int4, nvfp4 or mxfp4; empty if it is none of them."""
        if self.bits not in (4, 8) or self.method in ("gguf", "mixed_precision"):
            return ""
        if not (self.floats or "fp" in self.method or self.method == "modelopt"):
            return f"int{self.bits:.0f}"
        if self.bits == 8:
            return "fp8"
        return "mxfp4" if "mxfp4" in self.method or self.group_size == MXFP4_GROUP else "nvfp4"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model. A number that isn't known is None, or in `missing`; it is never guessed."""

    name: str = ""  # as the catalogue or the source names it
    architecture: str  # the first of config.json's `architectures`, or GGUF's general.architecture
    model_type: str = ""
    task: str = Task.GENERATE.value
    layers: tuple[Layers, ...] = ()  # all layers of the language model, in groups of the same kind
    hidden_size: int | None = None
    intermediate_size: int | None = None  # of the dense layers
    attention_heads: int | None = None
    vocabulary_size: int | None = None
    context_length: int | None = None  # what an engine takes by default
    longest_context: int | None = None  # what the model can do if it is asked for (long RoPE); else context_length
    rope_values: int = 0  # values of the tables of rotary embeddings that an engine keeps
    dtype: str = "bfloat16"  # of the checkpoint's weights, quantized ones aside
    weights: Weights | None = None
    experts: Experts | None = None
    quantization: Quantization | None = None
    encoder_tokens: int = 0  # the most tokens that one image or clip becomes; 0 for text alone
    evidence: Mapping[str, Evidence] = field(default_factory=dict)  # by the name of a field of spec.model.facts
    missing: tuple[str, ...] = ()  # fields of spec.model.facts that the planner needs and no source gives

    @property
    def known_weights(self) -> Weights:
        """Of a model that is planned with its numbers."""
        if self.weights is None:
            raise ValueError(f"the weights of {self.name or self.architecture} aren't known")
        return self.weights

    @property
    def layer_count(self) -> int:
        return sum(each.count for each in self.layers)

    @property
    def kv_heads(self) -> int | None:
        """Of the layers with the most; None where no layer has any."""
        return max((each.kv_heads for each in self.layers if each.kv_heads), default=None)
