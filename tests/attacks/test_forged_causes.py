"""Text of a client is never read as the cause of an engine's failure, however it gets into the log."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.diagnosis import diagnose
from slipway_runtime.guard.access_log import line
from slipway_runtime.guard.request_ids import request_id_of
from slipway_runtime.guard.visit import Visit
from slipway_runtime.supervisor.output import Output
from slipway_runtime.tracing.context import trace_of

CAUSES = ["torch.OutOfMemoryError", "std::bad_alloc", "SafetensorError"]
LINES = [
    "{ours}",
    "(APIServer pid=7) {ours}",
    "Loading: 100% {ours}",
    '{{"time":"2026-11-29T08:00:00.000+00:00","event":"failure","traceback":"KeyError: \'{said}\'"}}',
    "(APIServer pid=7) ERROR 11-29 08:00:00 [serving.py:274] Error with model "
    "error=ErrorInfo(message='The model `{said}` does not exist.'",
    "(APIServer pid=7) WARNING 11-29 08:00:00 [protocol.py:73] The following fields were present in the request but "
    "ignored: {{'{said}'}}",
    "(APIServer pid=7) INFO 11-29 08:00:00 [request_logger.py:65] Received request cmpl-{said}: params: x",
    'srv    operator(): got exception: {{"error":{{"code":500,"message":"Failed to parse messages: {said}"}}}}',
    'INFO:     10.0.0.1:5 - "GET /v1/models?{said} HTTP/1.1" 200 OK',
]


def lines_of(text: str) -> list[str]:
    visit = Visit("GET", "/v1/models", None, "bob", request_id_of(text), trace_of(None), 0.0)
    return [each.format(ours=line(visit, datetime.now(UTC)), said=text) for each in LINES]


@pytest.mark.parametrize("text", CAUSES)
@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_client_cannot_choose_the_cause(text: str, number: int) -> None:
    failure = diagnose([lines_of(text)[number], "RuntimeError: the real cause"], 1, "ready")
    assert failure.reason is Reason.ENGINE_CRASHED
    assert "the real cause" in failure.message
    assert not any(text in each for each in failure.lines)


def test_many_requests_do_not_push_the_cause_out_of_the_stored_log_lines() -> None:
    reading, writing = os.pipe()
    passed_on: list[bytes] = []
    output = Output(reading, pass_on=passed_on.append, on_line=lambda _: None)
    os.write(writing, b"torch.OutOfMemoryError: CUDA out of memory\n")
    for _ in range(300):
        os.write(writing, f"{lines_of('mine')[0]}\n".encode())
        output.read()
    os.close(writing)
    output.close()
    assert list(output.last) == ["torch.OutOfMemoryError: CUDA out of memory"]
    assert len(passed_on) == 301
