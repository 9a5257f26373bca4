"""What can be learned from an answer while it goes by."""

import json
from typing import Any

import pytest
from slipway_runtime.guard.answers import Usage, aborted, events_in, is_last, is_token, tail_of, usage_in
from support.guarding import CHAT, chunk

VLLM = {"prompt_tokens": 12, "total_tokens": 16, "completion_tokens": 4, "prompt_tokens_details": None}
LLAMACPP = {"cache_n": 20, "prompt_n": 5, "prompt_ms": 65.5, "predicted_n": 5, "predicted_ms": 119.5}


def compact(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


@pytest.mark.parametrize("write", [compact, lambda body: json.dumps(body).encode()], ids=["compact", "with spaces"])
def test_usage_is_read_from_an_answer(write: Any) -> None:
    assert usage_in(write({"id": "x", "usage": VLLM})) == Usage(12, 4)


def test_usage_is_read_by_the_names_of_other_apis() -> None:
    assert usage_in(compact({"usage": {"input_tokens": 3, "output_tokens": 2}})) == Usage(3, 2)


def test_llamacpp_tells_its_times_as_well() -> None:
    assert usage_in(compact({"usage": VLLM, "timings": LLAMACPP})) == Usage(12, 4, 0.0655, 0.1195)


def test_a_stream_of_llamacpp_tells_its_tokens_without_being_asked() -> None:
    assert usage_in(b"data: " + compact({"choices": [], "timings": LLAMACPP})) == Usage(25, 5, 0.0655, 0.1195)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"text": 'I say "usage":{"prompt_tokens": 9}'}]},
        {"choices": [{"text": '"finish_reason":"abort"'}]},
        {"usage": None},
        {},
    ],
)
def test_what_the_model_writes_is_not_taken_for_the_engines_words(body: Any) -> None:
    assert usage_in(compact(body)) is None
    assert not aborted(compact(body), CHAT, stream=False)


@pytest.mark.parametrize(
    ("path", "stream", "body"),
    [
        (CHAT, False, {"choices": [{"message": {"content": "par"}, "finish_reason": "abort"}]}),
        (CHAT, True, {"choices": [{"delta": {"content": ""}, "finish_reason": "abort"}]}),
        ("/v1/responses", False, {"status": "cancelled", "output": []}),
        ("/v1/messages", False, {"type": "message", "content": [], "stop_reason": None}),
        ("/v1/messages", True, {"type": "message_delta", "delta": {"stop_reason": None}}),
    ],
)
def test_an_answer_that_the_engine_gave_up_is_seen(path: str, stream: bool, body: Any) -> None:
    assert aborted(compact(body), path, stream=stream)


@pytest.mark.parametrize(
    ("path", "stream", "body"),
    [
        (CHAT, False, {"choices": [{"finish_reason": "stop", "stop_reason": None}]}),
        (CHAT, False, {"choices": [{"finish_reason": "stop", "logprobs": {"tokens": ["abort"]}}]}),
        ("/v1/responses", False, {"status": "completed"}),
        ("/v1/messages", False, {"type": "message", "stop_reason": "end_turn"}),
        ("/v1/messages", True, {"type": "message_start", "message": {"type": "message", "stop_reason": None}}),
        ("/v1/messages", True, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    ],
)
def test_one_that_it_finished_is_left_alone(path: str, stream: bool, body: Any) -> None:
    assert not aborted(compact(body), path, stream=stream)


def test_events_are_counted_though_several_come_at_once() -> None:
    assert events_in(chunk(text="a\n\nb") + chunk(text="c")) == 2


@pytest.mark.parametrize(
    "last",
    [
        chunk(text="a") + b"data: [DONE]\n\n",
        b"data: [DONE]\r\n\r\n",
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
    ],
)
def test_the_last_event_of_a_stream_is_seen(last: bytes) -> None:
    assert is_last(last)


@pytest.mark.parametrize("piece", [chunk(text="\ndata: [DONE]\n\n"), b"event: response.output_text.done\ndata: {}\n\n"])
def test_what_the_model_writes_ends_no_stream(piece: bytes) -> None:
    assert not is_last(piece)


# --- a stream that goes on as it did before ------------------------------------------------------------------------


def token(text: str, **more: Any) -> bytes:
    """As vLLM writes it."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None, "stop_reason": None, **more}
    return b"data: " + compact({"id": "x", "model": "m", "choices": [choice], "usage": None}) + b"\n\n"


TAIL = tail_of(token("a"))


@pytest.mark.parametrize("text", ["b", "", "\n\n", 'a "finish_reason":null', "finish_reason"])
def test_a_token_is_known_by_how_the_piece_ends(text: str) -> None:
    assert TAIL
    assert is_token(token(text), TAIL)


ANOTHER = b'"finish_reason":"abort"},{"index":1,"finish_reason"'


@pytest.mark.parametrize(
    "piece",
    [
        token("b", finish_reason="stop"),
        token("b", finish_reason="abort"),
        token("b") + token("c"),
        token("b") + b"data: [DONE]\n\n",
        token("b")[:-1],
        token("b").replace(b'"finish_reason"', ANOTHER),
        token("b").replace(b'"usage":null', b'"usage":{"prompt_tokens":1,"completion_tokens":2}'),
        b"data: [DONE]\n\n",
        b": waking\n\n",
    ],
)
def test_a_piece_that_tells_more_is_taken_for_no_mere_token(piece: bytes) -> None:
    assert not is_token(piece, TAIL)
    assert tail_of(piece) == b""


@pytest.mark.parametrize(
    "piece",
    [
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"b"}\n\n',
        b'data: {"choices":[{"index":0,"text":"b","finish_reason": null}]}\n\n',
        b'data: {"choices":[{"index":0,"text":"b","finish_reason":null}]}',
    ],
)
def test_where_pieces_are_written_otherwise_each_is_looked_at(piece: bytes) -> None:
    assert tail_of(piece) == b""
