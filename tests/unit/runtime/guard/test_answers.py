"""What is read from a response while it passes through the guard."""

import json
from typing import Any

import pytest
from slipway_runtime.guard.answers import TOKENS_PER_SECOND, Reading, Stream, Usage, is_token, tail_of
from support.programs.guard import CHAT, chunk, read

VLLM = {"prompt_tokens": 12, "total_tokens": 16, "completion_tokens": 4, "prompt_tokens_details": None}
LLAMACPP = {"cache_n": 20, "prompt_n": 5, "prompt_ms": 65.5, "predicted_n": 5, "predicted_ms": 119.5}
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"


def compact(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def spaced(body: Any) -> bytes:
    return json.dumps(body).encode()


def event(body: Any, kind: str = "") -> bytes:
    return (f"event: {kind}\n".encode() if kind else b"") + b"data: " + compact(body) + b"\n\n"


def complete(body: bytes, path: str = CHAT) -> Reading:
    reading = Reading(path)
    read(reading, body)
    return reading


def stream(*pieces: bytes, path: str = CHAT) -> Stream:
    reading = Stream(path)
    read(reading, *pieces)
    return reading


def reading_of(body: Any, path: str, *, streams: bool) -> Reading:
    return stream(event(body), path=path) if streams else complete(compact(body), path)


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [compact, spaced], ids=["compact", "with spaces"])
def test_usage_is_read_from_a_response(write: Any) -> None:
    assert complete(write({"id": "x", "usage": VLLM})).usage == Usage(12, 4)
    assert stream(b"data: " + write({"id": "x", "usage": VLLM}) + b"\n\n").usage == Usage(12, 4)


def test_usage_is_read_by_the_names_of_other_apis() -> None:
    assert complete(compact({"usage": {"input_tokens": 3, "output_tokens": 2}}), RESPONSES).usage == Usage(3, 2)


def test_cached_tokens_of_a_message_count_as_prompt_tokens() -> None:
    usage = {"cache_read_input_tokens": 55, "cache_creation_input_tokens": 4, "input_tokens": 1, "output_tokens": 2}
    assert complete(compact({"type": "message", "stop_reason": "end_turn", "usage": usage}), MESSAGES).usage == Usage(
        60, 2
    )


def test_a_total_counts_where_nothing_else_is_reported() -> None:
    assert complete(compact({"results": [], "usage": {"total_tokens": 7}}), "/rerank").usage == Usage(7, 0)


def test_llamacpp_reports_its_timings_too() -> None:
    assert complete(compact({"usage": VLLM, "timings": LLAMACPP})).usage == Usage(25, 5, 0.0655, 0.1195)


def test_a_stream_of_llamacpp_reports_its_tokens_without_being_asked_to() -> None:
    assert stream(event({"choices": [], "timings": LLAMACPP})).usage == Usage(25, 5, 0.0655, 0.1195)


def test_of_usage_that_a_stream_reports_repeatedly_the_maximum_counts() -> None:
    usages = [{"prompt_tokens": 5, "completion_tokens": number} for number in (1, 9, 2)]
    assert stream(*(event({"choices": [], "usage": usage}) for usage in usages)).usage == Usage(5, 9)


def test_the_usage_of_a_messages_stream_is_in_its_first_and_last_events() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 0}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
    assert stream(event(start), event(end), path=MESSAGES).usage == Usage(7, 3)


def test_the_usage_of_a_responses_stream_is_in_its_last_event() -> None:
    end = {"type": "response.completed", "response": {"usage": {"input_tokens": 7, "output_tokens": 3}}}
    assert stream(event(end), path=RESPONSES).usage == Usage(7, 3)


@pytest.mark.parametrize("number", ["-5", "1e99", "true", "null", '"7"', "[7]", "{}", "9" * 5000])
def test_an_invalid_number_of_tokens_is_ignored(number: str) -> None:
    assert complete(b'{"usage":{"prompt_tokens":%b}}' % number.encode()).usage is None


def test_events_are_counted_though_several_arrive_together() -> None:
    assert stream(chunk(text="a\n\nb") + chunk(text="c")).events == 2


@pytest.mark.parametrize("words", [1, 3, 100, 1000, 100_000])
def test_an_event_with_the_text_of_many_tokens_is_counted_by_its_text(words: int) -> None:
    assert stream(chunk(text="a"), chunk(text="word " * words), chunk(text="a")).text == 2 + 5 * words


def test_long_events_with_short_text_do_not_count_as_many_tokens() -> None:
    logprobs = {"content": [{"token": "word" * 200}]}
    reading = stream(*(chunk(delta={"content": "a"}, logprobs=logprobs) for _ in range(3)))
    assert (reading.events, reading.text) == (3, 3)


def test_each_choice_of_a_stream_reports_its_own_tokens() -> None:
    usages = [({"index": number % 2, "finish_reason": None}, 10 + number) for number in range(4)]
    events = [event({"choices": [choice], "timings": {"prompt_n": 7, "predicted_n": n}}) for choice, n in usages]
    assert stream(*events).usage == Usage(7, 12 + 13)
    together = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 30}})
    assert stream(*events, together).usage == Usage(7, 30)


def test_of_llamacpps_choices_the_first_reports_tokens_and_the_others_are_counted_by_text() -> None:
    choices = [{"index": 0, "text": "a" * 9000}, {"index": 1, "text": "word " * 5000}, {"index": 2, "text": "word"}]
    assert complete(compact({"choices": choices, "usage": VLLM, "timings": LLAMACPP})).usage == Usage(
        25, 5 + 25_004 // 4, 0.0655, 0.1195
    )
    assert complete(compact({"choices": choices, "usage": VLLM})).usage == Usage(12, 4)


@pytest.mark.parametrize("seconds", [60, 60.0, "60.0"])
def test_a_transcription_is_counted_by_its_seconds_and_its_text(seconds: Any) -> None:
    for body in ({"usage": {"type": "duration", "seconds": seconds}}, {"duration": seconds}):
        reading = complete(compact({"text": "word " * 8, **body}), "/v1/audio/transcriptions")
        assert reading.usage == Usage(60 * TOKENS_PER_SECOND, 10)


# --- an engine that gave up ------------------------------------------------------------------------------------------

ABORTED = [
    (CHAT, False, {"choices": [{"message": {"content": "par"}, "finish_reason": "abort"}]}),
    (CHAT, False, {"choices": [{"finish_reason": "stop"}, {"finish_reason": "abort"}]}),
    (CHAT, True, {"choices": [{"delta": {"content": ""}, "finish_reason": "abort"}]}),
    (RESPONSES, False, {"status": "cancelled", "output": []}),
    (RESPONSES, True, {"type": "response.completed", "response": {"status": "cancelled"}}),
    (MESSAGES, False, {"type": "message", "content": [], "stop_reason": None}),
    (MESSAGES, False, {"type": "message", "content": []}),  # as vLLM writes it: without fields that are null
    (MESSAGES, True, {"type": "message_delta", "delta": {"stop_reason": None}}),
]
FINISHED = [
    (CHAT, False, {"choices": [{"finish_reason": "stop", "stop_reason": None}]}),
    (CHAT, False, {"choices": [{"finish_reason": "stop", "logprobs": {"tokens": ["abort"]}}]}),
    (CHAT, False, {"choices": [{"finish_reason": "stop", "message": {"finish_reason": "abort"}}]}),
    (CHAT, False, {"finish_reason": "abort", "choices": []}),
    (RESPONSES, False, {"status": "completed", "metadata": {"status": "cancelled"}}),
    (RESPONSES, False, {"status": "completed", "output": [{"status": "cancelled"}]}),
    (RESPONSES, True, {"type": "response.in_progress", "response": {"status": "cancelled"}}),
    (MESSAGES, False, {"type": "message", "stop_reason": "end_turn"}),
    (MESSAGES, False, {"type": "message", "content": [{"input": {"stop_reason": None}}], "stop_reason": "tool_use"}),
    (MESSAGES, True, {"type": "message_start", "message": {"type": "message", "stop_reason": None}}),
    (MESSAGES, True, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
]


@pytest.mark.parametrize(("path", "streams", "body"), ABORTED)
def test_a_response_that_the_engine_aborted_is_detected(path: str, streams: bool, body: Any) -> None:
    assert reading_of(body, path, streams=streams).aborted


@pytest.mark.parametrize(("path", "streams", "body"), FINISHED)
def test_a_finished_response_is_left_alone(path: str, streams: bool, body: Any) -> None:
    assert not reading_of(body, path, streams=streams).aborted


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"text": 'I say "usage":{"prompt_tokens": 9}'}]},
        {"choices": [{"text": '"finish_reason":"abort"'}]},
        {"usage": None},
        {},
    ],
)
def test_generated_text_is_not_mistaken_for_the_engines_fields(body: Any) -> None:
    for streams in (True, False):
        reading = reading_of(body, CHAT, streams=streams)
        assert (reading.usage, reading.aborted) == (None, False)


def test_a_short_messages_stream_that_arrives_in_one_piece_is_not_mistaken_for_an_aborted_one() -> None:
    start = event({"type": "message_start", "message": {"type": "message", "stop_reason": None}}, "message_start")
    end = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, "message_delta")
    assert not stream(start + end + event({"type": "message_stop"}, "message_stop"), path=MESSAGES).aborted


# --- where events start and end --------------------------------------------------------------------------------------

MIXED_STREAM = b"".join(
    [
        b": a comment\n\n",
        chunk(text="a", finish_reason=None),
        b'data: {"choices":\ndata: [{"finish_reason":"stop"}]}\n\n',
        b'data:{"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b"data: [DONE]\n\n",
    ]
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_stream_is_read_the_same_wherever_it_is_cut(size: int, end: bytes) -> None:
    sent, reading = MIXED_STREAM.replace(b"\n", end), Stream(CHAT)
    assert read(reading, *(sent[at : at + size] for at in range(0, len(sent), size))) == sent
    assert (reading.usage, reading.complete, reading.events, reading.aborted) == (Usage(3, 2), True, 4, False)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_abort_is_detected_wherever_it_is_cut_and_no_part_of_its_event_passes(size: int) -> None:
    good, bad = chunk(text="a"), b'data: {"choices":\ndata: [{"finish_reason":"abort"}]}\n\n'
    sent, reading = good + bad + good, Stream(CHAT)
    assert read(reading, *(sent[at : at + size] for at in range(0, len(sent), size))) == good
    assert reading.aborted


def test_an_event_without_a_final_empty_line_is_judged_at_the_end_of_the_stream() -> None:
    assert stream(chunk(text="a"), chunk(finish_reason="abort").strip()).aborted
    unfinished = b'data: {"choi'
    assert read(Stream(CHAT), chunk(text="a"), unfinished) == chunk(text="a") + unfinished


@pytest.mark.parametrize(
    ("last", "path"),
    [
        (chunk(text="a") + b"data: [DONE]\n\n", CHAT),
        (b"data: [DONE]\r\n\r\n", CHAT),
        (b"event: done\ndata: [DONE]\n\n", CHAT),
        (b"data:  [DONE]     \n\n", CHAT),
        (event({"type": "message_stop"}, "message_stop"), MESSAGES),
        (event({"type": "response.completed", "response": {"status": "completed"}}), RESPONSES),
    ],
)
def test_the_last_event_of_a_stream_is_recognised(last: bytes, path: str) -> None:
    assert stream(last, path=path).complete


@pytest.mark.parametrize("piece", [chunk(text="\ndata: [DONE]\n\n"), b"event: response.output_text.done\ndata: {}\n\n"])
def test_generated_text_does_not_end_a_stream(piece: bytes) -> None:
    assert not stream(piece).complete


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_comment_passes_before_its_event_is_complete(end: bytes) -> None:
    reading = Stream(CHAT)
    steps = reading.read(b": ping" + end, last=False)
    with pytest.raises(StopIteration) as result:
        next(steps)
    assert result.value.value == b": ping" + end
    assert read(reading, chunk(text="a")) == chunk(text="a")


@pytest.mark.parametrize("size", [1000, 65_536, 3_000_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_event_that_is_too_large_to_be_held_passes_and_is_still_read(size: int, end: bytes) -> None:
    choice = {"text": "word " * 2_000_000, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2_000_000}
    large = compact({"choices": [choice], "x": "data: \n\n[DONE]"}).replace(b',"x"', end + b'data: ,"x"')
    pieces = b": c" + end + b"event: x" + end + b"data: " + large + 2 * end
    last = b"data: " + compact({"usage": usage}) + 2 * end
    sent, reading = pieces + chunk(text="a") + last + b"data: [DONE]" + 2 * end, Stream(CHAT)
    assert read(reading, *(sent[at : at + size] for at in range(0, len(sent), size))) == sent
    assert (reading.usage, reading.complete, reading.events, reading.aborted) == (Usage(3, 2_000_000), True, 4, False)
    assert reading.text == 10_000_001


def test_an_abort_at_the_end_of_an_event_that_is_too_large_to_be_held_is_detected() -> None:
    large = chunk(text="word " * 2_000_000, finish_reason="abort")
    reading = Stream(CHAT)
    result = read(reading, large[:9_000_000], large[9_000_000:])
    assert reading.aborted
    assert result == large[:9_000_000] + b"\n\n"
    reading = Stream(CHAT)
    read(reading, large[:9_000_000], large[9_000_000:-2], b"")
    assert reading.aborted


# --- an engine that fails in a stream --------------------------------------------------------------------------------


def test_an_error_in_a_stream_has_one_form() -> None:
    reading = Stream(CHAT)
    result = read(reading, chunk(text="a") + event({"error": {"code": 500, "message": "no", "type": "server_error"}}))
    error = json.loads(result.removeprefix(chunk(text="a")).removeprefix(b"data: "))
    assert error == {"error": {"message": "no", "type": "server_error", "param": None, "code": "engine_error"}}
    assert reading.failed


def test_an_error_of_the_model_is_kept_as_it_is() -> None:
    text = chunk(text='"error":{"code":500}', delta={"error": {"code": 500}})
    assert read(Stream(CHAT), text) == text


# --- a stream that continues as before -------------------------------------------------------------------------------


def token(text: str, **more: Any) -> bytes:
    """As vLLM writes it."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None, "stop_reason": None, **more}
    return b"data: " + compact({"id": "x", "model": "m", "choices": [choice], "usage": None}) + b"\n\n"


TAIL = tail_of(token("a"))


@pytest.mark.parametrize("text", ["b", "", "\n\n", 'a "finish_reason":null', "finish_reason "])
def test_a_token_is_recognised_by_the_end_of_its_piece(text: str) -> None:
    assert TAIL
    assert is_token(token(text), TAIL)


ANOTHER = b'"finish_reason":"abort"},{"index":1,"finish_reason"'


@pytest.mark.parametrize(
    "piece",
    [
        token("b", finish_reason="stop"),
        token("b", finish_reason="abort"),
        token("b").replace(b'"finish_reason":null', b'"finish_reason" : "abort","x":{"finish_reason":null}'),
        token("b") + token("c"),
        token("b") + b"data: [DONE]\n\n",
        token("b")[:-1],
        token("b").replace(b'"finish_reason"', ANOTHER),
        token("b").replace(b'"usage":null', b'"usage":{"prompt_tokens":1,"completion_tokens":2}'),
        b"data: [DONE]\n\n",
        b": waking\n\n",
        token("b").replace(b'"text"', b'"text"\ndata: '),
        b'data: {"choices":[{"finish_reason"\ndata: :"abort"}]}\n' + token("b"),
    ],
)
def test_a_piece_with_more_than_a_token_is_not_treated_as_a_token(piece: bytes) -> None:
    assert not is_token(piece, TAIL)


def test_a_tail_that_contains_the_text_is_not_used() -> None:
    assert tail_of(b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"b"}}]}\n\n') == b""


@pytest.mark.parametrize(
    "piece",
    [
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"b"}\n\n',
        b'data: {"choices":[{"index":0,"text":"b","finish_reason": null}]}\n\n',
        b'data: {"choices":[{"index":0,"text":"b","finish_reason":null}]}',
    ],
)
def test_pieces_in_another_format_are_each_parsed(piece: bytes) -> None:
    assert tail_of(piece) == b""
