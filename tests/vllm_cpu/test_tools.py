"""Tool calls with a real vLLM, by the parser that follows from the chat template. And its parsers are those we know.

The model is a base model, so what it writes is of no use: only its form is checked.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime.contract import parsers
from slipway_runtime.engines.formats import REASONING, TOOL_CALLS
from slipway_runtime.engines.vllm import Installed
from support.builders.chat_templates import write_template
from support.load.tool_calls import ask_for_weather, call_in, streamed_call
from support.programs.vllm_pod import VllmPod

pytestmark = pytest.mark.timeout(1800)
CALL = ("get_weather", {"city", "unit"})
REQUIRED = {"tool_choice": "required", "stop": ["</tool_call>"]}
"""A small model would go on with further calls, and vLLM drops all of them if the last one isn't complete."""


def installed(python: Path) -> Installed:
    return Installed(next(python.parents[1].glob("lib/python*/site-packages/vllm")))


@pytest.mark.parametrize(("kind", "names"), [(TOOL_CALLS, parsers.TOOL_CALLS), (REASONING, parsers.REASONING)])
def test_the_parsers_that_the_api_admits_are_those_of_this_vllm(
    python: Path, kind: str, names: tuple[str, ...]
) -> None:
    assert installed(python).parsers(kind) == {*names}


async def test_a_required_call_has_the_tools_name_and_arguments_of_its_schema_also_in_a_stream(
    pod: VllmPod, gemma: Path, tmp_path: Path
) -> None:
    await pod.serve(gemma, flags=("--max-model-len=2048", f"--chat-template={write_template(tmp_path)}"))
    await pod.until_ready()
    chosen = (await pod.info())["parsers"]
    assert (chosen["toolCalls"]["parser"], chosen["reasoning"]["parser"]) == ("hermes", None)
    status, answer = await ask_for_weather(pod.http, pod.url, pod.model, **REQUIRED)
    assert status == 200, answer
    name, arguments = call_in(answer)
    assert (name, {*arguments}) == CALL
    assert answer["usage"]["prompt_tokens"] > 100, "the schema counts as a part of the prompt"
    status, events = await ask_for_weather(pod.http, pod.url, pod.model, stream=True, **REQUIRED)
    assert status == 200, events
    name, arguments = streamed_call(events)
    assert (name, {*arguments}) == CALL
    status, answer = await ask_for_weather(pod.http, pod.url, pod.model, tool_choice="auto", max_tokens=4)
    assert status == 200, answer
