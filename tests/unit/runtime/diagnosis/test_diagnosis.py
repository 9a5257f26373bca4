"""How an engine's last lines and its exit code become a reason, and what is reported when they say nothing."""

import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway_runtime.contract.explain import SENTENCES
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.diagnosis import diagnose, kills_for_memory
from slipway_runtime.failure import Failure, termination_message

OOM_WORKER = (
    "(EngineCore_DP0 pid=312) ERROR 11-21 14:03:11 [core.py:866] torch.OutOfMemoryError: CUDA out of memory. Tried to "
    "allocate 224.00 MiB. GPU 0 has a total capacity of 21.98 GiB of which 68.44 MiB is free."
)
CONSEQUENCE = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)


def diagnosed(*lines: str, code: int = 1) -> Failure:
    return diagnose(lines, code, "loading")


def test_the_cause_is_quoted_from_the_engine_without_its_log_prefix() -> None:
    found = diagnosed(OOM_WORKER, "Traceback (most recent call last):", CONSEQUENCE)
    assert found.reason is Reason.GPU_OUT_OF_MEMORY
    assert found.message.startswith("torch.OutOfMemoryError: CUDA out of memory. Tried to")
    assert (found.phase, bool(found.remedy)) == ("loading", True)


def test_a_fault_of_the_device_is_reported_before_the_errors_that_it_causes() -> None:
    xid = "NVRM: Xid (PCI:0000:3b:00): 79, pid=312, GPU has fallen off the bus."
    assert (
        diagnosed("torch.AcceleratorError: CUDA error: an illegal memory access", "ncclInternalError", xid).message
        == xid
    )


# Messages of hardware and drivers, as their vendors document them: no machine without such a fault prints them.
DOCUMENTED = [
    ("torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered", Reason.GPU_UNHEALTHY),
    ("NVRM: Xid (PCI:0000:3b:00): 48, pid=312, name=python3, DBE (Double Bit Error)", Reason.GPU_UNHEALTHY),
    ("Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.", Reason.GPU_UNHEALTHY),
    ("RuntimeError: CUDA error: system not yet initialized", Reason.GPU_UNHEALTHY),
    ("Memory access fault by GPU node-2 (Agent handle: 0x55d) on address 0x7f.", Reason.GPU_UNHEALTHY),
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 12040).", Reason.DRIVER_MISMATCH),
    ("CUDA error: no kernel image is available for execution on the device", Reason.DRIVER_MISMATCH),
    ("RuntimeError: Failed to infer device type, please set the environment variable", Reason.DRIVER_MISMATCH),
    ("RuntimeError: No CUDA GPUs are available", Reason.POD_CONFIG_ERROR),
    ("torch.AcceleratorError: CUDA error: invalid device ordinal", Reason.BAD_ENGINE_ARGUMENTS),
    ("torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB.", Reason.GPU_OUT_OF_MEMORY),
    ("NCCL WARN Error while creating shared memory segment /dev/shm/nccl-x (size 9637888)", Reason.POD_CONFIG_ERROR),
    ("torch.distributed.DistBackendError: NCCL error in: ncclSystemError: System call failed", Reason.ENGINE_CRASHED),
    ("[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5)", Reason.ENGINE_CRASHED),
    ("OSError: [Errno 28] No space left on device: '/var/cache/slipway/vllm/x'", Reason.POD_CONFIG_ERROR),
    ("/llama.cpp/ggml/src/ggml.c:3213: GGML_ASSERT(ggml_can_mul_mat(a, b)) failed", Reason.ENGINE_CRASHED),
    # Messages of vLLM, from its source, that concern devices which a CPU doesn't have.
    (
        "ValueError: Free memory on device cuda:0 (3.1/79.2 GiB) on startup is less than desired GPU memory "
        "utilization (0.92, 72.9 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        Reason.GPU_BUSY,
    ),
    (
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        Reason.GPU_OUT_OF_MEMORY,
    ),
    (
        "ValueError: The quantization method awq is not supported for the current GPU. Minimum capability: 75.",
        Reason.QUANTIZATION_MISMATCH,
    ),
    (
        "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests.",
        Reason.GPU_OUT_OF_MEMORY,
    ),
    (
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.",
        Reason.BAD_ENGINE_ARGUMENTS,
    ),
]


@pytest.mark.parametrize(("line", "reason"), DOCUMENTED)
def test_messages_of_hardware_and_drivers_are_recognised(line: str, reason: Reason) -> None:
    found = diagnosed("Loading weights", line, CONSEQUENCE)
    assert (found.reason, found.message) == (reason, line)


def test_a_dtype_that_vllm_converts_is_not_reported_as_wrong_weights() -> None:
    harmless = (
        "Attempted to load weight lm_head.weight with dtype torch.float32 into parameter with dtype torch.bfloat16"
    )
    mismatch = "AssertionError: Attempted to load weight (torch.Size([64, 64])) into parameter (torch.Size([128, 64]))"
    nameless = "                  assert param_data.shape == loaded_weight.shape"
    assert diagnosed(harmless).reason is Reason.ENGINE_CRASHED
    assert diagnosed(nameless).reason is Reason.MODEL_CORRUPT
    assert diagnosed(harmless, mismatch).reason is Reason.MODEL_CORRUPT


def test_the_reason_that_our_own_process_gives_is_taken_over() -> None:
    reported = Failure(Reason.BAD_ENGINE_ARGUMENTS, "No flag --paralel.", "Did you mean --parallel?")
    found = diagnosed("GGML_ASSERT(x) failed", termination_message(reported).strip())
    assert (found.reason, found.message, found.remedy) == (reported.reason, reported.message, reported.remedy)


# --- unknown failures ------------------------------------------------------------------------------------------------


def test_an_unknown_failure_carries_its_exception_and_its_last_lines() -> None:
    found = diagnosed(
        "Loading", "Traceback (most recent call last):", '  File "x.py"', "KeyError: 'layers.7'", "bye", code=3
    )
    assert found.reason is Reason.ENGINE_CRASHED
    assert found.message == "The engine ended unexpectedly with exit code 3: KeyError: 'layers.7'"
    assert found.lines == ("Loading", "KeyError: 'layers.7'", "bye")


def test_an_engine_without_output_is_reported_as_silent() -> None:
    assert diagnosed(code=0).message == "The engine ended unexpectedly with exit code 0, and logged nothing."


def test_no_more_lines_are_kept_than_are_read() -> None:
    found = diagnosed(*(f"line {number}" for number in range(500)))
    assert found.lines == tuple(f"line {number}" for number in range(460, 500))


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-9, 137])
@pytest.mark.parametrize(
    ("for_memory", "reason", "message"),
    [
        (True, Reason.HOST_OUT_OF_MEMORY, "at its limit of memory"),
        (False, Reason.ENGINE_CRASHED, "ended from outside, by SIGKILL."),
        (None, Reason.ENGINE_CRASHED, "may have been the kernel"),
    ],
)
def test_a_killed_engine_ran_out_of_memory_only_if_the_kernel_says_so(
    code: int, for_memory: bool | None, reason: Reason, message: str
) -> None:
    found = diagnose(["Loading"], code, "loading", for_memory=for_memory)
    assert found.reason is reason
    assert message in found.message


def test_earlier_output_of_a_killed_engine_is_not_its_cause() -> None:
    warning = "MetadataIncompleteBuffer: of an adapter that was left out"
    assert diagnose([warning], -9, "ready", for_memory=True).reason is Reason.HOST_OUT_OF_MEMORY
    assert diagnose([warning], -9, "ready", for_memory=False).reason is Reason.ENGINE_CRASHED


def test_when_vllm_reports_a_killed_child_the_signal_is_the_childs() -> None:
    line = (
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': -9}"
    )
    assert diagnose([line], 1, "loading", for_memory=True).reason is Reason.HOST_OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGILL, "lacks an instruction"),
        (signal.SIGBUS, "shm is full"),
        (signal.SIGSEGV, "crashed by SIGSEGV."),
        (signal.SIGTERM, "ended from outside, by SIGTERM."),
        (99, "crashed by signal 99."),
    ],
)
def test_a_signal_is_explained_by_its_meaning(number: int, message: str) -> None:
    found = diagnosed(code=-number)
    assert found.reason is Reason.ENGINE_CRASHED
    assert message in found.message


def test_a_known_message_takes_precedence_over_a_signal() -> None:
    assert diagnosed("GGML_ASSERT(x) failed", code=-6).message == "GGML_ASSERT(x) failed"


@pytest.mark.parametrize(
    ("file", "text", "count"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n", 1),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", 4),
        ("memory/memory.oom_control", "oom_kill_disable 0\n", None),
        ("other", "", None),
    ],
)
def test_the_kernels_count_of_oom_kills_is_read(tmp_path: Path, file: str, text: str, count: int | None) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert kills_for_memory(tmp_path) == count


# --- any output -------------------------------------------------------------------------------------------------------


@given(lines=st.lists(st.text(max_size=200), max_size=20), code=st.integers(-70, 260))
def test_any_output_of_an_engine_yields_a_reason_a_message_and_a_remedy(lines: list[str], code: int) -> None:
    found = diagnose(lines, code, "serving")
    assert found.message
    assert found.remedy
    assert termination_message(found)


@pytest.mark.parametrize("pattern", SENTENCES, ids=lambda pattern: pattern.pattern[:50])
def test_every_known_failure_has_a_remedy_of_one_sentence(pattern: object) -> None:
    remedy = getattr(pattern, "remedy", "")
    assert remedy[0].isupper()
    assert remedy.endswith(".")
