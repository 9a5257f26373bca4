"""`explain` knows every word that a status can have, and every alert with a runbook."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from slipway.api.reasons import ConditionType, Reason, State
from slipway.contract.pages import PAGES
from slipway_cli.commands.explain import without_links
from slipway_cli.main import cli
from slipway_cli.offline.runbooks import names, runbook


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments])


@pytest.mark.parametrize("word", [*map(str, Reason), *map(str, State), *map(str, ConditionType)])
def test_every_word_of_a_status_is_explained(word: str) -> None:
    document = json.loads(run(word, "--output=json").stdout)
    assert (document["kind"], document["name"]) == ("Explanation", word)
    assert document["meaning"]


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_says_whether_waiting_helps(reason: Reason) -> None:
    assert json.loads(run(str(reason), "--output=json").stdout)["final"] is reason.is_final


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("Slipway")])
def test_every_alert_is_explained_by_its_runbook(name: str) -> None:
    found = run(name)
    book = runbook(name)
    assert found.exit_code == 0
    assert book is not None
    assert without_links(book.section("Mitigation")) in found.stdout
    assert book.url in found.stdout
    assert run(name, "--all").stdout.count("\n## ") >= 3


def test_the_runbook_of_a_reason_is_that_of_its_link() -> None:
    book = runbook("GpuOutOfMemory")
    assert book is not None
    assert book.url == f"https://slipway.dev/docs/runbooks/{PAGES['GpuOutOfMemory']}.html"
    assert without_links(book.section("Mitigation")) in run("GpuOutOfMemory").stdout


def test_capitals_do_not_matter() -> None:
    assert run("gpuoutofmemory").stdout == run("GpuOutOfMemory").stdout


def test_without_a_word_all_are_listed() -> None:
    listed = run("--output=name").stdout.split()
    assert {*map(str, Reason)} <= set(listed)
    assert len(json.loads(run("--output=json").stdout)["items"]) == len(listed)


def test_an_unknown_word_gets_the_closest_ones() -> None:
    found = run("GpuOutOfMemry")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "did you mean GpuOutOfMemory" in found.stderr


@pytest.mark.parametrize("word", ["../README", "/etc/passwd", "..%2f"])
def test_a_word_is_no_path(word: str) -> None:
    assert runbook(word) is None
    assert run(word).exit_code == 2
