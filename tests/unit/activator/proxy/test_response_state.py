"""The response to a client: which steps may follow each other, and that nothing is mixed with what was sent."""

import asyncio
import contextlib
from http import HTTPStatus
from itertools import product

import pytest
from slipway.activator.proxy import error_responses
from slipway.activator.proxy.response_state import (
    TABLE,
    ImpossibleResponseError,
    ResponseEvent,
    ResponseState,
    next_state,
)
from support.fakes.scripted_engine import ScriptedEngine
from support.programs.activator import Activator, connected

OVER = (ResponseState.COMPLETE, ResponseState.BROKEN_OFF)


def reachable(state: ResponseState) -> set[ResponseState]:
    found, new = {state}, [state]
    while new:
        at = new.pop()
        for (before, _), after in TABLE.items():
            if before is at and after not in found:
                found.add(after)
                new.append(after)
    return found


def test_every_state_is_reached_and_each_leads_to_the_end() -> None:
    assert reachable(ResponseState.NOTHING_SENT) == set(ResponseState)
    assert all(ResponseState.COMPLETE in reachable(state) for state in ResponseState if state not in OVER)


@pytest.mark.parametrize(("state", "event"), list(product(OVER, ResponseEvent)))
def test_nothing_follows_the_end(state: ResponseState, event: ResponseEvent) -> None:
    with pytest.raises(ImpossibleResponseError):
        next_state(state, event)


STARTED = (ResponseState.BODY, ResponseState.EVENTS, ResponseState.ONE_EVENT)
SECOND = (ResponseEvent.OWN_RESPONSE, ResponseEvent.EVENT_STREAM, ResponseEvent.OTHER_RESPONSE, ResponseEvent.HEARTBEAT)


@pytest.mark.parametrize(("state", "event"), list(product(STARTED, SECOND)))
def test_a_response_that_has_started_is_followed_by_no_other(state: ResponseState, event: ResponseEvent) -> None:
    with pytest.raises(ImpossibleResponseError):
        next_state(state, event)


async def test_an_error_after_the_start_of_a_response_breaks_it_off_and_is_not_written_into_it(
    activator: Activator, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise error_responses.RefusedRequestError(error_responses.invalid(HTTPStatus.BAD_REQUEST, "a bug"))

    monkeypatch.setattr("slipway.activator.proxy.request.RequestHandler._until_taken", refuse)
    monkeypatch.setattr("slipway.activator.http1.channel.Channel.is_stalled", True)
    sent = b""
    async with connected(activator) as client, asyncio.timeout(10):
        client.post()
        with contextlib.suppress(ConnectionError):
            while piece := await client.reader.read(1024):
                sent += piece
    assert sent.startswith(b"HTTP/1.1 200 ")
    assert b"a bug" not in sent
