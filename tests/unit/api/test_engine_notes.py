"""The annotations with which a runtime describes its engine are parsed, or reported with the remedy."""

from __future__ import annotations

import pytest
from slipway.api.engine_notes import (
    DRAINS_FOR,
    IN_FLIGHT,
    LONGEST,
    OPTIONS,
    OUR_WORDS,
    PATH,
    PORT,
    PROGRESS,
    SILENT,
    USUAL,
    Exposition,
    NoteError,
    Series,
    Words,
    exposition,
    read,
)


def test_a_runtime_without_annotations_gets_the_notes_of_the_built_in_engines() -> None:
    notes = read({})
    assert notes.metrics == USUAL == Exposition(port=None, path="/metrics", words=OUR_WORDS)
    assert (notes.names_words, notes.drains_for, notes.options) == (False, None, {})


def test_port_and_path_have_the_names_that_kserve_gives_them() -> None:
    assert exposition({"prometheus.kserve.io/port": "8002", "prometheus.kserve.io/path": "/v1/metrics?all=1"}) == (
        Exposition(port=8002, path="/v1/metrics?all=1")
    )


def test_metrics_are_named_with_the_labels_that_they_must_have() -> None:
    notes = read({IN_FLIGHT: 'a:b c{state=active} c{state="x.y",kind=z}', PROGRESS: "d_total\ne_total"})
    assert notes.metrics.words == Words(
        in_flight=(
            Series("a:b"),
            Series("c", (("state", "active"),)),
            Series("c", (("state", "x.y"), ("kind", "z"))),
        ),
        progress=(Series("d_total"), Series("e_total")),
    )
    assert notes.names_words


@pytest.mark.parametrize("text", ["true", "false", ""])
def test_the_metrics_annotation_says_that_an_engine_has_no_metrics_before_its_first_request(text: str) -> None:
    assert exposition({IN_FLIGHT: "a", SILENT: text}).words.silent_until_used == (text == "true")
    assert exposition({SILENT: "true"}).words == OUR_WORDS


def test_an_empty_annotation_says_nothing() -> None:
    empty = read({PORT: "", PATH: "", IN_FLIGHT: " ", PROGRESS: "", DRAINS_FOR: "", OPTIONS: ""})
    assert empty == read({})


def test_the_drain_timeout_is_a_duration() -> None:
    assert read({DRAINS_FOR: "1m30s"}).drains_for == 90


def test_options_are_flags_or_variables() -> None:
    options = read({OPTIONS: "model.servedName=SERVED_NAME engine.contextLength=--max-length"}).options
    assert options == {"model.servedName": "SERVED_NAME", "engine.contextLength": "--max-length"}


WRONG = [
    (PORT, "metrics", "prometheus.kserve.io/port is 'metrics': write a port's number, such as '8002'"),
    (PORT, "0", "is '0'"),
    (PORT, "65536", "is '65536'"),
    (PATH, "metrics", "prometheus.kserve.io/path is 'metrics': write a path, such as '/metrics'"),
    (PATH, "/a b", "is '/a b'"),
    (PATH, "/a\r\nX: y", "write a path"),
    (IN_FLIGHT, "a{", "slipway.dev/in-flight names 'a{': write metrics with a space between them"),
    (IN_FLIGHT, "a{b}", "names 'a{b}'"),
    (IN_FLIGHT, "a{}", "names 'a{}'"),
    (IN_FLIGHT, "a,b", "names 'a,b'"),
    (IN_FLIGHT, "sum(a)", "names 'sum(a)'"),
    (IN_FLIGHT, 'a{b="c}', "names 'a{b=\"c}'"),
    (IN_FLIGHT, "a{b=c,d=e,f=g,h=i,j=k}", "with at most 4 labels"),
    (PROGRESS, "a " * 17, "names 17 metrics: write at most 16"),
    (PROGRESS, "a" * (LONGEST + 1), f"has {LONGEST + 1} characters: write at most {LONGEST}"),
    (SILENT, "yes", "slipway.dev/silent-until-used is 'yes': write 'true' or 'false'"),
    (DRAINS_FOR, "soon", "slipway.dev/drains-for: 'soon' is not a duration"),
    (
        OPTIONS,
        "engine.mode=--mode",
        "slipway.dev/options has 'engine.mode=--mode': write FIELD=--flag or FIELD=VARIABLE",
    ),
    (OPTIONS, "engine.contextLength", "has 'engine.contextLength'"),
    (OPTIONS, "engine.contextLength=--a=b", "has 'engine.contextLength=--a=b'"),
]


@pytest.mark.parametrize(("note", "text", "says"), WRONG, ids=[f"{row[0]} {row[1]:.20}" for row in WRONG])
def test_an_unreadable_annotation_is_reported_with_its_remedy(note: str, text: str, says: str) -> None:
    with pytest.raises(NoteError) as error:
        read({note: text})
    assert says in str(error.value)
