"""What is read from the machine: drivers, devices, limits, and what the installed engine supports."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.preflight import EngineSettings, read_host
from slipway_runtime.preflight.amd import read_devices, read_trouble
from slipway_runtime.preflight.machine import memory_limit
from slipway_runtime.preflight.nvidia import DriverReport, is_visible, read_driver
from slipway_runtime.preflight.support import llamacpp_support, vllm_support

# --- NVIDIA ----------------------------------------------------------------------------------------------------------


class Nvml:
    """Replaces the driver's library: writes into the pointers that it gets."""

    def __init__(
        self, *, count: int = 1, fails: dict[str, int] | None = None, failed_rows: int = 0, slices: int = 0
    ) -> None:
        self.count, self.fails, self.failed_rows, self.slices = count, fails or {}, failed_rows, slices

    def __getattr__(self, function: str) -> Callable[..., int]:
        def answer(*arguments: Any) -> int:
            if function in self.fails:
                return self.fails[function]
            result = getattr(self, f"_{function}", lambda *_: 0)(*arguments)
            return result if isinstance(result, int) else 0

        if function.startswith("_"):
            raise AttributeError(function)
        return answer

    def _nvmlSystemGetDriverVersion(self, buffer: Any, _: Any) -> None:  # noqa: N802
        buffer.value = b"580.95.05"

    def _nvmlSystemGetCudaDriverVersion_v2(self, version: Any) -> None:  # noqa: N802
        version._obj.value = 13020

    def _nvmlDeviceGetCount_v2(self, count: Any) -> None:  # noqa: N802
        count._obj.value = self.count

    def _nvmlDeviceGetUUID(self, _: Any, buffer: Any, __: Any) -> None:  # noqa: N802
        buffer.value = b"GPU-5f2d"

    def _nvmlDeviceGetName(self, _: Any, buffer: Any, __: Any) -> None:  # noqa: N802
        buffer.value = b"NVIDIA H200"

    def _nvmlDeviceGetMemoryInfo(self, _: Any, memory: Any) -> None:  # noqa: N802
        memory._obj.total, memory._obj.free = 140 << 30, 139 << 30

    def _nvmlDeviceGetMemoryInfo_v2(self, _: Any, memory: Any) -> None:  # noqa: N802
        assert memory._obj.version == (2 << 24 | 40)  # as nvml.h has it
        memory._obj.reserved = 1 << 29

    def _nvmlDeviceGetCudaComputeCapability(self, _: Any, major: Any, minor: Any) -> None:  # noqa: N802
        major._obj.value, minor._obj.value = 9, 0

    def _nvmlDeviceGetRemappedRows(self, _: Any, *rows: Any) -> None:  # noqa: N802
        rows[3]._obj.value = self.failed_rows

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, _: Any, number: ctypes.c_uint, __: Any) -> int:  # noqa: N802
        return 0 if number.value < self.slices else 6


def driver(nvml: Nvml, visible: str | None = None) -> DriverReport:
    return read_driver(visible, load=lambda _: nvml)


def test_the_driver_reports_itself_and_each_device() -> None:
    found = driver(Nvml(count=2))
    assert (found.version, found.cuda, found.trouble) == ("580.95.05", (13, 2), "")
    first, second = found.devices
    assert (first.name, first.memory, first.free_memory) == ("NVIDIA H200", 140 << 30, 139 << 30)
    assert (first.capability, first.faults, second.index) == ((9, 0), (), 1)


def test_what_the_driver_keeps_for_itself_is_neither_usable_nor_used() -> None:
    [device] = driver(Nvml()).devices
    assert (device.usable, device.used) == ((140 << 30) - (1 << 29), 1 << 29)


def test_a_driver_that_does_not_report_its_own_share_keeps_nothing() -> None:
    [device] = driver(Nvml(fails={"nvmlDeviceGetMemoryInfo_v2": 13})).devices
    assert (device.usable, device.used) == (140 << 30, 1 << 30)


def test_a_missing_library_is_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    assert "the NVIDIA driver's library is missing" in read_driver(None, load=missing).trouble


@pytest.mark.parametrize(("code", "message"), [(9, "not loaded"), (18, "different versions"), (77, "error 77")])
def test_a_driver_that_does_not_start_says_why(code: int, message: str) -> None:
    assert message in driver(Nvml(fails={"nvmlInit_v2": code})).trouble


def test_a_lost_device_is_listed_with_its_fault() -> None:
    [device] = driver(Nvml(fails={"nvmlDeviceGetMemoryInfo": 15})).devices
    assert device.faults == ("the GPU has fallen off the bus",)


def test_memory_that_can_no_longer_be_repaired_is_a_fault() -> None:
    [device] = driver(Nvml(failed_rows=1)).devices
    assert "could not be replaced" in device.faults[0]


def test_a_device_without_row_remapping_is_healthy() -> None:
    [device] = driver(Nvml(fails={"nvmlDeviceGetRemappedRows": 3})).devices
    assert device.faults == ()


def test_a_device_with_mig_slices_counts_as_its_slices() -> None:
    assert len(driver(Nvml(slices=2)).devices) == 2


@pytest.mark.parametrize(
    ("visible", "is_seen"),
    [
        (None, True),
        ("", False),
        ("-1", False),
        ("1", False),
        ("0", True),
        ("1,0", True),
        ("GPU-5f2", True),
        ("MIG-9", True),
    ],
)
def test_devices_that_cuda_does_not_see_do_not_count(visible: str | None, is_seen: bool) -> None:
    assert is_visible(0, "GPU-5f2d", visible) is is_seen


# --- AMD -------------------------------------------------------------------------------------------------------------


def amd_card(folder: Path, name: str, *, memory: int = 192 << 30, used: int = 1 << 30) -> None:
    device = folder / "drm" / name / "device"
    device.mkdir(parents=True)
    (device / "mem_info_vram_total").write_text(f"{memory}\n")
    (device / "mem_info_vram_used").write_text(f"{used}\n")
    (folder / "dri").mkdir(exist_ok=True)
    (folder / "dri" / name).touch()


def test_amd_devices_are_those_that_the_container_was_given(tmp_path: Path) -> None:
    amd_card(tmp_path, "renderD128")
    amd_card(tmp_path, "renderD129")
    (tmp_path / "dri/renderD129").unlink()
    [device] = read_devices(tmp_path / "drm", tmp_path / "dri")
    assert (device.memory, device.free_memory) == (192 << 30, 191 << 30)


def test_a_missing_amd_kernel_driver_is_reported(tmp_path: Path) -> None:
    assert "no amdgpu driver" in read_trouble(tmp_path / "kfd")
    (tmp_path / "kfd").touch()
    assert read_trouble(tmp_path / "kfd") == ""


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("memory.max", "2147483648\n", 2 << 30),
        ("memory.max", "max\n", 8 << 30),
        ("memory/memory.limit_in_bytes", "2147483648\n", 2 << 30),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", 8 << 30),
    ],
)
def test_the_limit_is_that_of_the_container_or_of_the_machine(tmp_path: Path, name: str, text: str, limit: int) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    (tmp_path / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree: 1 kB\n")
    assert memory_limit(tmp_path, tmp_path / "meminfo") == limit


def test_this_machine_can_be_read(tmp_path: Path) -> None:
    host = read_host(EngineSettings(engine="llamacpp", cache=tmp_path / "made/later"))
    assert host.memory
    assert host.cache_free
    assert host.devices == ()


# --- engines ---------------------------------------------------------------------------------------------------------

REGISTRY = """
_TEXT_GENERATION_MODELS = {
    # [Decoder-only]
    "LlamaForCausalLM": ("llama", "LlamaForCausalLM"),
}
_VLLM_MODELS = {**_TEXT_GENERATION_MODELS}
_PREVIOUSLY_SUPPORTED_MODELS = {"OldForCausalLM": "0.9.2"}
_OOT_SUPPORTED_MODELS = {"BartModel": "https://example.org/bart"}
"""
QUANTIZATIONS = 'from typing import Literal\nQuantizationMethods = Literal["awq", "fp8"]\n'


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for name, text in {
        "vllm/model_executor/models/registry.py": REGISTRY,
        "vllm/model_executor/layers/quantization/__init__.py": QUANTIZATIONS,
        "transformers/models/auto/modeling_auto.py": '("smol", "SmolForCausalLM"),',
        "torch/version.py": "from typing import Optional\n__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_vllms_architectures_are_read_from_its_source(packages: Path) -> None:
    support = vllm_support(packages / "vllm", packages / "transformers", packages / "torch")
    assert support.knows_architecture("LlamaForCausalLM")
    assert support.knows_architecture("SmolForCausalLM")
    assert not support.knows_architecture("NewForCausalLM")
    assert support.gone == {
        "OldForCausalLM": "until version 0.9.2",
        "BartModel": "with the plugin at https://example.org/bart",
    }
    assert support.quantizations == {"awq", "fp8"}
    assert support.cuda == (13, 0)


@pytest.mark.parametrize("damage", ["this is no Python (", "", "_TEXT_GENERATION_MODELS = load()"])
def test_an_unexpected_source_refuses_no_model(packages: Path, damage: str) -> None:
    (packages / "vllm/model_executor/models/registry.py").write_text(damage)
    (packages / "vllm/model_executor/layers/quantization/__init__.py").write_text(damage)
    support = vllm_support(packages / "vllm", packages / "transformers", packages / "torch")
    assert support.knows_architecture("NewForCausalLM")
    assert support.quantizations == frozenset()


def test_a_torch_for_cpus_has_no_cuda_version(packages: Path) -> None:
    (packages / "torch/version.py").write_text("cuda: Optional[str] = None\n")
    assert vllm_support(packages / "vllm", packages, packages / "torch").cuda is None


def test_llamacpps_architectures_are_read_from_its_library(tmp_path: Path) -> None:
    (tmp_path / "xllamacpp.abi3.so").write_bytes(b"\x7fELF\0llama\0gemma3\0")
    support = llamacpp_support(tmp_path)
    assert support.knows_architecture("gemma3")
    assert not support.knows_architecture("gemma9")


def test_without_its_library_no_model_is_refused(tmp_path: Path) -> None:
    assert llamacpp_support(tmp_path).knows_architecture("gemma9")
