"""What a program that is no well-behaved engine may answer, and keys that are none: a sentence, and never a trace."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from slipway_cli.cluster.answers import (
    KEY_VARIABLE,
    Asleep,
    Piece,
    Refusal,
    Summary,
    Unwell,
    pieces_of,
    refusal_of,
    whole,
)
from slipway_cli.cluster.requesting import Result, key_of
from slipway_cli.problems import NOT_WELL, USAGE, Misused
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl
from support.programs.terminal import BIN, CLEAN, in_pipe, in_terminal

WRONG_FORMS = (
    '{"choices": ["x"]}',
    '{"choices": {"a": 1}}',
    '{"choices": []}',
    '{"usage": [1]}',
    '"choices"',
    "[" * 100_000,
    '{"a":' * 100_000,
    "",
    "<html>Log in</html>",
)
GOOD = 'data: {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}'
HALF = 'data: {"choices": [{"delta": {"content": "Hel"}}]}'


def text_of(*lines: str) -> str:
    return "".join(piece.text for piece in pieces_of(lines, Summary(), "chat/m"))


@pytest.mark.parametrize("body", WRONG_FORMS, ids=lambda body: body[:12])
def test_an_answer_of_another_form_is_no_answer(body: str) -> None:
    for refused in (lambda: whole(body, Summary(), "chat/m"), lambda: text_of(f"data: {body}", "data: [DONE]")):
        with pytest.raises(Unwell) as refusal:
            refused()
        assert "chat/m" in refusal.value.message
        assert len(refusal.value.message) < 300
    assert refusal_of(500, body, "chat/m").exit_code == NOT_WELL


@pytest.mark.parametrize("delta", ["x", [1], 5, {"content": ["a"]}, {"content": 5, "reasoning": {"a": 1}}, None])
def test_a_part_of_another_form_is_left_out(delta: Any) -> None:
    assert text_of(f"data: {json.dumps({'choices': [{'delta': delta, 'text': 5}]})}", GOOD) == "Hello"
    found = whole(json.dumps({"choices": [{"message": delta}], "usage": {"completion_tokens": "x"}}), Summary(), "c/m")
    assert found == Piece()


def test_a_number_of_tokens_that_can_not_be_is_left_out() -> None:
    result = Result()
    counts = {"completion_tokens": 10**400, "prompt_tokens": -1, "total_tokens": 3}
    whole(json.dumps({"choices": [{"text": "a"}], "usage": counts}), result.summary, "chat/m")
    result.first, result.ended = 0.1, 0.2
    assert result.summary.usage == {"total_tokens": 3}
    assert result.tokens_per_second is None


def test_an_error_that_is_null_is_none() -> None:
    assert text_of('data: {"error": null, "choices": [{"delta": {"content": "Hello"}}]}', "data: [DONE]") == "Hello"
    assert whole('{"error": null, "choices": [{"text": "Hello"}]}', Summary(), "chat/m").text == "Hello"
    for body in ('{"error": {"message": "It broke."}}', '{"error": "It broke."}'):
        with pytest.raises(Unwell, match=r"chat/m answered 503: It broke\.$"):
            whole(body, Summary(), "chat/m")


def test_a_stream_is_complete_with_a_reason_or_its_end() -> None:
    assert text_of(HALF, "data: [DONE]") == "Hel"
    assert text_of(HALF, GOOD) == "HelHello"
    for lines in ([HALF], [HALF, ": ping"], [HALF, 'data: {"choi']):
        with pytest.raises(Unwell, match=r"The answer of chat/m is not complete"):
            text_of(*lines)


def test_only_the_503_of_the_api_server_means_asleep() -> None:
    said = json.dumps({"kind": "Status", "message": 'no endpoints available for service "m"'})
    assert isinstance(refusal_of(503, said, "chat/m"), Asleep)
    assert not isinstance(refusal_of(400, said, "chat/m"), Asleep)
    assert isinstance(refusal_of(500, '{"kind": "Status", "message": [1]}', "chat/m"), Refusal)


def test_halves_of_letters_are_joined_or_replaced() -> None:
    stream = r'data: {"choices": [{"delta": {"content": "\ud83d\ude00 \ud800"}, "finish_reason": "stop"}]}'
    assert text_of(stream) == "\U0001f600 \ufffd"


# --- what is shown ---------------------------------------------------------------------------------------------------


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    return FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.SERVING)])


def test_a_conversation_goes_on_after_an_answer_of_another_form(kubectl: FakeKubectl) -> None:
    strange = {"type": "text/event-stream", "parts": ['data: {"choices": ["x"]}\n\n', "data: [DONE]\n\n"]}
    kubectl.service = [strange, {"type": "text/event-stream", "parts": [f"{GOOD}\n\n"]}]
    found = in_terminal(["slipway", "chat", "m"], width=80, keys="One\nTwo\n/exit\n", env=kubectl.env)
    assert (found.code, "Traceback" in found.text) == (0, False), found.text
    assert "Hello" in found.text


def test_a_sign_of_life_in_an_answer_is_not_drawn_over_it(kubectl: FakeKubectl) -> None:
    parts = [": waking, 3 s\n\n", f"{HALF}\n\n", ": ping - 2026\n\n", f"{GOOD}\n\n"]
    kubectl.service = [{"type": "text/event-stream", "parts": parts, "pause": 0.1}]
    found = in_terminal(["slipway", "chat", "m", "--once", "Hi"], width=80, env=kubectl.env)
    assert "waking, 3 s" in found.out
    assert "HelHello" in found.out


def test_an_error_has_a_line_of_its_own(kubectl: FakeKubectl) -> None:
    broken = 'data: {"error": {"message": "It broke."}}\n\n'
    for first in (": waking, 3 s\n\n", f"{HALF}\n\n"):
        kubectl.service = [{"type": "text/event-stream", "parts": [first, broken], "pause": 0.1}]
        found = in_terminal(["slipway", "chat", "m", "--once", "Hi"], width=80, env=kubectl.env)
        assert found.code == NOT_WELL
        assert found.out.partition("Error: chat/m")[0].endswith(("\n", "\x1b[K")), found.out


def test_a_prompt_that_is_no_text_is_a_wrong_usage(kubectl: FakeKubectl) -> None:
    command = [str(BIN / "slipway"), "complete", "m"]
    found = subprocess.run(command, input=b"\xff\xfe", env={**CLEAN, **kubectl.env}, capture_output=True, check=False)
    assert (found.returncode, b"is not text in UTF-8" in found.stderr) == (USAGE, True), found.stderr


# --- keys ------------------------------------------------------------------------------------------------------------


def secret_of(text: bytes) -> dict[str, Any]:
    data = {"keys": base64.b64encode(text).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "chat"}, "data": data}


def test_of_several_keys_the_first_is_sent(kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "\nsk-first\r\nsk-second\n")
    assert key_of(kubectl.inside()(), None, "chat") == "sk-first"
    kubectl.objects.append(secret_of(b"\nsk-first\nsk-second\n"))
    assert key_of(kubectl.inside()(), "s", "chat") == "sk-first"
    monkeypatch.setenv(KEY_VARIABLE, "  \n")
    assert key_of(kubectl.inside()(), None, "chat") == ""


@pytest.mark.parametrize("text", ["ключ", "sk-\x1b[31m", "sk-\x00a", "sk-a\ud800"])
def test_a_key_that_no_header_can_have_is_named_by_its_place_alone(
    kubectl: FakeKubectl, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.objects.append(secret_of(text.encode("utf-8", "surrogatepass")))
    with pytest.raises(Misused, match="--key-secret s: entry keys has no key") as misused:
        key_of(kubectl.inside()(), "s", "chat")
    assert text not in misused.value.message
    if "\x00" not in text:
        monkeypatch.setattr("os.environ", {KEY_VARIABLE: text})
        with pytest.raises(Misused, match=f"{KEY_VARIABLE} has no key"):
            key_of(kubectl.inside()(), None, "chat")


def test_a_wrong_key_is_a_wrong_usage_without_a_trace(kubectl: FakeKubectl) -> None:
    kubectl.service = [{"type": "text/event-stream", "parts": [f"{GOOD}\n\n"]}]
    env = {**kubectl.env, KEY_VARIABLE: "sk-first\nsk-second"}
    assert in_pipe(["slipway", "chat", "m", "--once", "Hi"], env=env).code == 0
    assert kubectl.requests[-1]["key"] == "sk-first"
    found = in_pipe(["slipway", "chat", "m", "--once", "Hi"], env={**kubectl.env, KEY_VARIABLE: "ключ"})
    assert (found.code, len(found.err.splitlines()), "ключ" in found.err) == (USAGE, 1, False)
