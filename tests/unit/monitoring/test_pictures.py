"""Pictures and numbers of docs/monitoring.md are drawn from stored answers of a real Prometheus, and say so."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

from slipway_monitoring import pictures
from slipway_monitoring.pictures import Answers, drawn, svg, told

STORED: dict[str, Any] = {
    "title": "Where <requests> are",
    "unit": "reqps",
    "source": "2026-11-30",
    "step": 5,
    "queries": ['sum(slipway:requests_held{namespace="$namespace"})'],
    "lines": {"held": [[0, 1], [5, 2], [60, 3]], "never": []},
}


def test_a_picture_says_that_it_is_no_screenshot_and_from_which_queries_it_is() -> None:
    text = svg(Answers.read(STORED))
    words = "".join(ET.fromstring(text).itertext())
    assert "Where <requests> are" in words
    assert "requests per second" in words
    assert "2026-11-30; not a screenshot of Grafana." in words
    assert STORED["queries"][0] in words


def test_a_line_has_a_gap_where_there_was_no_value() -> None:
    [path] = [line for line in svg(Answers.read(STORED)).splitlines() if "stroke-width" in line and "L" in line]
    assert path.count("M") == 2
    assert path.count("L") == 1


def test_the_pictures_of_the_documentation_are_those_of_the_stored_answers() -> None:
    stored = drawn(pictures.PICTURES)
    assert stored
    for file, picture in stored.items():
        assert file.read_text() == picture, f"run `make pictures`: {file}"


def test_the_numbers_of_the_documentation_are_those_of_the_stored_answers() -> None:
    page = pictures.PAGE.read_text()
    assert told(page, json.loads((pictures.PICTURES / pictures.STORY).read_text())) == page


def test_the_documentation_shows_every_picture() -> None:
    page = pictures.PAGE.read_text()
    assert [name.name for name in drawn(pictures.PICTURES) if f"images/monitoring/{name.name}" not in page] == []


def test_a_page_keeps_what_is_around_the_table() -> None:
    page = f"before\n{pictures.MARK}old\n{pictures.END}after\n"
    story = {"source": "s", "facts": [{"minute": 1.0, "what": "held", "value": 2, "query": "sum(x)"}]}
    assert told(page, story).startswith(f"before\n{pictures.MARK}")
    assert told(page, story).endswith(f"{pictures.END}after\n")
    assert "| 1 | held | 2 | `sum(x)` |" in told(page, story)
    assert "old" not in told(page, story)


def test_the_alerts_of_the_story_have_their_times() -> None:
    fired = [
        {"alert": "A", "severity": "critical", "from": 2.0, "to": 12.5},
        {"alert": "B", "severity": "warning", "from": 20.0, "to": None},
    ]
    story = {"source": "s", "facts": [], "alerts": {"query": "ALERTS", "fired": fired}}
    page = told(f"{pictures.MARK}{pictures.END}", story)
    assert "| A | critical | 2 | 12.5 |" in page
    assert "| B | warning | 20 | it still fires |" in page
