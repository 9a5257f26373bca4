"""What real engines print when they fail to start, and the reason that is derived from it.

`tests/support/faults/failing_starts.py` makes these failures and records their output again.
"""

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.diagnosis import diagnose
from support.faults.failing_starts import FIXTURES, STARTS

EXPECTED = {
    "llamacpp-not-a-gguf": (Reason.MODEL_CORRUPT, "invalid magic characters"),
    "llamacpp-empty-file": (Reason.MODEL_CORRUPT, "failed to read magic"),
    "llamacpp-missing-file": (Reason.MODEL_NOT_FOUND, "No such file or directory"),
    "llamacpp-weights-cut-short": (Reason.MODEL_CORRUPT, "model is corrupted or incomplete"),
    "llamacpp-header-cut-short": (Reason.MODEL_CORRUPT, "failed to read key-value pairs"),
    "llamacpp-old-version": (Reason.UNSUPPORTED_ARCHITECTURE, "GGUFv1 is no longer supported"),
    "llamacpp-new-version": (Reason.UNSUPPORTED_ARCHITECTURE, "only supports up to version 3"),
    "llamacpp-big-endian": (Reason.UNSUPPORTED_ARCHITECTURE, "endianness"),
    "llamacpp-unknown-architecture": (Reason.UNSUPPORTED_ARCHITECTURE, "'hal9000'"),
    "llamacpp-unknown-tensor-type": (Reason.UNSUPPORTED_ARCHITECTURE, "invalid ggml type 99"),
    "llamacpp-missing-tensor": (Reason.MODEL_CORRUPT, "tensor 'blk.1.ffn_up.weight' not found"),
    "llamacpp-wrong-shape": (Reason.MODEL_CORRUPT, "has wrong shape"),
    "llamacpp-missing-parameter": (Reason.MODEL_CORRUPT, "key not found in model: llama.block_count"),
    "llamacpp-missing-tokenizer": (Reason.MODEL_CORRUPT, "cannot find tokenizer vocab"),
    "llamacpp-unknown-tokenizer": (Reason.UNSUPPORTED_ARCHITECTURE, "unknown tokenizer: 'hal'"),
    "llamacpp-unknown-pre-tokenizer": (Reason.UNSUPPORTED_ARCHITECTURE, "unknown pre-tokenizer type: 'hal'"),
    "llamacpp-missing-part": (Reason.MODEL_CORRUPT, "failed to load GGUF split from"),
    "llamacpp-cache-needs-flash-attention": (Reason.BAD_ENGINE_ARGUMENTS, "requires flash_attn"),
    "llamacpp-too-little-memory": (Reason.HOST_OUT_OF_MEMORY, "attempted to allocate 4097"),
    "llamacpp-port-in-use": (Reason.BAD_ENGINE_ARGUMENTS, "port: 18765"),
    "llamacpp-unknown-host": (Reason.BAD_ENGINE_ARGUMENTS, "no-such-host.invalid"),
    "llamacpp-bad-chat-template": (Reason.BAD_ENGINE_ARGUMENTS, "chat template parsing error"),
    "llamacpp-adapter-missing": (Reason.MODEL_NOT_FOUND, "/mnt/models/adapter.gguf"),
    "llamacpp-not-allowed": (Reason.MODEL_ACCESS_DENIED, "Permission denied"),
    "vllm-unknown-architecture": (Reason.UNSUPPORTED_ARCHITECTURE, "HAL9000ForCausalLM"),
    "vllm-unknown-model-type": (Reason.UNSUPPORTED_ARCHITECTURE, "`hal9000`"),
    "vllm-remote-code": (Reason.UNSUPPORTED_ARCHITECTURE, "contains custom code which must be executed"),
    "vllm-missing-folder": (Reason.MODEL_NOT_FOUND, "Repo id must be in the form"),
    "vllm-missing-config": (Reason.MODEL_NOT_FOUND, "Invalid repository ID or local directory"),
    "vllm-missing-tokenizer": (Reason.MODEL_CORRUPT, "instantiate the backend tokenizer"),
    "vllm-wrong-shape": (Reason.MODEL_CORRUPT, "length (64) exceeds dimension size (32)"),
    "vllm-other-quantization": (Reason.QUANTIZATION_MISMATCH, "(gptq) does not match"),
    "vllm-context-longer-than-model": (Reason.CONTEXT_TOO_LONG, "max_model_len (100000) is greater"),
    "vllm-context-larger-than-cache": (Reason.CONTEXT_TOO_LONG, "8.0 GiB KV cache is needed"),
    "vllm-unknown-flag": (Reason.BAD_ENGINE_ARGUMENTS, "unrecognized arguments: --hal=9000"),
    "vllm-bad-flag-value": (Reason.BAD_ENGINE_ARGUMENTS, "argument --dtype: invalid choice: 'hal'"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_failure_is_recognised(name: str) -> None:
    header, *lines = (FIXTURES / f"{name}.txt").read_text().splitlines()
    code = int(header.rpartition(" ")[2])
    found = diagnose(lines, code, "loading")
    reason, quote = EXPECTED[name]
    assert found.reason is reason
    assert quote in found.message


def test_every_failing_start_is_recorded_and_has_an_expectation() -> None:
    names = {f"{start.engine}-{start.name}" for start in STARTS}
    assert names == {*EXPECTED} == {file.stem for file in FIXTURES.glob("*.txt")}
