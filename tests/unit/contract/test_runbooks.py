"""Links to runbooks: for what there is one, and what a URL of runbooks may be."""

from __future__ import annotations

import json

import pytest
from slipway.api.reasons import Reason
from slipway.contract.pages import PAGES
from slipway.contract.runbooks import LONGEST_PATTERN, LONGEST_URL, NO_RUNBOOKS, PATTERN, Runbooks
from support.repository import CHARTS

HERE = Runbooks("https://wiki.example.com/slipway/{name}.html")


@pytest.mark.parametrize(
    ("word", "url"),
    [
        ("ModelNotFound", "https://wiki.example.com/slipway/ModelNotFound.html"),
        ("head_too_long", "https://wiki.example.com/slipway/RequestInvalid.html"),
        ("Serving", ""),
        ("", ""),
    ],
)
def test_a_reason_or_an_error_leads_to_its_runbook_and_what_is_healthy_to_none(word: str, url: str) -> None:
    assert HERE.of(word) == url


def test_without_a_url_there_are_no_links() -> None:
    assert NO_RUNBOOKS.linked("There is no model.", "ModelNotFound") == "There is no model."


def test_every_final_reason_has_a_runbook() -> None:
    assert {reason for reason in Reason if reason.is_final} <= PAGES.keys()


def test_the_link_is_at_the_end_of_the_message() -> None:
    assert HERE.linked("There is no model.", "ModelNotFound") == f"There is no model. See {HERE.of('ModelNotFound')}"


@pytest.mark.parametrize("message", ["x" * 2000, "ä" * 2000, "\ud800" * 2000])
def test_of_a_message_that_is_too_long_its_end_is_left_out_and_never_the_link(message: str) -> None:
    linked = HERE.linked(message, "ModelNotFound", most=1024)
    assert len(linked.encode()) <= 1024
    assert linked.endswith(f" See {HERE.of('ModelNotFound')}")
    assert len(linked) > len(message) / 4


@pytest.mark.parametrize(
    "pattern",
    [
        "https://slipway.dev/docs/runbooks/{name}.html",
        "http://wiki:8080/{name}",
        "https://a.example/search?q={name}&in=it#top",
    ],
)
def test_a_url_with_the_name_in_its_path_or_query_is_one_of_runbooks(pattern: str) -> None:
    assert Runbooks(pattern).pattern == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        *("wiki", "ftp://a/{name}", "https://a.example/", "https://{name}", "https://a/{names}", "https://a/{{name}}"),
        *("https://a/{name} b", 'https://a/"{name}"', "https://a/${x}{name}", "https://a/{name}\n", "https:///{name}"),
        *("https://a/{name}/{name}", "https://a/\t{name}", "https://a/\x1b{name}", "https://a/\u00a0{name}"),
        f"https://a/{'x' * 400}{{name}}",
    ],
)
def test_any_other_url_is_refused_with_the_remedy(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"write a URL of at most 400 characters with \{name\} in it once"):
        Runbooks(pattern)


def test_the_chart_takes_what_the_programs_take() -> None:
    schema = json.loads((CHARTS / "slipway/values.schema.json").read_text())["properties"]["runbooks"]["properties"][
        "url"
    ]
    assert (schema["pattern"], schema["maxLength"]) == (f"^({PATTERN})?$", LONGEST_PATTERN)


def test_every_runbook_of_the_longest_url_fits_into_the_status() -> None:
    longest = "https://a/{name}".ljust(LONGEST_PATTERN, "x")
    assert max(len(Runbooks(longest).of(word)) for word in PAGES) <= LONGEST_URL
