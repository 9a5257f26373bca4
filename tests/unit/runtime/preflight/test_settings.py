"""The settings with which vLLM is about to be started, read from its own flags."""

from pathlib import Path

import pytest
from slipway_runtime.preflight import EngineSettings, of_vllm


def settings(*flags: str, device: str = "cuda", **environment: str) -> EngineSettings:
    return of_vllm(flags, environment, device=device)


def test_without_flags_vllms_own_defaults_apply() -> None:
    assert settings() == EngineSettings(engine="vllm", device="cuda")


@pytest.mark.parametrize(
    "flags",
    [["--max-model-len=8192"], ["--max-model-len", "8192"], ["--max_model_len=8192"], ["--max-model-len", "8.192k"]],
)
def test_a_flag_is_understood_in_each_of_its_forms(flags: list[str]) -> None:
    assert settings(*flags).context_length == 8192


def test_the_last_of_several_counts() -> None:
    assert settings("--max-model-len=1", "--max-model-len=2").context_length == 2


@pytest.mark.parametrize("value", ["auto", "-1"])
def test_a_context_length_that_is_left_to_vllm(value: str) -> None:
    assert settings(f"--max-model-len={value}").context_length == -1


def test_every_setting_that_the_checks_use_is_read() -> None:
    found = settings(
        *["-tp", "2", "--pipeline-parallel-size=3", "--quantization=fp8", "--kv-cache-dtype=fp8_e4m3"],
        *["--kv-cache-memory-bytes=4G", "--gpu-memory-utilization=0.8", "--trust-remote-code", "--skip-tokenizer-init"],
        *[
            "--lora-modules",
            "sql=/mnt/adapters/sql",
            "law=/mnt/adapters/law",
            "--max-lora-rank=64",
            "--max-num-seqs=48",
        ],
        VLLM_CACHE_ROOT="/var/cache/vllm",
        VLLM_ALLOW_LONG_MAX_MODEL_LEN="1",
    )
    assert found == EngineSettings(
        engine="vllm",
        device="cuda",
        sequences=48,
        tensor_parallel=2,
        pipeline_parallel=3,
        quantization="fp8",
        kv_cache_dtype="fp8_e4m3",
        kv_cache_bytes=4 << 30,
        memory_utilization=0.8,
        needs_tokenizer=False,
        remote_code=True,
        long_context=True,
        adapters={"sql": Path("/mnt/adapters/sql"), "law": Path("/mnt/adapters/law")},
        max_adapter_rank=64,
        cache=Path("/var/cache/vllm"),
    )
    assert (found.devices, found.kv_value_bytes) == (6, 1)


def test_the_kv_cache_space_is_a_variable_on_cpus_and_irrelevant_elsewhere() -> None:
    assert settings(device="cpu", VLLM_CPU_KVCACHE_SPACE="2").kv_cache_bytes == 2 << 30
    assert settings(device="cuda", VLLM_CPU_KVCACHE_SPACE="2").kv_cache_bytes is None


def test_flags_that_it_does_not_understand_are_left_to_vllm() -> None:
    assert (
        settings("--max-model-len=lots", "--gpu-memory-utilization=all", "--lora-modules", '{"name": "x"}')
        == settings()
    )
