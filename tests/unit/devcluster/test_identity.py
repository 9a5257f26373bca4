"""Only processes that devcluster started are ever ended."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from slipway_devcluster.identity import Identity, children, identify


@pytest.fixture
def identity() -> Identity:
    found = identify(os.getpid())
    assert found is not None
    return found


def test_a_living_process_is_recognised(identity: Identity) -> None:
    assert identity.alive()


def test_another_process_with_the_same_pid_is_not_taken_for_it(identity: Identity) -> None:
    assert not dataclasses.replace(identity, start_ticks=identity.start_ticks - 1).alive()


def test_no_process_from_before_a_reboot_is_alive(identity: Identity) -> None:
    assert not dataclasses.replace(identity, boot_id="another boot").alive()


def test_an_ended_process_is_gone_even_before_its_parent_has_reaped_it() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert identify(process.pid) is None

    process.wait()


def test_a_process_name_with_blanks_and_parentheses_is_parsed_correctly(tmp_path: Path) -> None:
    script = tmp_path / "odd) Z (1"
    script.write_text("#!/bin/sh\nread line\n")
    script.chmod(0o755)
    process = subprocess.Popen([script], stdin=subprocess.PIPE)

    found = identify(process.pid)

    assert found is not None
    assert found.alive()
    process.communicate(b"\n")


def test_the_children_of_a_process_are_found() -> None:
    parent = subprocess.Popen(["sh", "-c", "cat; :"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin
    assert parent.stdout
    parent.stdin.write(b"x")
    parent.stdin.flush()
    parent.stdout.read(1)  # the child has started

    found = children(parent.pid)

    assert len(found) == 1
    parent.communicate()
