"""A fetcher that is killed, that isn't alone, or that has no room: the folder is complete or not there."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fakes.hub import FakeHub, Repository, hub
from support.programs.fetcher import content_of, fetch, kill, started

SIZE = 3 << 20
FILES = {f"model-{number}.safetensors": os.urandom(SIZE) for number in range(3)} | {"config.json": b"{}"}
TOTAL = sum(map(len, FILES.values()))


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with hub(model=Repository(dict(FILES))) as server:
        yield server


def test_a_killed_fetcher_leaves_a_folder_that_is_complete_or_not_there(server: FakeHub, tmp_path: Path) -> None:
    """At a random moment again and again, until one run has had the time to end."""
    server.rate = 2 << 20
    folder, kills = tmp_path / "model", 0
    while True:
        process = started("hf://org/model", folder, "--endpoint", server.url, "--connections=3", steps=SIZE // 4)
        try:
            process.communicate(timeout=random.uniform(0.4, 1.6) if kills < 15 else 60)
        except subprocess.TimeoutExpired:
            kill(process)
            kills += 1
            assert not folder.exists() or content_of(folder) == FILES
            continue
        assert process.returncode == 0
        break
    assert kills
    assert content_of(folder) == FILES
    assert server.sent <= TOTAL + kills * 3 * SIZE // 4


def ends_at_each(server: FakeHub, tmp_path: Path, numbers: list[int]) -> int:
    """Lets a run end at each of these system calls, and the next one go on; returns how many did."""
    server.repositories["org/model"].files = {"model.safetensors": FILES["model-0.safetensors"], "config.json": b"{}"}
    content = server.repositories["org/model"].files
    ended = 0
    for number in numbers:
        folder = tmp_path / f"{number}/model"
        process = started("hf://org/model", folder, "--endpoint", server.url, "--connections=2", ends_after=number)
        process.communicate()
        ended += process.returncode == 137
        assert process.returncode in (0, 137)
        assert not folder.exists() or content_of(folder) == content, f"after {number} calls"
        assert fetch("hf://org/model", folder, "--endpoint", server.url).code == 0
        assert content_of(folder) == content
        assert sorted(path.name for path in folder.parent.iterdir()) == [".model.lock", "model"]
    return ended


def test_a_fetcher_that_ends_at_a_system_call_leaves_what_the_next_one_goes_on_with(
    server: FakeHub, tmp_path: Path
) -> None:
    assert ends_at_each(server, tmp_path, random.sample(range(1, 100), 8))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_holds_for_each_system_call(server: FakeHub, tmp_path: Path) -> None:
    assert ends_at_each(server, tmp_path, list(range(1, 150))) > 50


def test_bytes_that_a_crash_has_left_wrong_are_fetched_again(server: FakeHub, tmp_path: Path) -> None:
    """After a power failure, a file can have other bytes than the journal says."""
    folder = tmp_path / "model"
    server.rate = 1 << 20
    process = started("hf://org/model", folder, "--endpoint", server.url)
    partial = tmp_path / ".model.partial/model/model-0.safetensors"
    while process.poll() is None and not (partial.exists() and partial.stat().st_size == SIZE):
        time.sleep(0.001)
    kill(process)
    if partial.exists():
        with partial.open("r+b") as file:
            file.write(bytes(100))
    assert fetch("hf://org/model", folder, "--endpoint", server.url).code == 0
    assert content_of(folder)["model-0.safetensors"] == FILES["model-0.safetensors"]


def test_five_at_a_time_fetch_once_and_say_for_whom_they_wait(server: FakeHub, tmp_path: Path) -> None:
    server.rate = 1 << 19
    processes = [started("hf://org/model", tmp_path / "model", "--endpoint", server.url) for _ in range(5)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 5
    lines = [[json.loads(line) for line in output.splitlines()] for output in outputs]
    assert sorted(each[-1]["event"] for each in lines) == ["fetched", *["present"] * 4]
    assert server.sent == TOTAL
    waiting = [line["waiting"] for each in lines for line in each if line.get("waiting")]
    assert any("fetches the same model" in each for each in waiting)


def test_a_lock_ends_with_the_process_that_has_it(server: FakeHub, tmp_path: Path) -> None:
    server.rate = 1 << 18
    holder = started("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    while not (tmp_path / ".model.partial").exists():
        time.sleep(0.01)
    waiting = started("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    time.sleep(1)
    assert waiting.poll() is None
    server.rate = float("inf")
    kill(holder)
    waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert content_of(tmp_path / "model") == FILES


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_volume_that_is_too_small_is_named_before_the_first_byte(server: FakeHub, small_disk: Path) -> None:
    outcome = fetch("hf://org/model", small_disk / "model", "--endpoint", server.url)
    assert outcome.code == 15
    assert "has 8.4 MB free, and the model needs 9.4 MB more. Use a larger volume" in outcome.sentence
    assert server.sent == 0


def test_a_volume_that_becomes_full_is_named_and_the_next_run_goes_on(server: FakeHub, small_disk: Path) -> None:
    del server.repositories["org/model"].files["model-2.safetensors"]
    server.rate = 1 << 18
    process = started("hf://org/model", small_disk / "model", "--endpoint", server.url)
    while not (small_disk / ".model.partial/model/model-0.safetensors").exists():
        time.sleep(0.01)
    (small_disk / "other").write_bytes(bytes(5 << 20))
    output = process.communicate(timeout=60)[0]
    last = json.loads(output.splitlines()[-1])
    assert (process.returncode, last["reason"]) == (15, "ModelDownloadFailed")
    assert "became full during the download" in last["message"]
    assert not (small_disk / "model").exists()
    (small_disk / "other").unlink()
    assert fetch("hf://org/model", small_disk / "model", "--endpoint", server.url).code == 0


def test_a_mount_point_is_refused_because_a_model_cannot_appear_there_at_once(
    server: FakeHub, small_disk: Path
) -> None:
    outcome = fetch("hf://org/model", small_disk, "--endpoint", server.url)
    assert outcome.code == 4
    assert f"{small_disk} is a mount point" in outcome.sentence
    assert f"Name a folder in it, such as {small_disk}/model" in outcome.sentence


def test_so_is_one_that_a_sub_path_has_mounted(server: FakeHub, small_disk: Path) -> None:
    for name in ("source", "model"):
        (small_disk / name).mkdir()
    subprocess.run(["mount", "--bind", small_disk / "source", small_disk / "model"], check=True)
    try:
        outcome = fetch("hf://org/model", small_disk / "model", "--endpoint", server.url)
    finally:
        subprocess.run(["umount", small_disk / "model"], check=True)
    assert (outcome.code, "is a mount point" in outcome.sentence, server.requests) == (4, True, [])


def test_a_folder_on_a_volume_that_cannot_be_written_is_used_if_it_is_complete(
    server: FakeHub, small_disk: Path
) -> None:
    server.repositories["org/model"].files = {"config.json": b"{}"}
    fetch("hf://org/model", small_disk / "model", "--endpoint", server.url)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert fetch("hf://org/model", small_disk / "model", "--endpoint", server.url).last["event"] == "present"


def test_memory_does_not_grow_with_the_model(server: FakeHub, tmp_path: Path) -> None:
    server.repositories["org/model"].files = {"model.safetensors": os.urandom(128 << 20)}
    process = started("hf://org/model", tmp_path / "model", "--endpoint", server.url, steps=16 << 20)
    status, largest = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        largest = max(largest, int(found[1]) if found else 0)
        time.sleep(0.05)
    process.communicate()
    assert process.returncode == 0
    assert 10_000 < largest < 80_000  # kB
