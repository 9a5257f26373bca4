"""The memory that the supervisor and the guards share."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from slipway_runtime.control import Control, ControlError, Counts, GuardMode, Slot


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def control(path: Path) -> Iterator[Control]:
    control = Control.create(path)
    yield control
    control.close()


def counted(control: Control) -> tuple[int, int, int, int, int]:
    counts = control.counts()
    return counts.guards, counts.in_flight, counts.waiting, counts.done, counts.tokens


# A guard in a process of its own with two requests in flight, until it is killed.
GUARD = """
import signal, sys
from pathlib import Path
from slipway_runtime.control import Slot
slot = Slot.claim(Path(sys.argv[1]))
slot.begin()
slot.begin()
slot.answering()
slot.tokens(7)
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def other_guard(path: Path, control: Control) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", GUARD, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_before_any_guard_there_is_nothing_to_count(control: Control) -> None:
    assert control.counts() == Counts()


def test_only_the_owner_may_read_the_file(control: Control, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_supervisors_state_reaches_the_guard(control: Control, path: Path) -> None:
    slot = Slot.claim(path)
    control.mode, control.retry_after = GuardMode.DRAINING, 17
    assert (slot.mode, slot.retry_after) == (GuardMode.DRAINING, 17)


def test_every_count_of_a_guard_reaches_the_supervisor(control: Control, path: Path) -> None:
    slot = Slot.claim(path)
    slot.arrives()
    for _ in range(2):
        slot.begin()
    slot.answering()
    slot.end(waiting=False, done=True, failed=True)
    slot.tokens(3)
    counts = control.counts()
    seen = Counts(guards=1, arriving=1, in_flight=1, waiting=1, done=1, tokens=3, beat=counts.beat, busy=counts.busy)
    assert counts == replace(seen, ended=1, failed=1)
    assert counts.beat > 0


def test_busy_seconds_grow_only_while_a_request_is_in_flight(
    control: Control, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, busy = 10**15, []
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    slot = Slot.claim(path)
    changes = [slot.begin, slot.begin, end_of(slot), lambda: None, end_of(slot), lambda: None, slot.begin]
    for change in changes:
        change()
        now += 2 * 10**9
        busy.append(control.counts().busy)
    assert busy == [2, 4, 6, 8, 8, 8, 10]


def test_of_several_guards_the_busiest_counts(control: Control, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10**15
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    longer, shorter = Slot.claim(path), Slot.claim(path)
    longer.begin()
    now += 10**9
    shorter.begin()
    now += 10**9
    assert control.counts().busy == 2


def end_of(slot: Slot) -> Callable[[], None]:
    return lambda: slot.end(waiting=True, done=False)


def test_supervisor_and_guard_share_a_secret(control: Control, path: Path) -> None:
    assert Slot.claim(path).secret == control.secret
    assert len(control.secret) == 64


def test_every_start_has_another_secret(control: Control, path: Path) -> None:
    assert Slot.alone().secret != control.secret


def test_a_request_is_in_flight_and_waiting_until_its_response_starts_and_ends(control: Control, path: Path) -> None:
    slot = Slot.claim(path)
    slot.begin()
    assert counted(control) == (1, 1, 1, 0, 0)
    slot.answering()
    slot.tokens(3)
    assert counted(control) == (1, 1, 0, 0, 3)
    slot.end(waiting=False, done=True)
    assert counted(control) == (1, 0, 0, 1, 3)


def test_a_request_without_a_response_stops_waiting_and_does_not_count_as_done(control: Control, path: Path) -> None:
    slot = Slot.claim(path)
    slot.begin()
    slot.end(waiting=True, done=False)
    assert counted(control) == (1, 0, 0, 0, 0)


def test_a_request_whose_body_is_incomplete_is_not_in_flight(control: Control, path: Path) -> None:
    slot = Slot.claim(path)
    slot.arrives()
    assert (control.counts().arriving, control.counts().in_flight) == (1, 0)
    slot.arrived()
    assert control.counts().arriving == 0


def test_the_counts_of_all_guards_are_added_up(
    control: Control, path: Path, other_guard: subprocess.Popen[bytes]
) -> None:
    Slot.claim(path).begin()
    assert counted(control) == (2, 3, 2, 0, 7)


def test_the_counts_of_a_killed_guard_disappear(control: Control, other_guard: subprocess.Popen[bytes]) -> None:
    assert counted(control) == (1, 2, 1, 0, 7)
    os.kill(other_guard.pid, signal.SIGKILL)
    os.waitid(os.P_PID, other_guard.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
    assert counted(control) == (0, 0, 0, 0, 0)


def test_the_slot_of_a_killed_guard_is_used_again(
    control: Control, path: Path, other_guard: subprocess.Popen[bytes]
) -> None:
    other_guard.kill()
    other_guard.wait()
    slots = [Slot.claim(path) for _ in range(64)]
    assert control.counts().guards == len(slots)


def test_the_slowest_guard_determines_the_heartbeat(control: Control, path: Path) -> None:
    slow, fast = Slot.claim(path), Slot.claim(path)
    before = control.counts().beat
    fast.beat()
    assert control.counts().beat == before > 0
    slow.beat()
    assert control.counts().beat > before


def test_more_guards_than_slots_are_refused(control: Control, path: Path) -> None:
    for _ in range(64):
        Slot.claim(path)
    with pytest.raises(ControlError, match="All 64 slots"):
        Slot.claim(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 4160, b"\0" * 100], ids=["empty", "zeros", "short"])
def test_a_file_of_another_kind_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ControlError, match="version"):
        Slot.claim(path)


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(ControlError, match="cannot be opened: No such file"):
        Slot.claim(path)


def test_a_new_supervisor_starts_from_scratch_though_an_old_file_exists(control: Control, path: Path) -> None:
    Slot.claim(path).begin()
    again = Control.create(path)
    assert counted(again) == (0, 0, 0, 0, 0)
    again.close()


def test_a_guard_without_a_supervisor_serves(path: Path) -> None:
    assert Slot.alone().mode == GuardMode.SERVING
