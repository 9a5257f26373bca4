"""Steps show what runs and for how long, keep full logs, and end cleanly."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from slipway_devcluster.errors import StepFailed
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import (
    LOGS_KEPT,
    Durations,
    LineDisplay,
    LiveDisplay,
    Step,
    Steps,
    finished_line,
    in_words,
    new_log,
    running_line,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steps(cache: Cache, stream: io.StringIO, clock: Clock) -> Steps:
    return Steps(cache, stream=stream, clock=clock)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.4 s"), (9.9, "9.9 s"), (34.4, "34 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (3700, "1 h 1 min")],
)
def test_durations_read_naturally(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_running_step_is_compared_with_last_time() -> None:
    assert running_line("building x", 34, 260) == "building x … 34 s of about 4 min 20 s"
    assert running_line("building x", 34, None) == "building x … 34 s"


def test_a_finished_step_is_compared_with_last_time() -> None:
    assert finished_line("building x", 252, 260) == "building x took 4 min 12 s (last time 4 min 20 s)"
    assert finished_line("building x", 252, None) == "building x took 4 min 12 s"


def test_the_duration_of_a_step_is_stored(steps: Steps, stream: io.StringIO, clock: Clock) -> None:
    for seconds in (12, 15):
        with steps.step("building x"):
            clock.now += seconds
    assert stream.getvalue().splitlines()[-1] == "building x took 15 s (last time 12 s)"


def test_the_cpu_time_of_a_step_s_commands_is_stored(steps: Steps, cache: Cache) -> None:
    with steps.step("building x") as step:
        step.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"])
    assert (Durations(cache, "cpu-times.json").last("building x") or 0) >= 0.2


def fail(steps: Steps, clock: Clock, *, seconds: float) -> None:
    with contextlib.suppress(ZeroDivisionError), steps.step("building x"):
        clock.now += seconds
        raise ZeroDivisionError


def test_a_failed_step_does_not_count_as_last_time(steps: Steps, cache: Cache, clock: Clock) -> None:
    fail(steps, clock, seconds=12)
    assert Durations(cache).last("building x") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"building x": "long"}', '{"building x": null}'])
def test_if_the_stored_durations_are_damaged_only_the_estimate_is_missing(cache: Cache, text: str) -> None:
    (cache.root / "durations.json").write_text(text)
    assert Durations(cache).last("building x") is None
    Durations(cache).remember("building x", 3)
    assert Durations(cache).last("building x") == 3


def test_short_steps_print_nothing(steps: Steps, stream: io.StringIO, clock: Clock) -> None:
    with steps.step("looking"):
        clock.now += 0.1
    assert stream.getvalue() == ""


def test_short_steps_are_printed_if_requested(cache: Cache, stream: io.StringIO, clock: Clock) -> None:
    with Steps(cache, stream=stream, clock=clock, verbose=True).step("looking"):
        clock.now += 0.1
    assert stream.getvalue() == "looking took 0.1 s\n"


def test_a_failed_step_says_so(steps: Steps, stream: io.StringIO, clock: Clock) -> None:
    fail(steps, clock, seconds=12)
    assert stream.getvalue().splitlines()[-1] == "building x failed after 12 s"


def test_an_interrupted_step_says_so(steps: Steps, stream: io.StringIO) -> None:
    with contextlib.suppress(KeyboardInterrupt), steps.step("building x"):
        raise KeyboardInterrupt
    assert stream.getvalue() == "building x was interrupted after 0.0 s\n"


def a_step(name: str, tmp_path: Path, last: float | None = None) -> Step:
    return Step(name, tmp_path / "log", started=0, last=last, commands=None)  # type: ignore[arg-type]  # no process runs


def test_without_a_terminal_a_long_step_prints_a_line_every_half_minute(stream: io.StringIO, tmp_path: Path) -> None:
    display, step = LineDisplay(stream), a_step("building x", tmp_path, last=100)
    for second in range(95):
        display.show([(step, float(second))])
    assert stream.getvalue().splitlines() == [
        "building x … 3.0 s of about 1 min 40 s",
        "building x … 30 s of about 1 min 40 s",
        "building x … 1 min 0 s of about 1 min 40 s",
        "building x … 1 min 30 s of about 1 min 40 s",
    ]


def test_a_terminal_shows_every_running_step_in_place(tmp_path: Path) -> None:
    stream = Terminal()
    display = LiveDisplay(stream)
    both = [(a_step("building x", tmp_path), 4.0), (a_step("building y", tmp_path), 2.0)]
    display.show(both)
    stream.truncate(0)
    stream.seek(0)
    display.show(both)
    assert stream.getvalue() == "\x1b[2A\x1b[Jbuilding x … 4.0 s\nbuilding y … 2.0 s\n"


def test_a_permanent_line_is_written_above_the_live_ones(tmp_path: Path) -> None:
    stream = Terminal()
    display = LiveDisplay(stream)
    display.show([(a_step("building x", tmp_path), 4.0)])
    stream.truncate(0)
    stream.seek(0)
    display.line("y took 2 s")
    assert stream.getvalue() == "\x1b[1A\x1b[Jy took 2 s\nbuilding x … 4.0 s\n"


def test_a_finished_step_leaves_no_live_line(cache: Cache, clock: Clock) -> None:
    stream = Terminal()
    steps = Steps(cache, stream=stream, clock=clock)
    with steps.step("building x"):
        clock.now += 4
        steps.refresh()
    assert stream.getvalue().endswith("\x1b[1A\x1b[Jbuilding x took 4.0 s\nbuilding x … 4.0 s\n\x1b[1A\x1b[J")


def test_the_log_contains_each_command_and_all_of_its_output(steps: Steps) -> None:
    with steps.step("building x") as step:
        step.run(["sh", "-c", "echo out; echo err >&2"])
        step.run(["echo", "more"])
    assert step.log.read_text() == "$ sh -c 'echo out; echo err >&2'\nout\nerr\n$ echo more\nmore\n"


def test_a_command_gets_its_input_environment_and_folder(steps: Steps, tmp_path: Path) -> None:
    with steps.step("building x") as step:
        step.run(["sh", "-c", 'cat; echo "$WHO"; pwd'], input=b"given\n", env={"WHO": "me"}, cwd=tmp_path)
    assert step.log.read_text().splitlines()[1:] == ["given", "me", str(tmp_path)]


def test_a_failure_names_the_command_its_exit_code_its_last_lines_and_the_log(steps: Steps) -> None:
    with pytest.raises(StepFailed) as failed, steps.step("building x") as step:
        step.run(["sh", "-c", "seq 100; exit 3"])
    message = str(failed.value)
    assert message.startswith(
        f"building x failed: `sh -c 'seq 100; exit 3'` exited with 3; the full log is {step.log}\n"
    )
    assert message.splitlines()[1:] == [f"    {number}" for number in range(86, 101)]


def test_a_command_that_was_killed_is_reported_as_killed(steps: Steps) -> None:
    with pytest.raises(StepFailed, match="was ended by SIGKILL"), steps.step("building x") as step:
        step.run(["sh", "-c", "kill -KILL $$"])


def test_a_missing_command_is_reported_as_missing(steps: Steps) -> None:
    with pytest.raises(StepFailed, match=r"could not be started \(No such file"), steps.step("building x") as step:
        step.run(["no-such-program"])


def test_old_logs_are_removed(tmp_path: Path) -> None:
    for number in range(LOGS_KEPT + 10):
        new_log(tmp_path, f"step {number}").touch()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == LOGS_KEPT
    assert left[-1].endswith(f"step-{LOGS_KEPT + 9}.log")


def test_the_name_of_a_log_is_a_safe_file_name(tmp_path: Path) -> None:
    assert new_log(tmp_path, "building kube/x v1.34.4 …").name.endswith("-building-kube-x-v1.34.4.log")


WORK = "sleep 300 & echo $! > child; echo $$ > parent; : > started; wait"
PROGRAM = """
import pathlib, signal, sys
from slipway_devcluster.errors import StepFailed
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
steps = Steps(Cache(pathlib.Path(sys.argv[1])))
def work():
    with steps.step("working") as step:
        step.run(["sh", "-c", sys.argv[2]], cwd=pathlib.Path(sys.argv[1]))
try:
    {work}
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("work", ["work()", "steps.parallel(work, lambda: None)"])
def test_an_interrupt_ends_the_command_and_its_children(tmp_path: Path, work: str) -> None:
    os.mkfifo(tmp_path / "started")
    program = [sys.executable, "-c", PROGRAM.format(work=work), str(tmp_path), WORK]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        (tmp_path / "started").read_bytes()  # blocks until the command runs
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=20)
    assert output == b"interrupted\n"
    for name in ("parent", "child"):
        assert ends(int((tmp_path / name).read_text()))


def ends(pid: int) -> bool:
    """A process that got SIGKILL may need a moment on a busy machine."""
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_parallel_tasks_run_at_the_same_time_and_return_their_results(steps: Steps) -> None:
    together = threading.Barrier(2, timeout=20)

    def task() -> int:
        with steps.step("meeting"):
            return together.wait()

    assert sorted(steps.parallel(task, task)) == [0, 1]


def test_a_failure_ends_the_commands_of_parallel_tasks(steps: Steps, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")

    def long() -> None:
        with steps.step("long") as step:
            step.run(["sh", "-c", ": > started; sleep 300"], cwd=tmp_path)

    def failing() -> None:
        (tmp_path / "started").read_bytes()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        steps.parallel(long, failing)


def test_steps_go_on_after_a_parallel_failure_was_handled(steps: Steps) -> None:
    with pytest.raises(ZeroDivisionError):
        steps.parallel(lambda: 1 // 0)
    with steps.step("after") as step:
        step.run(["true"])
