"""Packages are installed by a program of the machine, or the remedy is named."""

import sys

import pytest
from slipway_devcluster import packages
from slipway_devcluster.errors import Refusal
from slipway_devcluster.packages import installer


def test_an_installer_that_does_not_run_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV", "/nowhere/uv")
    monkeypatch.setattr(packages, "runs", lambda command: command == [sys.executable, "-m", "pip"])
    assert installer()[:4] == [sys.executable, "-m", "pip", "install"]


def test_without_any_installer_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "runs", lambda _: False)
    with pytest.raises(Refusal, match="install uv or python3-pip"):
        installer()


def test_a_missing_program_does_not_run() -> None:
    assert not packages.runs(["/nowhere/uv", "pip"])
    assert packages.runs([sys.executable])
