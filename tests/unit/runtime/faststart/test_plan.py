"""When the fast start is used, and the arguments that it gets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import Launch, Work, module
from slipway_runtime.engines.planned import PlannedMemory
from slipway_runtime.faststart.child_messages import PREFIX
from slipway_runtime.faststart.plan import Circumstances, faster, files_of, graph_sizes, kv_cache_bytes, why_not
from slipway_runtime.faststart.settings import ENVIRONMENT, FastStartSettings

GIB = 1 << 30
PLANNED = PlannedMemory(kv_cache=108 * GIB, weights=15 * GIB)
HERE = Circumstances(
    version="0.24.0",
    device="cuda",
    accelerator="NVIDIA H200",
    weights=15 * GIB,
    planned=PLANNED,
)
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
    assert reason in str(launch.choices[0])


def test_a_build_of_a_known_version_counts_as_that_version() -> None:
    assert not why_not(replace(HERE, version="0.24.0+cu130"))


def test_on_a_gpu_the_kv_cache_gets_the_planned_size_and_graphs_are_few(model: Path) -> None:
    flags = settings_of(faster(ORDINARY, model, HERE)).flags
    assert [flag.partition("=")[0] for flag in flags] == [
        "--compilation-config",
        "--kernel-config",
        "--kv-cache-memory-bytes",
        "--gpu-memory-utilization",
    ]
    assert flags[2] == f"--kv-cache-memory-bytes={108 * GIB}"
    assert max(json.loads(flags[0].partition("=")[2])["cudagraph_capture_sizes"]) == 512


GRAPHS = [
    (replace(HERE, sequences=1), [1, 2]),
    (replace(HERE, sequences=40), [1, 2, 4, 8, 16, 32, 40, 64, 80]),
    (replace(HERE, sequences=64), [1, 2, 4, 8, 16, 32, 64, 80, 96, 112, 128]),
]


@pytest.mark.parametrize(("circumstances", "sizes"), GRAPHS)
def test_graphs_are_no_larger_than_vllms_own_for_the_sequences_that_run_at_a_time(
    model: Path, circumstances: Circumstances, sizes: list[int]
) -> None:
    [flag] = [each for each in settings_of(faster(ORDINARY, model, circumstances)).flags if "compilation" in each]
    assert json.loads(flag.partition("=")[2])["cudagraph_capture_sizes"] == sizes


@pytest.mark.parametrize(
    "circumstances",
    [HERE, replace(HERE, sequences=4096), replace(HERE, sequences=4, flags=frozenset({"speculative-config"}))],
    ids=["vLLM's default", "many", "with a draft, which adds tokens to each sequence"],
)
def test_all_graphs_are_captured_where_batches_may_be_large(circumstances: Circumstances) -> None:
    assert graph_sizes(circumstances)[-1] == 512
    assert graph_sizes(circumstances)[0] == 1


def test_on_cpus_nothing_is_added(model: Path) -> None:
    settings = settings_of(faster(ORDINARY, model, replace(HERE, version="0.32.0", device="cpu", accelerator="")))
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
        (replace(HERE, accelerator=""), True),
        (replace(HERE, planned=PlannedMemory()), False),
        (replace(HERE, planned=PlannedMemory(), flags=frozenset({"kv-cache-memory-bytes"})), True),
        (replace(HERE, flags=frozenset({"load-format"})), False),
        (replace(HERE, weights=139 * GIB), False),
    ],
    ids=[
        *("on a GPU", "with another version", "an unknown device", "no plan", "a size that was given"),
        *("another loader", "other weights than planned"),
    ],
)
def test_weights_are_copied_early_where_nothing_else_is_affected(
    model: Path, circumstances: Circumstances, copies: bool
) -> None:
    assert settings_of(faster(ORDINARY, model, circumstances)).copy_weights is copies


MEASURED = [
    pytest.param(replace(HERE, planned=PlannedMemory()), "no plan gives its size", id="no plan"),
    pytest.param(
        replace(HERE, weights=30 * GIB),
        "its size was planned next to 15.0 GiB of weights, and the files have 30.0 GiB",
        id="other weights",
    ),
    pytest.param(
        replace(HERE, flags=frozenset({"gpu-memory-utilization"})),
        "--gpu-memory-utilization was given, so the size is what is left of that share of the memory",
        id="another share",
    ),
    pytest.param(
        replace(HERE, flags=frozenset({"tensor-parallel-size"})),
        "only the fast start uses the plan's size",
        id="several devices",
    ),
    pytest.param(replace(HERE, device="rocm"), "only the fast start uses the plan's size", id="another vendor"),
]


@pytest.mark.parametrize(("circumstances", "reason"), MEASURED)
def test_where_the_planned_size_is_not_used_vllm_measures_and_the_choices_say_why(
    model: Path, circumstances: Circumstances, reason: str
) -> None:
    launch = faster(ORDINARY, model, circumstances)
    assert kv_cache_bytes(circumstances) is None
    assert str(launch.choices[-1]) == (
        f"KV cache measured by vLLM: {reason}; so weights are not copied to the device before that"
    )
    assert "--kv-cache-memory-bytes" not in str(launch.command) + str(launch.environment)


def test_without_a_plan_the_ordinary_start_says_nothing_of_it(model: Path) -> None:
    [choice] = faster(ORDINARY, model, replace(HERE, version="0.25.0", planned=PlannedMemory())).choices
    assert choice.setting == "ordinary start"


@pytest.mark.parametrize("flag", ["kv-cache-memory-bytes", "num-gpu-blocks-override"])
def test_a_size_that_was_given_wins_over_the_planned_one(model: Path, flag: str) -> None:
    here = replace(HERE, flags=frozenset({flag}))
    assert kv_cache_bytes(here) is None
    assert not [each for each in faster(ORDINARY, model, here).choices if "KV cache" in str(each)]


@pytest.mark.parametrize(
    ("planned", "is_used"),
    [
        (PlannedMemory(kv_cache=GIB), True),
        (PlannedMemory(kv_cache=GIB, weights=15 * GIB), True),
        (PlannedMemory(kv_cache=GIB, weights=int(14.5 * GIB)), True),
        (PlannedMemory(kv_cache=GIB, weights=14 * GIB), False),
        (PlannedMemory(weights=15 * GIB), False),
    ],
    ids=["weights unknown", "the same", "a little less", "other files", "no size"],
)
def test_the_planned_size_is_used_with_the_weights_that_it_was_planned_for(
    planned: PlannedMemory, is_used: bool
) -> None:
    assert (kv_cache_bytes(replace(HERE, planned=planned)) is not None) is is_used


def test_files_that_the_index_does_not_name_are_not_read(model: Path) -> None:
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}')
    assert files_of(model) == (str(model / "model-2.safetensors"),)
