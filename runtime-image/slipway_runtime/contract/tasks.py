"""What models are for, and which paths of the API serve each task, with each engine.

The activator wakes no model for a request of another task, and the guard in the pod answers the same to it.

This file is the same on both sides of the pod: `make generate` copies it from runtime-image/slipway_runtime/contract to
operator/slipway/contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Task(StrEnum):
    """What a model is for; `does` is said of it."""

    does: str

    def __new__(cls, word: str, does: str = "") -> Task:
        found = str.__new__(cls, word)
        found._value_, found.does = word, does
        return found

    GENERATE = "Generate", "generates text"
    EMBED = "Embed", "makes embeddings"
    RERANK = "Rerank", "ranks documents"
    CLASSIFY = "Classify", "classifies text"
    TRANSCRIBE = "Transcribe", "transcribes speech"


POOLING = (Task.EMBED, Task.RERANK, Task.CLASSIFY)
"""Those whose models generate nothing: they return one result for all of their input."""

_TEXT = "/v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/messages/count_tokens"
_SPEECH = "/v1/audio/transcriptions /v1/audio/translations"
_SCORES = "/v1/rerank /v2/rerank /rerank /v1/score /score"
_TOKENIZER = "/tokenize /detokenize"
_PATHS: Mapping[Task, str] = {
    # Models that generate text may hear, too; and models that make embeddings can compare them.
    Task.GENERATE: f"{_TEXT} {_SPEECH} {_TOKENIZER}",
    Task.EMBED: f"/v1/embeddings {_SCORES} /pooling {_TOKENIZER}",
    Task.RERANK: f"{_SCORES} /classify /pooling {_TOKENIZER}",
    Task.CLASSIFY: f"/classify /pooling {_TOKENIZER}",
    Task.TRANSCRIBE: f"{_SPEECH} {_TOKENIZER}",
}
PATHS: Mapping[Task, tuple[str, ...]] = {task: tuple(paths.split()) for task, paths in _PATHS.items()}
"""The paths of each task, the usual one first."""
OF_TASKS = frozenset(path for paths in PATHS.values() for path in paths)
_LLAMACPP_LACKS = frozenset(["/v2/rerank", "/v1/score", "/score", "/classify", "/pooling", "/v1/audio/translations"])
_LLAMACPP_SERVES = {
    Task.EMBED: frozenset(PATHS[Task.EMBED]) - frozenset(_SCORES.split()),
    Task.CLASSIFY: frozenset[str](),
    Task.TRANSCRIBE: frozenset[str](),
}


def serves(path: str, *, task: str, engine: str) -> bool:
    """Returns whether a path of the API can be served. Where the task isn't known, only the engine will tell."""
    if path not in OF_TASKS:
        return True
    if engine == "llamacpp" and path in _LLAMACPP_LACKS:
        return False
    return task not in [*Task] or path in paths_of(Task(task), engine)


def paths_of(task: Task, engine: str) -> tuple[str, ...]:
    """Returns the paths that serve a task with an engine, the usual one first; none: the engine can't do it."""
    if engine != "llamacpp":
        return PATHS[task]
    served = _LLAMACPP_SERVES.get(task, frozenset(PATHS[task]))
    return tuple(path for path in PATHS[task] if path in served and path not in _LLAMACPP_LACKS)


def another_task(method: str, path: str, *, task: str, engine: str) -> str:
    """Returns why a request of another task is refused, and what to send instead."""
    if task not in [*Task]:
        return f"{method} {path} is not served by this model's engine."
    known = Task(task)
    return f"This model {known.does}, so it doesn't serve {path}: send POST {paths_of(known, engine)[0]}."


_GENERATING = ("ChatModel", "LMHeadModel", "LMModel", "OmniModel", "AudioModel", "ChatGLMModel", "UltravoxModel")
"""How names of architectures end that generate text; of others that end with Model, vLLM takes embeddings."""
GGUF_ENCODERS = frozenset(
    ["bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert"]
)
"""The architectures of GGUF files that see all tokens at once, and so generate nothing."""
NONE, RANK = 0, 4
"""llama.cpp's numbers of ways to make one result of a text: not at all, and the one of rerankers."""


def task_of(architecture: str, labels: int | None) -> Task:
    """Returns what a model is for by its architecture, as config.json names it, and the number of its labels."""
    if architecture.endswith("ForSequenceClassification"):
        return Task.RERANK if labels == 1 else Task.CLASSIFY
    if architecture.endswith(("ForTokenClassification", "ForProcessRewardModel", "ForRewardModel")):
        return Task.CLASSIFY
    if architecture.startswith("Whisper"):
        return Task.TRANSCRIBE
    if architecture.endswith(("Model", "ForMaskedLM", "Embedding")) and not architecture.endswith(_GENERATING):
        return Task.EMBED
    return Task.GENERATE


def task_of_gguf(architecture: str, pooling: object) -> Task:
    """Returns what a GGUF model is for, by general.architecture and the number of its pooling_type, if it has any."""
    if pooling == RANK:
        return Task.RERANK
    return Task.EMBED if architecture in GGUF_ENCODERS or pooling not in (None, NONE) else Task.GENERATE
