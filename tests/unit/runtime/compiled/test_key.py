"""The key has all that compiled code depends on, and no name, address, secret, or size of the KV cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from slipway_runtime.compiled.key import Start, digest_of_configs, installed, instructions, key_of
from slipway_runtime.compiled.store import name_of

START = Start(
    engine="vLLM 0.32.0",
    device="cuda",
    devices=["NVIDIA H200 9.0"],
    flags=("--model=/mnt/models", "--served-model-name=llama", "--port=8080", "--max-model-len=8192"),
    environment={"VLLM_USE_V1": "1", "HOME": "/var/cache/slipway"},
    model="abc",
)


SECRETS = ("VLLM_API_KEY", "VLLM_SOME_TOKEN", "TORCH_PASSWORD")


def flags(*more: str) -> Start:
    return replace(START, flags=(*START.flags, *more))


def variables(**more: str) -> Start:
    return replace(START, environment={**START.environment, **more})


@pytest.mark.parametrize(
    "same",
    [
        replace(START, flags=("--model=/mnt/models", "--max-model-len=8192")),
        replace(START, flags=("--model", "/mnt/models", "--max_model_len", "8192")),
        replace(START, devices=["NVIDIA H200 9.0"] * 2),
        *(
            flags(flag)
            for flag in (
                "--host=::",
                "--middleware=a.Guard",
                "--api-key=secret",
                "--kv-cache-memory-bytes=1000",
                "--gpu-memory-utilization=0.3",
                "--num-gpu-blocks-override=7",
                '--lora-modules={"name": "a", "path": "/mnt/adapters/a"}',
                "--otlp-traces-endpoint=http://a",
                '--custom-histogram-buckets={"inter_token_latency":[0.005]}',
                "--disable-uvicorn-access-log",
                "--enable-prefix-caching",
            )
        ),
        flags("--served-model-name", "a", "b"),
        flags("--lora-modules", "a=/x", "b=/y"),
        variables(HOSTNAME="pod-2", HOME="/elsewhere", PATH="/bin"),
        variables(VLLM_CACHE_ROOT="/elsewhere", TRITON_CACHE_DIR="/elsewhere"),
        variables(**dict.fromkeys(SECRETS, "rotated")),
        variables(VLLM_CPU_KVCACHE_SPACE="7"),
        variables(VLLM_PORT="tcp://10.0.0.1:80", VLLM_SERVICE_HOST="10.0.0.1", VLLM_SERVICE_PORT_HTTP="80"),
        variables(VLLM_PORT_80_TCP_ADDR="10.0.0.1"),
        variables(CUDA_VISIBLE_DEVICES="3"),
    ],
)
def test_a_difference_without_effect_is_the_same_key(same: Start) -> None:
    assert key_of(same) == key_of(START)


@pytest.mark.parametrize(
    "another",
    [
        replace(START, engine="vLLM 0.33.0"),
        replace(START, device="cpu", devices=[]),
        replace(START, devices=["NVIDIA H100 9.0"]),
        replace(START, devices=["NVIDIA H200 9.0", "NVIDIA L4 8.9"]),
        replace(START, model="def"),
        replace(START, flags=START.flags[:-1]),
        *(
            flags(flag)
            for flag in (
                "--dtype=float16",
                "--tensor-parallel-size=2",
                "--quantization=fp8",
                "--kv-cache-dtype=fp8",
                "--enforce-eager",
                "--enable-lora",
                "--max-lora-rank=64",
                "--max-num-seqs=64",
                '--compilation-config={"cudagraph_capture_sizes":[1]}',
                "--compilation-config.mode=3",
                "--some-flag-of-a-later-version",
            )
        ),
        variables(VLLM_ATTENTION_BACKEND="FLASHINFER"),
        variables(TORCHINDUCTOR_MAX_AUTOTUNE="1"),
        variables(CXX="clang++"),
        replace(START, folder="/elsewhere"),
    ],
)
def test_a_difference_with_an_effect_is_another_key(another: Start) -> None:
    assert name_of(key_of(another)) != name_of(key_of(START))


def test_no_secret_is_in_the_key() -> None:
    secret = replace(variables(**dict.fromkeys(SECRETS, "secret")), flags=("--api-key=secret",))
    assert "secret" not in str(key_of(secret))


CPUINFO = "processor\t: 0\nflags\t\t: fpu sse4_2 avx2 constant_tsc\nbugs\t\t: spectre_v1\n"


def test_on_cpus_the_instruction_sets_are_part_of_the_key() -> None:
    assert instructions(CPUINFO) == "avx2 sse4_2"
    assert instructions(CPUINFO.replace("avx2", "avx2 avx512f amx_bf16")) == "amx_bf16 avx2 avx512f sse4_2"
    assert instructions(CPUINFO.replace("constant_tsc", "ibrs")) == instructions(CPUINFO)
    assert instructions("processor\t: 0\nFeatures\t: fp asimd sve\n") == "asimd fp sve"
    assert instructions("") == ""


def test_on_cpus_the_folder_is_not_part_of_the_key() -> None:
    on_cpus = replace(START, device="cpu", devices=[])
    assert key_of(replace(on_cpus, folder="/elsewhere")) == key_of(on_cpus)


@pytest.mark.parametrize("allowed", [{0}, {0, 1}])
def test_on_cpus_their_number_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch, allowed: set[int]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
    assert f"{len(allowed)} CPUs" in key_of(replace(START, device="cpu", devices=[]))["device"]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for name, record in {"vllm-0.32.0": "vllm/a.py,sha256=1,2", "aiohttp-3.0": "x"}.items():
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info/RECORD").write_text(record)
    return tmp_path


def digest(*folders: Path) -> str:
    return installed([str(folder) for folder in folders])


def test_other_packages_are_another_installation(packages: Path, tmp_path: Path) -> None:
    before = digest(packages)
    assert before == digest(packages, tmp_path / "nowhere")
    (packages / "aiohttp-3.0.dist-info").rename(packages / "aiohttp-3.1.dist-info")
    assert digest(packages) != before


def test_a_patched_build_of_the_same_version_is_another_installation(packages: Path) -> None:
    before = digest(packages)
    (packages / "aiohttp-3.0.dist-info/RECORD").write_text("y")
    assert digest(packages) == before
    (packages / "vllm-0.32.0.dist-info/RECORD").write_text("vllm/a.py,sha256=3,2")
    assert digest(packages) != before


def test_another_configuration_is_another_model_and_other_weights_are_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = digest_of_configs(tmp_path)
    (tmp_path / "model.safetensors").write_text("weights")
    assert digest_of_configs(tmp_path) == before
    (tmp_path / "config.json").write_text('{"hidden_size": 1}')
    assert digest_of_configs(tmp_path) != before


def test_flags_of_the_launch_are_read_in_both_forms() -> None:
    forms: Sequence[tuple[str, ...]] = (("--dtype=float16", "-tp=2"), ("--dtype", "float16", "-tp", "2"))
    keys = [key_of(replace(START, flags=form)) for form in forms]
    assert keys[0] == keys[1]
    assert (keys[0]["--dtype"], keys[0]["-tp"]) == ("float16", "2")
