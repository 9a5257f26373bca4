"""What each task is served by, and what a model is for by its files."""

from __future__ import annotations

import pytest
from slipway.contract.tasks import OF_TASKS, PATHS, Task, another_task, paths_of, serves, task_of, task_of_gguf
from slipway_runtime.guard.routes import SERVED, BodyKind

ARCHITECTURES = [
    ("LlamaForCausalLM", None, Task.GENERATE),
    ("Gemma3ForConditionalGeneration", None, Task.GENERATE),
    ("GPT2LMHeadModel", None, Task.GENERATE),
    ("InternVLChatModel", None, Task.GENERATE),
    ("ChatGLMModel", None, Task.GENERATE),
    ("", None, Task.GENERATE),
    ("BertModel", None, Task.EMBED),
    ("NomicBertModel", None, Task.EMBED),
    ("RobertaForMaskedLM", None, Task.EMBED),
    ("BgeM3EmbeddingModel", None, Task.EMBED),
    ("XLMRobertaForSequenceClassification", 1, Task.RERANK),
    ("XLMRobertaForSequenceClassification", 3, Task.CLASSIFY),
    ("XLMRobertaForSequenceClassification", None, Task.CLASSIFY),
    ("BertForTokenClassification", 9, Task.CLASSIFY),
    ("WhisperForConditionalGeneration", None, Task.TRANSCRIBE),
]


@pytest.mark.parametrize(("architecture", "labels", "expected"), ARCHITECTURES)
def test_an_architecture_says_what_a_model_is_for(architecture: str, labels: int | None, expected: Task) -> None:
    assert task_of(architecture, labels) is expected


@pytest.mark.parametrize(
    ("architecture", "pooling", "expected"),
    [
        ("llama", None, Task.GENERATE),
        ("llama", 0, Task.GENERATE),
        ("qwen3", 3, Task.EMBED),
        ("bert", None, Task.EMBED),
        ("bert", 4, Task.RERANK),
        ("qwen3", 4, Task.RERANK),
        ("qwen3", "last", Task.EMBED),
    ],
)
def test_a_gguf_header_says_what_a_model_is_for(architecture: str, pooling: object, expected: Task) -> None:
    assert task_of_gguf(architecture, pooling) is expected


def test_each_path_of_a_task_is_one_that_the_guard_serves() -> None:
    posted = {each.path for each in SERVED if each.method == "POST" and each.takes is not BodyKind.NOTHING}
    assert posted - {"/v1/responses/*/cancel"} == OF_TASKS


@pytest.mark.parametrize("engine", ["vllm", "llamacpp"])
def test_a_refusal_names_a_path_that_is_served(engine: str) -> None:
    for task in Task:
        for path in sorted(OF_TASKS):
            if paths_of(task, engine) and not serves(path, task=task, engine=engine):
                instead = another_task("POST", path, task=task, engine=engine).rpartition("POST ")[2].rstrip(".")
                assert serves(instead, task=task, engine=engine)


def test_an_unknown_task_leaves_the_decision_to_the_engine() -> None:
    assert all(serves(path, task="", engine="vllm") for path in OF_TASKS)
    assert not serves("/v2/rerank", task="", engine="llamacpp")
    assert serves("/v1/rerank", task="", engine="llamacpp")


def test_llamacpp_serves_embeddings_and_ranks_and_neither_classes_nor_speech() -> None:
    assert paths_of(Task.EMBED, "llamacpp") == ("/v1/embeddings", "/tokenize", "/detokenize")
    assert paths_of(Task.RERANK, "llamacpp") == ("/v1/rerank", "/rerank", "/tokenize", "/detokenize")
    assert not paths_of(Task.CLASSIFY, "llamacpp")
    assert not paths_of(Task.TRANSCRIBE, "llamacpp")


def test_with_vllm_embeddings_are_also_compared() -> None:
    assert "/v1/rerank" in PATHS[Task.EMBED]
    assert "/v1/embeddings" not in PATHS[Task.RERANK]
