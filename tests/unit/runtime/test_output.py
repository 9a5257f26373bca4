"""The engine's output: passed on in full, remembered, and never blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from slipway_runtime.supervisor.log import Log
from slipway_runtime.supervisor.output import LONGEST_LINE, REMEMBERED, Output


class Followed:
    def __init__(self) -> None:
        read, self.engine = os.pipe()
        self.passed_on: list[bytes] = []
        self.lines: list[str] = []
        self.output = Output(read, pass_on=self.passed_on.append, on_line=self.lines.append)

    def says(self, text: bytes) -> bool:
        os.write(self.engine, text)
        return self.output.read()


@pytest.fixture
def followed() -> Iterator[Followed]:
    followed = Followed()
    yield followed
    os.close(followed.engine)


def test_lines_are_passed_on_when_they_are_complete(followed: Followed) -> None:
    assert followed.says(b"one\ntw")
    assert followed.passed_on == [b"one\n"]
    followed.says(b"o\n")
    assert followed.passed_on == [b"one\n", b"two\n"]
    assert followed.lines == ["one", "two"]


def test_a_progress_bar_is_logged_by_its_last_state(followed: Followed) -> None:
    followed.says(b"10%\r50%\r100%\r\nnext\r\n")
    assert followed.lines == ["100%", "next"]


def test_bytes_that_are_not_text_pass_unchanged(followed: Followed) -> None:
    followed.says(b"\xff\xfe\n")
    assert followed.passed_on == [b"\xff\xfe\n"]
    assert followed.lines == ["\ufffd\ufffd"]


def test_a_line_without_an_end_is_cut(followed: Followed) -> None:
    for _ in range(3):
        followed.says(b"x" * (LONGEST_LINE // 2))
    assert followed.passed_on == [b"x" * LONGEST_LINE + b"\n"]


def test_the_last_lines_are_remembered_and_no_more(followed: Followed) -> None:
    followed.says(b"".join(b"%d\n\n" % number for number in range(500)))
    assert list(followed.output.last) == [str(number) for number in range(500 - REMEMBERED, 500)]


def test_the_end_is_noticed_and_an_unfinished_line_is_kept() -> None:
    followed = Followed()
    os.write(followed.engine, b"last words")
    os.close(followed.engine)
    assert not followed.output.read()
    assert followed.lines == ["last words"]


def test_a_log_without_a_reader_blocks_nothing() -> None:
    read, write = os.pipe()
    log = Log(write, room=4096)
    log.start()
    for _ in range(100):
        log.pass_on(b"x" * 4096)  # more than pipe and log hold together
    assert 0 < log.dropped < 100
    os.close(read)
    log.close()
    os.close(write)


def test_a_log_is_written_in_order_and_to_its_end() -> None:
    read, write = os.pipe()
    log = Log(write)
    log.say("before")
    log.start()
    for number in range(100):
        log.pass_on(b"%d\n" % number)
    log.close()
    os.close(write)
    with os.fdopen(read) as written:
        assert written.read().split() == ["slipway-runtime:", "before", *map(str, range(100))]
