"""As many connections as files can be open, and no more."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from slipway.activator.proxy import open_files
from slipway.activator.proxy.open_files import OpenFiles


@pytest.mark.parametrize(
    ("soft", "hard", "fitting", "raised"),
    [
        (1024, 1 << 20, 8192, 1 << 20),
        (1 << 20, 1 << 20, 8192, None),
        (1024, 4096, 1152, 4096),
        (-1, -1, 8192, None),
        (100, 100, 1, None),
    ],
)
def test_there_are_no_more_connections_than_files_can_be_open(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, fitting: int, raised: int | None
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: calls.append(limits))
    assert open_files.connections(8192) == fitting
    assert calls == ([(raised, hard)] if raised else [])


def test_a_limit_that_cannot_be_raised_counts_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr("resource.getrlimit", lambda which: (2048, 1 << 20))
    monkeypatch.setattr("resource.setrlimit", refuse)
    assert open_files.connections(8192) == (2048 - open_files.FOR_THE_REST - open_files.idle(2048)) // 2


class FakeFolder:
    """Of the files of a process, as a kernel before Linux 6.2 has it: its size is always 0."""

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=0)


def test_an_older_kernel_lists_them_in_another_thread_and_no_one_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, threads = threading.Event(), list[threading.Thread]()

    def listed() -> int:
        threads.append(threading.current_thread())
        if len(threads) > 1:
            goes_on.wait(10)
        return 100 * len(threads)

    monkeypatch.setattr("resource.getrlimit", lambda which: (1000, 1000))
    monkeypatch.setattr(open_files, "OWN_FILES", FakeFolder())
    monkeypatch.setattr(open_files, "_list", listed)
    files = OpenFiles()
    assert [files.used() for _ in range(5)] == [0.1] * 5  # while it is listed again, once
    goes_on.set()
    files._thread.shutdown()
    assert len(threads) == 2
    assert threads[1] is not threading.main_thread()


def next_number(files: OpenFiles) -> float:
    """What is returned after the listing that it starts."""
    files.used()
    files._thread.submit(lambda: None).result(10)
    return files.used()


@pytest.mark.parametrize(("number", "then"), [(errno.EMFILE, 1.0), (errno.ENFILE, 0.1), (errno.EACCES, 0.1)])
def test_a_listing_that_fails_is_made_again_and_one_without_a_free_file_means_that_all_are_taken(
    monkeypatch: pytest.MonkeyPatch, number: int, then: float
) -> None:
    fails = False

    @contextlib.contextmanager
    def listed(_folder: object) -> Iterator[Iterator[int]]:
        if fails:
            raise OSError(number, os.strerror(number))
        yield iter(range(100))

    monkeypatch.setattr("resource.getrlimit", lambda which: (1000, 1000))
    monkeypatch.setattr(open_files, "OWN_FILES", FakeFolder())
    monkeypatch.setattr("os.scandir", listed)
    files = OpenFiles()
    fails = True
    assert [next_number(files) for _ in range(3)] == [then] * 3
    fails = False
    next_number(files)
    assert next_number(files) == 0.1
    files._thread.shutdown()


def test_a_newer_kernel_knows_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    files = OpenFiles()
    monkeypatch.setattr("resource.getrlimit", lambda which: (1000, 1000))
    monkeypatch.setattr(open_files, "OWN_FILES", SimpleNamespace(stat=lambda: SimpleNamespace(st_size=250)))
    assert files.used() == 0.25
