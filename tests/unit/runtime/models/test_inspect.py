"""`inspect PATH` prints what a planner needs, or says in one line why it can't."""

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.api.model import ModelFacts
from slipway_runtime.models import inspect_command
from support.builders.model_files import write_adapter, write_checkpoint, write_gguf


def inspected(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert inspect_command(path) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_its_facts_are_fields_of_an_llmdeployment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path / "checkpoint")
    write_gguf(tmp_path / "gguf/model.gguf")
    for folder in ("checkpoint", "gguf"):
        facts = inspected(tmp_path / folder, capsys)["facts"]
        read = ModelFacts.model_validate(facts)
        assert (read.layers, read.kv_heads, read.head_dim, read.context_length) == (2, 1, 32, 512)


def test_other_facts_of_the_model_are_printed_next_to_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = inspected(write_checkpoint(tmp_path), capsys)
    assert (
        printed.items() >= {"format": "safetensors", "architecture": "LlamaForCausalLM", "chatTemplate": False}.items()
    )
    assert printed["kvCacheBytesPerToken"] == 2 * 2 * 32 * 2


def test_an_adapter_can_be_inspected_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspected(write_adapter(tmp_path), capsys)["rank"] == 8


def test_without_a_model_it_prints_one_sentence_and_exits_with_a_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect_command(tmp_path) == 10
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("slipway-runtime: Neither a config.json nor a GGUF file in")
    assert output.err.count("\n") == 1
