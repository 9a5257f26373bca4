"""As many connections as files can be open, and no more."""

import pytest
from slipway.activator.proxy import open_files


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
