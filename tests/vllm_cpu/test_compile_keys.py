"""What vLLM's own keys of compiled code depend on, inside an entry of the compile cache: read from the real vLLM, since
flags of GPUs can't be tried on CPUs by starting it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.builders.model_files import write_checkpoint
from support.programs import vllm_environment

pytestmark = pytest.mark.timeout(900)

KEYS = """
import json, os, sys
from vllm import envs
from vllm.config.utils import hash_factors
from vllm.engine.arg_utils import EngineArgs

def key(model, flags, variables):
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        config = EngineArgs(model=model, **flags).create_engine_config()
        return config.compute_hash() + hash_factors(envs.compile_factors())
    finally:
        os.environ.clear()
        os.environ.update(before)

model, cases = sys.argv[1], json.loads(sys.argv[2])
found = {name: key(model, flags, variables) for name, (flags, variables) in cases.items()}
print("KEYS " + json.dumps(found))
"""
Case = tuple[dict[str, object], dict[str, str]]
SAME: dict[str, Case] = {
    "a KV cache that is 8 MiB larger": ({"kv_cache_memory_bytes": (1 << 30) + (8 << 20)}, {}),
    "another share of the memory": ({"gpu_memory_utilization": 0.3}, {}),
    "another number of blocks": ({"num_gpu_blocks_override": 1000}, {}),
    "another served name": ({"served_model_name": "another"}, {}),
    "another seed": ({"seed": 7}, {}),
    "prefix caching": ({"enable_prefix_caching": False}, {}),
    "other flags that Slipway's key leaves out": (
        {
            "load_format": "dummy",
            "scheduling_policy": "priority",
            "stream_interval": 4,
            "mm_processor_cache_gb": 1,
            "allowed_media_domains": ["example.com"],
            "prefix_caching_hash_algo": "sha256_cbor",
            "disable_log_stats": True,
        },
        {},
    ),
    "a rotated API key": ({}, {"VLLM_API_KEY": "rotated"}),
    "another folder": ({}, {"VLLM_CACHE_ROOT": "/elsewhere", "HOME": "/elsewhere"}),
    "another port and host": ({}, {"VLLM_PORT": "7000", "VLLM_HOST_IP": "10.0.0.7"}),
    "another KV cache on CPUs": ({}, {"VLLM_CPU_KVCACHE_SPACE": "2"}),
}
ANOTHER: dict[str, Case] = {
    "another type": ({"dtype": "float32"}, {}),
    "another context": ({"max_model_len": 2048}, {}),
    "another number of tokens in a step": ({"max_num_batched_tokens": 8192}, {}),
    "adapters": ({"enable_lora": True}, {}),
    "log probabilities": ({"max_logprobs": 7}, {}),
    "another revision": ({"revision": "another"}, {}),
    "other operations": ({"compilation_config": {"custom_ops": ["all"]}}, {}),
}


@pytest.fixture(scope="module")
def keys(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    model = write_checkpoint(tmp_path_factory.mktemp("model"), max_position_embeddings=4096)
    first: dict[str, Case] = {"first": ({"kv_cache_memory_bytes": 1 << 30}, {}), "plain": ({}, {})}
    cases = json.dumps({**first, **SAME, **ANOTHER})
    output = subprocess.check_output(
        [python, "-P", "-c", KEYS, model, cases], env=vllm_environment.environment(python), text=True
    )
    [line] = [line for line in output.splitlines() if line.startswith("KEYS ")]
    found: dict[str, str] = json.loads(line.removeprefix("KEYS "))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", ["first", *SAME])
def test_what_has_no_effect_on_compiled_code_is_not_in_vllms_keys(keys: dict[str, str], case: str) -> None:
    assert keys[case] == keys["plain"]


@pytest.mark.slow
@pytest.mark.parametrize("case", ANOTHER)
def test_what_has_an_effect_is(keys: dict[str, str], case: str) -> None:
    assert keys[case] != keys["plain"]
