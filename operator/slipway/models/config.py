"""A checkpoint's config.json → what is known of the model. Pure, for any input: what isn't understood is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from slipway.contract import tasks
from slipway.models.attention import head_size
from slipway.models.defaults import defaults_of
from slipway.models.experts import COUNT, PER_TOKEN, experts_of
from slipway.models.facts import Evidence, Experts, Keeps, Layers, Model, Weights
from slipway.models.layers import layers_of
from slipway.models.mistral import in_other_words
from slipway.models.nas import widest as widest_of_nas
from slipway.models.parameters import weights_of
from slipway.models.quantization import quantization_of
from slipway.models.renamed import in_usual_words
from slipway.models.rope import LENGTHS, lengths_of, rope_values_of
from slipway.models.values import Config, Unclear, items, section, text, whole

LANGUAGE_MODEL = ("text_config", "llm_config", "language_config", "thinker_config", "llm")
DEEPEST = 4  # nested parts; models have two levels
MOST_FIELDS = 2_000  # of one object; configs have at most 150
TYPES = {
    "float32": "float32",
    "float": "float32",
    "float16": "float16",
    "half": "float16",
    "bfloat16": "bfloat16",
    "float8_e4m3fn": "float8",
    "int8": "int8",
}
ALIASES = (COUNT, PER_TOKEN, LENGTHS)  # names of the same number: if a config has one, the default of another is wrong
TIED_BY_TEXT = ("mistral3",)  # engines use the default of the language model, which differs from that of the whole
OF_ARCHITECTURE = {  # model types of configs that don't name theirs
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "MixtralForCausalLM": "mixtral",
    "Qwen2ForCausalLM": "qwen2",
}

Result = TypeVar("Result")


def model_of_config(config: Mapping[str, Any], *, name: str = "") -> Model:
    """Returns what the config says; numbers computed from it are exact, and the rest is in `missing`."""
    config = in_other_words(config)
    told = language_model(config)
    unclear: list[str] = []
    layers: tuple[Layers, ...] = _or(unclear, (), lambda: layers_of(told))
    weights: Weights | None = _or(unclear, None, lambda: weights_of(config, told))
    experts: Experts | None = _or(unclear, None, lambda: experts_of(told))
    lengths = lengths_of(told)
    size = _or([], None, lambda: head_size(told))
    widest = widest_of_nas(told) if text(told, "model_type") == "nemotron-nas" else None
    found = {
        "hidden_size": whole(told, "hidden_size", "n_embd", "d_model", "dim"),
        "intermediate_size": widest or whole(told, "intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim"),
        "attention_heads": whole(told, "num_attention_heads", "n_head", "n_heads", "num_heads"),
        "vocabulary_size": whole(told, "vocab_size", "padded_vocab_size"),
        "context_length": lengths.default,
    }
    return Model(
        name=name,
        architecture=architecture_of(config),
        model_type=text(told, "model_type"),
        task=tasks.task_of(architecture_of(config), _labels(config)).value,
        layers=layers,
        longest_context=lengths.longest,
        rope_values=rope_values_of(told, size),
        dtype=dtype_of(config, told),
        weights=weights,
        experts=experts,
        quantization=quantization_of(config, told),
        evidence=_evidence(found, layers, weights),
        missing=tuple(dict.fromkeys([*unclear, *(_SPEC[key] for key in _absent(found, experts, layers))])),
        hidden_size=found["hidden_size"],
        intermediate_size=found["intermediate_size"],
        attention_heads=found["attention_heads"],
        vocabulary_size=found["vocabulary_size"],
        context_length=found["context_length"],
    )


def _evidence(
    found: Mapping[str, int | None], layers: tuple[Layers, ...], weights: Weights | None
) -> dict[str, Evidence]:
    fields = [spec for key, spec in _SPEC.items() if found[key] is not None]
    fields += ["layers"] if layers else []
    fields += ["parameters"] if weights else []
    return dict.fromkeys(fields, Evidence.EXACT)


def _absent(found: Mapping[str, int | None], experts: Experts | None, layers: tuple[Layers, ...]) -> list[str]:
    """Models whose layers all have experts, or no MLP at all, have no size of a dense one."""
    without = experts is not None or any(each.keeps is Keeps.STATE for each in layers)
    spared = ("intermediate_size", *(() if any(each.kv_heads for each in layers) else ("attention_heads",)))
    return [key for key, value in found.items() if value is None and not (key in spared and (without or not layers))]


_SPEC = {
    "hidden_size": "hiddenSize",
    "intermediate_size": "intermediateSize",
    "attention_heads": "attentionHeads",
    "vocabulary_size": "vocabularySize",
    "context_length": "contextLength",
}


def language_model(config: Config) -> Config:
    """Returns the part that describes the language model, with what surrounds it and the defaults of its class."""
    told = dict(config) if len(config) <= MOST_FIELDS else {}
    for _ in range(DEEPEST):
        name = next((each for each in LANGUAGE_MODEL if isinstance(told.get(each), Mapping)), None)
        if name is None or len(told[name]) > MOST_FIELDS:
            break
        inner = told.pop(name)
        told = {**told, **inner}
    if not text(told, "model_type"):
        told["model_type"] = OF_ARCHITECTURE.get(architecture_of(config), "")
    told = {**_counted(told), **told, **{name: config[name] for name in ("tie_word_embeddings",) if name in config}}
    taken = {name for names in ALIASES if any(name in told for name in names) for name in names}
    defaults = dict(defaults_of(text(told, "model_type")))
    if text(config, "model_type") not in TIED_BY_TEXT:
        around = defaults_of(text(config, "model_type"))
        defaults |= {name: around[name] for name in ("tie_word_embeddings",) if name in around}
    usual = in_usual_words(text(told, "model_type"), told, defaults)
    return {**{name: value for name, value in defaults.items() if name not in taken}, **told, **usual}


def _counted(told: Config) -> Config:
    """Nemotron-H may have its layers as a list, or as letters, and no number of them."""
    pattern = told.get("hybrid_override_pattern")
    letters = pattern.replace("|", "") if isinstance(pattern, str) and len(pattern) <= MOST_FIELDS else ""
    count = len(items(told, "layers_block_type") or letters)
    return {"num_hidden_layers": count} if count else {}


def architecture_of(config: Config) -> str:
    named = items(config, "architectures") or []
    return named[0] if named and isinstance(named[0], str) and len(named[0]) <= 200 else ""


def _labels(config: Config) -> int | None:
    named = section(config, "id2label")
    return len(named) or whole(config, "num_labels")


def dtype_of(config: Config, told: Config) -> str:
    kind = text(config, "torch_dtype", "dtype") or text(told, "torch_dtype", "dtype")
    return TYPES.get(kind.removeprefix("torch."), "bfloat16")


def _or(unclear: list[str], instead: Result, compute: Callable[[], Result]) -> Result:
    try:
        return compute()
    except Unclear as error:
        unclear.append(error.field)
        return instead
