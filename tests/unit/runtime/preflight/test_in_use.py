"""How much memory is in use once the engine is ready."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime.preflight import Device, in_use
from slipway_runtime.preflight.in_use import memory_in_use

GIB = 1 << 30


def device(used: int, *, total: int = 80 * GIB) -> Device:
    reserved = GIB // 2
    return Device(index=0, name="NVIDIA H100", memory=total, free_memory=total - reserved - used, reserved=reserved)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """The devices as they are now."""
    there: list[Device] = []
    monkeypatch.setattr(in_use, "_devices", lambda kind: there if kind == "cuda" else [])
    return there


def test_each_device_is_reported_without_what_its_driver_keeps(now: list[Device]) -> None:
    now += [device(70 * GIB), device(71 * GIB)]
    assert memory_in_use("cuda", [device(0), device(0)]) == [
        {"name": "NVIDIA H100", "total": 80 * GIB - GIB // 2, "used": used * GIB} for used in (70, 71)
    ]


def test_a_device_that_others_use_too_says_nothing_of_this_engine(now: list[Device]) -> None:
    now.append(device(70 * GIB))
    assert memory_in_use("cuda", [device(2 * GIB)]) != []
    assert memory_in_use("cuda", [device(10 * GIB)]) == []


def test_a_lost_device_is_left_out(now: list[Device]) -> None:
    now.append(Device(index=0, name="GPU 0", memory=0, free_memory=0, faults=("lost",)))
    assert memory_in_use("cuda", [device(0)]) == []


def container(folder: Path, files: dict[str, str]) -> list[dict[str, object]]:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return list(in_use._of_container(folder))


def test_on_cpus_the_container_is_the_device_and_files_that_can_be_dropped_do_not_count(tmp_path: Path) -> None:
    files = {"memory.current": "900\n", "memory.max": "1000\n", "memory.stat": "anon 500\ninactive_file 300\n"}
    assert container(tmp_path, files) == [{"name": "container", "total": 1000, "used": 600}]


def test_the_same_with_the_first_version_of_cgroups(tmp_path: Path) -> None:
    files = {
        "memory/memory.usage_in_bytes": "900\n",
        "memory/memory.limit_in_bytes": "1000\n",
        "memory/memory.stat": "cache 1\ntotal_inactive_file 300\n",
    }
    assert container(tmp_path, files) == [{"name": "container", "total": 1000, "used": 600}]


def test_without_cgroups_nothing_is_known(tmp_path: Path) -> None:
    assert container(tmp_path, {}) == []
