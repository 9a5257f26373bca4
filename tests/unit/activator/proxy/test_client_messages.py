"""What clients receive while they wait, and when they can't be served."""

import json
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.activator.proxy import access_errors, error_responses
from slipway.activator.proxy.event_stream import SingleEvent, comment, event, heartbeat
from slipway.api.reasons import Reason
from slipway.contract.runbooks import Runbooks
from slipway.observing.cause import Cause

GONE = Cause(Reason.MODEL_NOT_FOUND, "There is no model acme/gone.", final=True)


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        (
            heartbeat(elapsed=34.2, expected=80, step=Reason.PULLING_IMAGE, cause=None),
            b": waking, pulling image, 34 s of about 80 s\n\n",
        ),
        (heartbeat(elapsed=90, expected=80, step=None, cause=None), b": waking, 90 s\n\n"),
        (heartbeat(elapsed=9, expected=None, step=None, cause=None), b": waking, 9 s\n\n"),
        (
            heartbeat(elapsed=9, expected=None, step=Reason.SCHEDULING, cause=Cause(Reason.UNSCHEDULABLE, "No\nGPU.")),
            b": waking, No GPU., 9 s\n\n",
        ),
    ],
    ids=["everything is known", "it takes longer", "little is known", "a cause, on one line"],
)
def test_a_heartbeat_says_what_is_waited_for(comment: bytes, text: bytes) -> None:
    assert comment == text


def test_no_text_can_end_a_comment_early() -> None:
    assert comment("a\n\ndata: b\r\n") == b": a data: b\n\n"


def test_an_event_of_several_lines_stays_one_event() -> None:
    assert event(b"a\nb") == b"data: a\ndata: b\n\n"


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"bc", b""]), max_size=12))
def test_a_response_is_the_same_event_in_whatever_pieces_it_arrives(pieces: list[bytes]) -> None:
    answer = SingleEvent()
    assert b"".join(map(answer.more, pieces)) + answer.end() == event(b"".join(pieces))


@pytest.mark.parametrize(
    ("refusal", "status", "type_", "code"),
    [
        (error_responses.failed(GONE), 503, "service_unavailable_error", "ModelNotFound"),
        (error_responses.hold_full(9), 429, "rate_limit_error", "HoldFull"),
        (error_responses.overdue(9.0, None, 9), 504, "server_error", "HoldTimeout"),
        (error_responses.overdue(9.0, GONE, 9), 503, "service_unavailable_error", "ModelNotFound"),
        (error_responses.deleted(), 503, "service_unavailable_error", "Deleting"),
        (error_responses.lost("It broke."), 502, "server_error", "ReplicaLost"),
        (error_responses.invalid(HTTPStatus.BAD_REQUEST, "No."), 400, "invalid_request_error", "RequestInvalid"),
        (error_responses.too_large(9), 413, "invalid_request_error", "RequestTooLarge"),
        (error_responses.too_many_connections(), 503, "service_unavailable_error", "TooManyConnections"),
    ],
)
def test_a_refusal_is_an_error_in_openais_format(
    refusal: error_responses.ErrorResponse, status: int, type_: str, code: str
) -> None:
    error = json.loads(refusal.body())["error"]
    assert (refusal.status, error["type"], error["code"], error["param"]) == (status, type_, code, None)
    assert error["message"].endswith(".")


@pytest.mark.parametrize(
    ("refusal", "page"),
    [
        (error_responses.failed(GONE), "ModelNotFound"),
        (error_responses.hold_full(9), "HoldFull"),
        (access_errors.WRONG_KEY, "invalid_api_key"),
        (access_errors.wakes_no_model("GET", "/"), "model_asleep"),
    ],
)
def test_an_error_links_to_its_runbook(refusal: error_responses.ErrorResponse, page: str) -> None:
    error = json.loads(refusal.body(Runbooks("https://docs.example/{name}.html")))["error"]
    assert error["message"] == f"{refusal.message} See https://docs.example/{page}.html"


def test_a_cause_without_a_message_is_described_by_its_reason() -> None:
    assert error_responses.failed(Cause(Reason.ENGINE_CRASHED, "")).message == Reason.ENGINE_CRASHED.meaning
