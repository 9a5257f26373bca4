"""`chat` and `complete`: what is sent, what is shown while a model wakes, and what a refusal says."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from slipway_cli.cluster.answers import Summary, pieces_of, refusal_of, shown
from slipway_cli.cluster.proxying import ApiProxy, Dropped
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl
from support.programs.cli import run
from support.programs.terminal import BIN, CLEAN, WITH_DEFAULT_SIGNALS, Ran, in_pipe, in_terminal

STREAM = "text/event-stream"


def event(**choice: Any) -> str:
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def answer(*words: str, pause: float = 0, finish: str = "stop") -> dict[str, Any]:
    parts = [event(delta={"content": each}) for each in words]
    usage = {"choices": [], "usage": {"completion_tokens": len(words), "prompt_tokens": 5}}
    end = [event(delta={}, finish_reason=finish), f"data: {json.dumps(usage)}\n\n", "data: [DONE]\n\n"]
    return {"type": STREAM, "parts": [*parts, *end], "pause": pause}


def error(status: int, code: str, message: str) -> dict[str, Any]:
    return {"status": status, "parts": [json.dumps({"error": {"code": code, "message": message}})]}


def of_api_server(status: int, message: str) -> dict[str, Any]:
    return {"status": status, "parts": [json.dumps({"kind": "Status", "message": message, "code": status})]}


ASLEEP = of_api_server(503, 'no endpoints available for service "m"')
NO_RIGHT = of_api_server(403, 'services "m:http" is forbidden: User "eve" cannot create resource "services/proxy"')


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    serving = cli_worlds.deployment("m", status=cli_worlds.SERVING)
    return FakeKubectl(tmp_path, [serving], service=[answer("Hello", " there")])


def once(kubectl: FakeKubectl, *arguments: str, given: str = "", **env: str) -> Ran:
    return in_pipe(["slipway", *arguments], given=given, env={**kubectl.env, **env})


def test_one_answer_is_written_as_it_is(kubectl: FakeKubectl) -> None:
    found = once(kubectl, "chat", "m", "--once", "Say hello", "--system", "Be brief.", "--max-tokens=9")
    assert (found.code, found.out, found.err) == (0, "Hello there\n", "")
    [request] = kubectl.requests
    assert request["path"] == "/api/v1/namespaces/chat/services/m:http/proxy/v1/chat/completions"
    assert [each["content"] for each in request["messages"]] == ["Be brief.", "Say hello"]
    assert (request["model"], request["stream"], request["max_tokens"]) == ("m", True, 9)
    assert not running(kubectl)


def test_a_pipe_is_the_prompt(kubectl: FakeKubectl) -> None:
    assert once(kubectl, "chat", "m", given="Say hello").out == "Hello there\n"
    assert once(kubectl, "chat", "m").code == 2
    kubectl.service = [{"type": STREAM, "parts": [event(text=" upon a time"), "data: [DONE]\n\n"]}]
    assert once(kubectl, "complete", "m", given="Once").out == " upon a time\n"
    assert once(kubectl, "complete", "m", "Once").out == " upon a time\n"
    assert kubectl.requests[-1]["prompt"] == "Once"
    assert kubectl.requests[-1]["path"].endswith("/v1/completions")


def test_a_document_has_the_answer_and_its_speed(kubectl: FakeKubectl) -> None:
    found = once(kubectl, "chat", "m", "--once", "Hi", "-o", "json")
    parsed = json.loads(found.out)
    assert (parsed["kind"], parsed["text"], parsed["finishReason"]) == ("Answer", "Hello there", "stop")
    assert parsed["usage"] == {"completion_tokens": 2, "prompt_tokens": 5}


def test_a_model_at_zero_is_woken_and_its_status_is_shown(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.IDLE)]
    kubectl.then = [cli_worlds.deployment("m", status=cli_worlds.SERVING)]
    kubectl.service = [ASLEEP, answer("Good", " morning")]
    found = once(kubectl, "chat", "m", "--once", "Hi")
    assert (found.code, found.out) == (0, "Good morning\n"), found.err
    assert [list(each["metadata"]["annotations"]) for each in kubectl.patches] == [["slipway.dev/wake"]]
    assert "m is Idle (" in found.err
    assert "m is Serving (" in found.err


def test_a_model_that_can_not_start_ends_the_wait_with_the_cause(kubectl: FakeKubectl) -> None:
    url = "https://slipway.dev/docs/runbooks/GpuOutOfMemory.html"
    kubectl.objects = [cli_worlds.deployment("m", status={**cli_worlds.FAILED, "runbook": url})]
    kubectl.service = [ASLEEP]
    found = once(kubectl, "complete", "m", "Hi")
    assert (found.code, found.out) == (1, "")
    assert "chat/m can't start, GpuOutOfMemory: CUDA out of memory. `kubectl llm why m -n chat`" in found.err
    assert f"Runbook: {url}" in found.err


@pytest.mark.parametrize(
    ("model", "status"),
    [
        pytest.param({"uri": "hf://org/m", "task": "Embed"}, cli_worlds.IDLE, id="by its spec"),
        pytest.param({"uri": "hf://org/m"}, {**cli_worlds.IDLE, "plan": {"task": "Embed"}}, id="by its plan"),
    ],
)
def test_a_model_that_makes_embeddings_is_not_woken_for_a_chat(
    kubectl: FakeKubectl, model: dict[str, str], status: dict[str, Any]
) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=status, spec={"model": model})]
    kubectl.service = [ASLEEP]
    found = once(kubectl, "chat", "m", "--once", "Hi")
    assert (found.code, kubectl.patches) == (2, [])
    assert "m makes embeddings and generates no text: send POST /v1/embeddings to its URL." in found.err


def test_the_wait_ends(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.IDLE)]
    kubectl.service = [ASLEEP]
    found = once(kubectl, "chat", "m", "--once", "Hi", "--timeout=2s")
    assert found.code == 1
    assert "chat/m had no ready replica within 2 s: Idle: " in found.err
    assert not running(kubectl)


def test_a_paused_model_is_not_woken(kubectl: FakeKubectl) -> None:
    paused = {"slipway.dev/paused": "true"}
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.IDLE, annotations=paused)]
    kubectl.service = [ASLEEP]
    found = once(kubectl, "chat", "m", "--once", "Hi")
    assert (found.code, kubectl.patches) == (1, [])
    assert "m is paused" in found.err


@pytest.mark.parametrize(
    ("response", "code", "said"),
    [
        (error(401, "missing_api_key", "This model needs a key."), 3, "Give a key by --key-secret NAME, or in the"),
        (error(429, "rate_limit_exceeded", "Too many."), 1, "chat/m answered 429 rate_limit_exceeded: Too many."),
        (error(503, "HoldFull", "Full. Runbook: https://x/HoldFull.html"), 1, "https://x/HoldFull.html"),
        (error(400, "invalid", "max_tokens: too many."), 2, "max_tokens: too many."),
        (NO_RIGHT, 3, "ask for create on services/proxy in namespace chat, which the role edit includes"),
        (of_api_server(503, "error trying to reach service: dial tcp: i/o timeout"), 3, "spec.access.allowFrom"),
        ({"status": 502, "type": "text/plain", "parts": ["bad gateway"]}, 1, "chat/m answered 502: bad gateway"),
        ({"type": STREAM, "parts": ['data: {"error": {"code": "X", "message": "It broke."}}\n\n']}, 1, "X: It broke."),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_refusal_is_its_own_sentence(kubectl: FakeKubectl, response: dict[str, Any], code: int, said: str) -> None:
    kubectl.service = [response]
    found = once(kubectl, "chat", "m", "--once", "Hi")
    assert found.code == code
    assert said in found.err
    assert len(found.err.splitlines()) == 1


def test_keys_are_sent_as_a_header_from_a_secret_or_the_environment(kubectl: FakeKubectl) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "chat", "uid": "u"},
        "data": {name: base64.b64encode(f"\n{name}-key\n".encode()).decode() for name in ("alice", "bob")},
    }
    kubectl.objects.append(secret)
    for arguments, env in (
        (["--key-secret=keys"], {}),
        (["--key-secret=keys/bob"], {"SLIPWAY_API_KEY": "mine"}),
        ([], {"SLIPWAY_API_KEY": "mine"}),
        ([], {}),
    ):
        assert once(kubectl, "chat", "m", "--once", "Hi", *arguments, **env).code == 0
    assert [each["key"] for each in kubectl.requests] == ["alice-key", "bob-key", "mine", None]
    wrong = once(kubectl, "chat", "m", "--once", "Hi", "--key-secret=keys/eve")
    assert (wrong.code, "the Secret has no entry eve, but alice, bob" in wrong.err) == (2, True)
    assert once(kubectl, "chat", "m", "--once", "Hi", "--key-secret=none").code == 2


def test_a_conversation_remembers_and_forgets(kubectl: FakeKubectl) -> None:
    kubectl.service = [answer("Hello", " Ann"), answer("You", " are", " Ann"), answer("Who?")]
    keys = "I am Ann\nWho am I?\n/reset\n/what\nWho am I?\n/exit\n"
    found = in_terminal(["slipway", "chat", "m"], width=80, keys=keys, env=kubectl.env)
    assert found.code == 0, found.text
    assert "Hello Ann" in found.text
    assert "/what is not a command" in found.text
    assert [len(each["messages"]) for each in kubectl.requests] == [1, 3, 1]


def test_a_refusal_does_not_end_a_conversation_and_is_not_remembered(kubectl: FakeKubectl) -> None:
    kubectl.service = [error(429, "rate_limit_exceeded", "Too many."), answer("Hello")]
    found = in_terminal(["slipway", "chat", "m"], width=80, keys="One\nTwo\n/exit\n", env=kubectl.env)
    assert found.code == 0, found.text
    assert "Too many." in found.text
    assert [each["content"] for each in kubectl.requests[-1]["messages"]] == ["Two"]


def test_ctrl_c_ends_an_answer_and_ctrl_d_the_chat(kubectl: FakeKubectl) -> None:
    kubectl.service = [answer(*("word " for _ in range(100)), pause=0.2), answer("Do", "ne")]
    child, terminal = pty.fork()
    if child == 0:
        command = [*WITH_DEFAULT_SIGNALS, str(BIN / "slipway"), "chat", "m"]
        os.execvpe(command[0], command, {**CLEAN, **kubectl.env})
    written = b""

    def until(text: bytes) -> None:
        nonlocal written
        end = time.monotonic() + 30
        while text not in written and time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                written += os.read(terminal, 4096)
        assert text in written, written
        written = written.partition(text)[2]

    try:
        os.write(terminal, b"Talk\n")
        until(b"word word")
        os.write(terminal, b"\x03")
        until(b"Stopped.")
        os.write(terminal, b"More\n")
        until(b"Done")
        until(b"tokens/s")
        until(b"> ")  # what comes before the prompt is typed into another mode of the terminal
        os.write(terminal, b"\x04")
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        os.close(terminal)
    assert [each["role"] for each in kubectl.requests[-1]["messages"]] == ["user", "assistant", "user"]
    assert not running(kubectl)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_process(kubectl: FakeKubectl, number: int) -> None:
    kubectl.service = [answer(*("word " for _ in range(100)), pause=0.2)]
    command = [*WITH_DEFAULT_SIGNALS, str(BIN / "slipway"), "chat", "m", "--once", "Hi"]
    with subprocess.Popen(command, env={**CLEAN, **kubectl.env}, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.read(4)
        process.send_signal(number)
    assert process.returncode == 128 + number
    assert not running(kubectl)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_watch(kubectl: FakeKubectl, number: int) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.IDLE)]
    command = [*WITH_DEFAULT_SIGNALS, str(BIN / "slipway"), "wait", "m", "--for=serving"]
    with subprocess.Popen(command, env={**CLEAN, **kubectl.env}) as process:
        until = time.monotonic() + 30
        while not any("watch=1" in call[-1] for call in kubectl.calls) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
    assert process.returncode == 128 + number
    assert not running(kubectl)


def test_what_nohup_has_started_is_not_ended_with_its_terminal(kubectl: FakeKubectl) -> None:
    kubectl.service = [answer("Hello", " there", pause=0.2)]
    command = ["nohup", str(BIN / "slipway"), "chat", "m", "--once", "Hi"]
    with subprocess.Popen(command, env={**CLEAN, **kubectl.env}, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.read(4)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.read().endswith(b"o there\n")
    assert process.returncode == 0


def test_an_answer_that_breaks_off_is_reported(kubectl: FakeKubectl) -> None:
    assert next(pieces_of([": waking, 3 s"], Summary(), "chat/m")).progress == "waking, 3 s"
    kubectl.service = [answer("Half", finish="length")]
    found = once(kubectl, "chat", "m", "--once", "Hi")
    assert "The answer is cut" in found.err


def test_what_a_model_writes_controls_no_terminal(kubectl: FakeKubectl) -> None:
    assert shown("a\x1b[2Jb\x9bc\nd\te\x07") == "a[2Jbc\nd\te"
    kubectl.service = [answer("\x1b]0;title\x07 text")]
    found = in_terminal(["slipway", "chat", "m", "--once", "Hi"], width=80, env=kubectl.env)
    assert "\x1b]0" not in found.out


def test_output_needs_one_prompt(kubectl: FakeKubectl) -> None:
    found = in_terminal(["slipway", "chat", "m", "-o", "json"], width=80, env=kubectl.env)
    assert found.code == 2
    assert in_terminal(["slipway", "complete", "m"], width=80, env=kubectl.env).code == 2


def test_a_model_that_is_not_there_is_said(kubectl: FakeKubectl) -> None:
    assert run(kubectl, "chat", "none", "--once", "Hi").code == 3
    assert refusal_of(500, "", "chat/m").exit_code == 1


def test_where_there_are_no_unix_sockets_a_port_of_the_machine_is_used() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        answer = ApiProxy(f"127.0.0.1:{server.server_port}").post("/x", {"a": 1}, {})
        assert (answer.status, json.loads(answer.text())) == (200, {"a": 1})
        answer.close()
        server.shutdown()
        thread.join()
    with pytest.raises(Dropped):
        ApiProxy(f"127.0.0.1:{server.server_port}").get("/x")


def running(kubectl: FakeKubectl) -> list[str]:
    found = subprocess.run(
        ["pgrep", "-f", str(kubectl.folder / "kubectl")], capture_output=True, text=True, check=False
    )
    return found.stdout.split()
