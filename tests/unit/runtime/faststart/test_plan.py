"""When the fast start is used, and the arguments that it gets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import Launch, Work, module
from slipway_runtime.faststart.child_messages import PREFIX
from slipway_runtime.faststart.plan import Accelerator, Circumstances, faster, files_of, kv_cache_bytes, why_not
from slipway_runtime.faststart.settings import ENVIRONMENT, FastStartSettings

GIB = 1 << 30
H200 = Accelerator("NVIDIA H200", 140 * GIB)
HERE = Circumstances(version="0.24.0", device="cuda", accelerator=H200, weights=15 * GIB, cache=Path("/cache"))
ORDINARY = Launch(
    engine="vllm",
    distributions=("vllm",),
    command=(*module("vllm.server"), "--model=m", "--port=1"),
    port=1,
    work=Work(pending=(), progress=()),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    for name in ("model-2.safetensors", "model-1.safetensors"):
        (tmp_path / name).write_text("")
    return tmp_path


def settings_of(launch: Launch) -> FastStartSettings:
    return FastStartSettings.from_environment(launch.environment)


def test_the_command_keeps_its_flags_and_contains_the_ordinary_command(model: Path) -> None:
    launch = faster(ORDINARY, model, HERE)
    assert launch.command == (*module("slipway_runtime.faststart"), "--model=m", "--port=1")
    assert settings_of(launch).ordinary == ORDINARY.command


@pytest.mark.parametrize("reason", [Reason.UNSUPPORTED_ARCHITECTURE, Reason.MODEL_CORRUPT, Reason.DRIVER_MISMATCH])
def test_a_failure_caused_by_the_model_or_the_driver_is_not_retried_the_ordinary_way(
    model: Path, reason: Reason
) -> None:
    retry_command = faster(ORDINARY, model, HERE).second_way
    assert retry_command is not None
    assert retry_command.announced.search(
        f"{PREFIX}the engine core ended with exit code 1; so vLLM is started the ordinary way."
    )
    assert reason in retry_command.futile_after


def test_out_of_memory_is_retried_only_where_the_fast_start_has_planned_the_memory(model: Path) -> None:
    planned, left_alone = (
        faster(ORDINARY, model, circumstances).second_way for circumstances in (HERE, replace(HERE, device="cpu"))
    )
    assert planned is not None
    assert left_alone is not None
    for reason in (Reason.CONTEXT_TOO_LONG, Reason.GPU_OUT_OF_MEMORY, Reason.BAD_ENGINE_ARGUMENTS):
        assert (reason in planned.futile_after, reason in left_alone.futile_after) == (False, True)


@pytest.mark.parametrize(
    ("circumstances", "reason"),
    [
        (replace(HERE, version="0.25.0"), "has no adapter for vLLM 0.25.0"),
        (replace(HERE, version="0.24.1"), "has no adapter for vLLM 0.24.1"),
        (replace(HERE, version=""), "has no adapter for vLLM of unknown version"),
        (replace(HERE, device="rocm"), "never tried with ROCm"),
        (replace(HERE, flags=frozenset({"tensor-parallel-size"})), "never tried with --tensor-parallel-size"),
        (replace(HERE, flags=frozenset({"api-server-count"})), "never tried with --api-server-count"),
    ],
)
def test_an_untested_configuration_starts_the_ordinary_way_and_gives_the_reason(
    model: Path, circumstances: Circumstances, reason: str
) -> None:
    launch = faster(ORDINARY, model, circumstances)
    assert launch.command == ORDINARY.command
    assert ENVIRONMENT not in launch.environment
    assert reason in str(launch.choices[-1])


def test_a_build_of_a_known_version_counts_as_that_version() -> None:
    assert not why_not(replace(HERE, version="0.24.0+cu130"))


def test_on_a_gpu_the_kv_cache_gets_a_size_and_graphs_are_few(model: Path) -> None:
    flags = settings_of(faster(ORDINARY, model, HERE)).flags
    assert [flag.partition("=")[0] for flag in flags] == [
        "--compilation-config",
        "--kernel-config",
        "--kv-cache-memory-bytes",
        "--gpu-memory-utilization",
    ]
    assert max(json.loads(flags[0].partition("=")[2])["cudagraph_capture_sizes"]) == 512


def test_on_cpus_nothing_is_added(model: Path) -> None:
    settings = settings_of(faster(ORDINARY, model, replace(HERE, version="0.32.0", device="cpu", accelerator=None)))
    assert settings.flags == ()
    assert not settings.copy_weights
    assert [Path(file).name for file in settings.weights] == ["model-1.safetensors", "model-2.safetensors"]


@pytest.mark.parametrize(
    "given", ["compilation-config", "enforce-eager", "performance-mode", "cudagraph-capture-sizes"]
)
def test_requested_graphs_are_left_alone(model: Path, given: str) -> None:
    flags = settings_of(faster(ORDINARY, model, replace(HERE, flags=frozenset({given})))).flags
    assert not [flag for flag in flags if flag.startswith("--compilation-config")]


def test_a_given_kv_cache_size_is_kept(model: Path) -> None:
    flags = settings_of(faster(ORDINARY, model, replace(HERE, flags=frozenset({"kv-cache-memory-bytes"})))).flags
    assert not [flag for flag in flags if flag.startswith("--kv-cache-memory-bytes")]
    assert "--gpu-memory-utilization=0.3" in flags


def test_a_flag_that_this_vllm_does_not_have_is_left_out(model: Path) -> None:
    circumstances = replace(HERE, knows_flag=lambda name: name != "kernel-config")
    assert not [flag for flag in settings_of(faster(ORDINARY, model, circumstances)).flags if "kernel-config" in flag]


@pytest.mark.parametrize(
    ("circumstances", "copies"),
    [
        (HERE, True),
        (replace(HERE, version="0.32.0"), True),
        (replace(HERE, accelerator=None), False),
        (replace(HERE, flags=frozenset({"load-format"})), False),
        (replace(HERE, weights=139 * GIB), False),
    ],
    ids=["on a GPU", "with another version", "unknown memory", "another loader", "no room for a KV cache"],
)
def test_weights_are_copied_early_where_nothing_else_is_affected(
    model: Path, circumstances: Circumstances, copies: bool
) -> None:
    assert settings_of(faster(ORDINARY, model, circumstances)).copy_weights is copies


@pytest.mark.parametrize(
    ("memory", "weights", "size"),
    [(140, 15, 108), (24, 15, 5), (24, 20, None), (16, 15, None)],
    ids=["most of an H200", "less of an L4", "too little to be sure", "nothing"],
)
def test_the_kv_cache_gets_the_memory_that_weights_and_a_step_leave(
    memory: int, weights: int, size: int | None
) -> None:
    found = kv_cache_bytes(memory * GIB, 0.92, weights * GIB)
    assert (found and found // GIB) == size


def test_files_that_the_index_does_not_name_are_not_read(model: Path) -> None:
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}')
    assert files_of(model) == (str(model / "model-2.safetensors"),)


def test_another_configuration_is_another_model(model: Path) -> None:
    before = settings_of(faster(ORDINARY, model, HERE)).model
    (model / "config.json").write_text('{"hidden_size": 1}')
    assert settings_of(faster(ORDINARY, model, HERE)).model != before
