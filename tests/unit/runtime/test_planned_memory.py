"""What the plan says of the memory, from the command line to the checks before a start."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime import cli, preflight, serving
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines import vllm
from slipway_runtime.engines.vllm import ENTRY_POINTS, FLAG_SOURCES, Installed
from slipway_runtime.preflight import Device, Host, Support
from support.builders.model_files import write_checkpoint

GIB = 1 << 30
GPU = Device(index=0, name="NVIDIA L4", memory=24 * GIB, free_memory=23 * GIB, capability=(8, 9))
SUPPORT = Support(
    version="0.32.0",
    knows_architecture=lambda _: True,
    gone={},
    quantizations=frozenset(),
    cuda=(13, 0),
)


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs `slipway-runtime preflight vllm` on a machine with one GPU."""
    for name in (FLAG_SOURCES[0], ENTRY_POINTS[0]):
        (tmp_path / "vllm" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "vllm" / name).write_text("")
    host = Host(
        devices=(GPU,),
        driver="580.95",
        driver_cuda=(13, 0),
        memory=64 * GIB,
        shm=8 * GIB,
        cache_free=9 * GIB,
        support=SUPPORT,
    )
    monkeypatch.setattr(vllm, "installed", lambda: Installed(tmp_path / "vllm"))
    monkeypatch.setattr(preflight, "read_host", lambda _: host)
    monkeypatch.setattr(serving, "version_of", lambda *_: "0.32.0")
    write_checkpoint(tmp_path / "model")
    return Check(tmp_path / "model", capsys)


class Check:
    """The exit code, and the line of the check of the KV cache."""

    def __init__(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._model, self._capsys = model, capsys

    def __call__(self, *options: str) -> tuple[int, str]:
        code = cli.main(["preflight", "vllm", f"--model={self._model}", "--device=cuda", *options])
        output = self._capsys.readouterr().out
        [line] = [each for each in output.splitlines() if each.startswith("kv cache fits the device:")]
        return code, line


def test_a_planned_cache_that_fits_is_accepted(check: Check) -> None:
    code, line = check(f"--kv-cache-bytes={20 * GIB}")
    assert (code, line.partition(" (")[0]) == (0, "kv cache fits the device: well")


def test_a_planned_cache_that_no_longer_fits_next_to_the_weights_ends_the_start_with_the_reason(check: Check) -> None:
    code, line = check(f"--kv-cache-bytes={24 * GIB}")
    assert code == Reason.GPU_OUT_OF_MEMORY.exit_code
    assert "24.0 GiB of KV cache don't fit into the 23.0 GiB of NVIDIA L4 that are free" in line


@pytest.mark.parametrize(
    "options",
    [("--weights-bytes=1",), ("--start=ordinary",)],
    ids=["planned for other weights", "an ordinary start"],
)
def test_a_planned_size_that_is_not_used_is_not_checked_either(check: Check, options: tuple[str, ...]) -> None:
    code, line = check(f"--kv-cache-bytes={24 * GIB}", *options)
    assert (code, line.partition(" (")[0]) == (0, "kv cache fits the device: well")
