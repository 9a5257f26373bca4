"""What the fetcher and its README promise to those that start it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from slipway_fetcher.flags import parser
from slipway_fetcher.folder.target import Record
from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.push import PUSHED
from slipway_fetcher.push import parser as push_parser
from slipway_fetcher.reporting import LIMIT, report_success, termination_message
from slipway_fetcher.sources.schemes import SOURCES

REPOSITORY = Path(__file__).parents[3]
README = (REPOSITORY / "fetcher/README.md").read_text()
CONTRACT = REPOSITORY / "runtime-image/contract"


def test_each_reason_is_one_of_the_contract_and_its_exit_code_means_nothing_else_there() -> None:
    known = yaml.safe_load((CONTRACT / "reasons.yaml").read_text())["reasons"]
    assert {str(reason) for reason in Reason} <= set(known)
    codes = {about["exit"]: word for word, about in known.items() if "exit" in about}
    assert {reason.exit_code: codes[reason.exit_code] for reason in Reason if reason.exit_code in codes} == {
        reason.exit_code: str(reason) for reason in Reason if reason.exit_code in codes
    }


def test_the_termination_message_has_the_fields_of_the_contract_and_fits() -> None:
    pod = yaml.safe_load((CONTRACT / "pod.yaml").read_text())
    line = termination_message(FetchError(Reason.FAILED, "ü" * 9000, "Do\nsomething."))
    assert list(json.loads(line)) == pod["TERMINATION_FIELDS"]
    assert line.startswith(pod["TERMINATION_START"])
    assert len(line.encode()) <= LIMIT == pod["TERMINATION_LIMIT"]


def test_what_was_pushed_is_reported_as_the_runtime_does_it() -> None:
    pod = yaml.safe_load((CONTRACT / "pod.yaml").read_text())
    assert pod["PUSHED_START"] == PUSHED
    assert {pod["PUSHED_NAME"], pod["PUSHED_BYTES"]} == {"image", "bytes"}


def test_what_was_fetched_is_reported_as_the_operator_reads_it(tmp_path: Path) -> None:
    pod = yaml.safe_load((CONTRACT / "pod.yaml").read_text())
    log = tmp_path / "termination-log"
    log.touch()
    record = Record({}, "0e0e69c", ({"path": "a", "size": 3}, {"path": "b", "size": 4}))
    report_success(record, Path("/mnt/weights/0123"), log)
    start, _, said = log.read_text().partition("{")
    assert start == pod["FETCHED_START"]
    assert json.loads("{" + said) == {"folder": "0123", "version": "0e0e69c", "bytes": 7, "files": 2}


def test_the_readme_has_each_exit_code_and_each_scheme() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", README, re.MULTILINE)
    assert rows == [(str(reason.exit_code), str(reason)) for reason in Reason]
    assert [f"`{scheme}://" in README for scheme in SOURCES] == [True] * len(SOURCES)


def test_each_flag_that_the_readme_names_exists() -> None:
    flags = {flag for made in (parser(), push_parser()) for action in made._actions for flag in action.option_strings}
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= flags
