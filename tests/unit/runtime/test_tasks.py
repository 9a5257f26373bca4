"""What a model is for, and how engines are started for it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import xllamacpp
from slipway_runtime import serving
from slipway_runtime.contract.tasks import Task
from slipway_runtime.engines import llamacpp, vllm
from slipway_runtime.engines.engine import Launch, StartRefusedError, Wish
from slipway_runtime.engines.llamacpp import Settings, fill
from slipway_runtime.engines.vllm import ENTRY_POINTS, FLAG_SOURCES, Installed
from slipway_runtime.models import find_model, read_model
from support.builders.encoder_files import (
    CONTEXT,
    write_embedding_checkpoint,
    write_embedding_gguf,
    write_reranking_checkpoint,
    write_reranking_gguf,
)
from support.builders.model_files import write_checkpoint, write_gguf

MODEL = Path("/mnt/models")
RANK = 4


def by_vllm(folder: Path, task: str, *flags: str) -> Launch:
    for name, text in ((FLAG_SOURCES[0], "runner convert"), (ENTRY_POINTS[0], "")):
        (folder / "vllm" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "vllm" / name).write_text(text)
    wish = Wish(model=MODEL, name="m", host="127.0.0.1", port=8080, task=task, flags=flags)
    return vllm.launch(wish, Installed(folder / "vllm"), device="cpu")


def by_llamacpp(task: str, *flags: str) -> Launch:
    wish = Wish(model=MODEL / "m.gguf", host="127.0.0.1", port=8080, task=task, flags=flags)
    return llamacpp.launch(wish, context_length=CONTEXT)


# --- what a model is for ---------------------------------------------------------------------------------------------


def task_of(path: Path) -> str:
    return read_model(find_model(path)).task


def test_files_say_what_a_model_is_for(tmp_path: Path) -> None:
    assert task_of(write_gguf(tmp_path / "a.gguf")) == "Generate"
    assert task_of(write_embedding_gguf(tmp_path / "b.gguf")) == "Embed"
    assert task_of(write_reranking_gguf(tmp_path / "c.gguf")) == "Rerank"
    assert task_of(write_checkpoint(tmp_path / "d")) == "Generate"
    assert task_of(write_embedding_checkpoint(tmp_path / "e")) == "Embed"
    assert task_of(write_reranking_checkpoint(tmp_path / "f")) == "Rerank"


def test_a_text_generator_that_was_made_into_an_embedding_model_is_one(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "modules.json").write_text("[]")
    assert task_of(folder) == "Embed"


@pytest.mark.parametrize("flag", ["--runner=generate", "--convert=embed", "--hf-overrides={}", "--hf_overrides={}"])
def test_a_flag_that_makes_another_model_of_the_files_leaves_it_unknown(tmp_path: Path, flag: str) -> None:
    facts = read_model(find_model(write_embedding_checkpoint(tmp_path / "model")))
    arguments = argparse.Namespace(engine="vllm", flags=[flag])
    assert serving._found_task(arguments, facts) == ""
    assert serving._found_task(argparse.Namespace(engine="vllm", flags=["--seed=1"]), facts) == "Embed"


# --- vLLM ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("", set()),
        ("Generate", set()),
        ("Embed", {"--runner=pooling"}),
        ("Rerank", {"--runner=pooling", "--convert=classify"}),
        ("Classify", {"--runner=pooling", "--convert=classify"}),
    ],
)
def test_vllm_gets_a_runner_for_the_task(tmp_path: Path, task: str, expected: set[str]) -> None:
    command = by_vllm(tmp_path, task).command
    assert {each for each in command if each.startswith(("--runner", "--convert"))} == expected


def test_the_flags_of_the_spec_win(tmp_path: Path) -> None:
    command = by_vllm(tmp_path, "Rerank", "--convert=embed").command
    assert [each for each in command if each.startswith("--convert")] == ["--convert=embed"]


def test_an_encoder_is_not_told_to_cache_prefixes_which_would_end_vllm(tmp_path: Path) -> None:
    assert "--enable-prefix-caching" in by_vllm(tmp_path, "Generate", "--enable-prefix-caching").command
    assert "--enable-prefix-caching" not in by_vllm(tmp_path, "Embed", "--enable-prefix-caching").command
    assert "--no-enable-prefix-caching" in by_vllm(tmp_path, "Embed", "--no-enable-prefix-caching").command


def test_without_libraries_for_sounds_the_start_is_refused_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(StartRefusedError) as refused:
        by_vllm(tmp_path, "Transcribe")
    assert refused.value.failure.message == "vLLM can't read sounds here, because it lacks av, scipy, soundfile, soxr."
    for name in ("av", "scipy", "soundfile", "soxr"):
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    assert by_vllm(tmp_path, "Transcribe").warm_up is None


# --- llama.cpp -------------------------------------------------------------------------------------------------------


def parameters_of(task: str, *flags: str) -> xllamacpp.CommonParams:
    return fill(xllamacpp.CommonParams(), Settings.from_json(by_llamacpp(task, *flags).command[-1]))


def test_llamacpp_computes_all_tokens_of_a_request_at_once() -> None:
    for task in ("Embed", "Rerank"):
        found = parameters_of(task)
        assert (found.embedding, found.n_batch, found.n_ubatch) == (True, CONTEXT, CONTEXT)
    assert parameters_of("Rerank").pooling_type == RANK
    assert not parameters_of("Generate").embedding
    assert parameters_of("Embed", "--n-ubatch=128").n_ubatch == 128


@pytest.mark.parametrize("task", [Task.CLASSIFY, Task.TRANSCRIBE])
def test_llamacpp_refuses_what_it_cannot_do(task: Task) -> None:
    with pytest.raises(StartRefusedError, match=f"llama.cpp can't serve a model whose task is {task}"):
        by_llamacpp(task)


@pytest.mark.parametrize(("task", "of_file"), [("Embed", "Generate"), ("Rerank", "Embed"), ("Embed", "Rerank")])
def test_llamacpp_refuses_a_file_that_was_not_made_for_the_task(task: str, of_file: str) -> None:
    with pytest.raises(StartRefusedError, match=f"is for the task {of_file} by its header, and not for {task}"):
        llamacpp.refuse_other_task(task, of_file)
    for same in ("Generate", "Embed", "Rerank"):
        llamacpp.refuse_other_task(same, same)
    llamacpp.refuse_other_task("Generate", "Embed")


# --- the first request -----------------------------------------------------------------------------------------------


def test_the_warm_up_is_of_the_task(tmp_path: Path) -> None:
    paths = {
        task: launch.path
        for task in ("", "Generate", "Embed", "Rerank", "Classify")
        if (launch := by_vllm(tmp_path, task).warm_up)
    }
    assert paths == {
        "": "/v1/completions",
        "Generate": "/v1/completions",
        "Embed": "/v1/embeddings",
        "Rerank": "/v1/rerank",
        "Classify": "/classify",
    }
