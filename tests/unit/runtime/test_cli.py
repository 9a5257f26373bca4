"""The command `slipway-runtime`, run as the container runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str | Path, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipway_runtime", *arguments],
        env={**os.environ, "PYTHONPATH": str(packages or "")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_prints_the_name_and_the_version() -> None:
    assert run("version").stdout.startswith("slipway-runtime 0.")


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("llamacpp", ("--model", "--host", "--port", "--context-length", "--parallel", "--drain-limit")),
        (
            "vllm",
            ("--model", "--device", "--allow", "--mode", "--start-timeout", "--kv-cache-bytes", "--weights-bytes"),
        ),
    ],
)
def test_help_explains_every_option_of_an_engine(engine: str, options: tuple[str, ...]) -> None:
    output = run("serve", engine, "--help").stdout
    for option in options:
        assert option in output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["serve", "llamacpp", "--port", "0"],
        ["serve", "vllm", "--drain-limit", "soon"],
        ["serve", "vllm", "--traces-endpoint", "grpc://otel:4317"],
        ["serve", "llamacpp", "--traces-sample-ratio", "2"],
        ["serve", "vllm", "--kv-cache-bytes", "4Gi"],
        ["serve", "llamacpp", "--kv-cache-bytes", "4"],
    ],
)
def test_an_invalid_command_line_is_explained_and_exits_with_2(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert "usage: slipway-runtime" in ended.stderr


def test_the_serving_process_imports_no_engine() -> None:
    code = "import sys, slipway_runtime.serving; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "vllm", "xllamacpp", "aiohttp", "prometheus_client"} & set(modules)


def test_a_missing_model_is_reported_as_a_sentence_a_line_of_json_and_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    log = tmp_path / "termination-log"
    ended = run("serve", "llamacpp", "--model", tmp_path / "models", "--termination-log", log)
    assert ended.returncode == 10
    assert ended.stderr.startswith("slipway-runtime: ModelNotFound: No .gguf file in")
    assert ended.stderr.count("\n") == 1
    assert json.loads(log.read_text())["reason"] == "ModelNotFound"


def test_a_missing_engine_is_named_with_the_remedy(tmp_path: Path) -> None:
    ended = run("serve", "vllm", "--model", tmp_path)
    assert ended.returncode != 0
    assert "config.json" in ended.stderr or "vLLM is not installed" in ended.stderr
