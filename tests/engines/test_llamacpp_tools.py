"""Tool calls with a real llama.cpp and a real instruction model: by a site's chat template, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.builders.chat_templates import write_template
from support.load.tool_calls import ASKED, STARTED, ask_for_weather, call_in, streamed_call
from support.programs import instruction_model
from support.programs.llamacpp_pod import LlamacppPod

REQUIRED = {"messages": [ASKED, STARTED], "tool_choice": "required", "max_tokens": 40}
SIZE = ("--context-length=2048", "--parallel=1")
CALL = ("get_weather", {"city", "unit"})


@pytest.fixture(scope="session")
def smollm2() -> Path:
    cache = default_cache()
    return instruction_model.ensure(cache, Steps(cache)) / instruction_model.FILE


async def test_a_required_call_has_the_tools_name_and_arguments_of_its_schema_also_in_a_stream(
    pod: LlamacppPod, smollm2: Path, tmp_path: Path
) -> None:
    await pod.serve(smollm2, *SIZE, flags=(f"--chat-template-file={write_template(tmp_path)}",))
    await pod.until_ready()
    status, answer = await ask_for_weather(pod.http, pod.url, pod.model, **REQUIRED)
    assert status == 200, answer
    name, arguments = call_in(answer)
    assert (name, {*arguments}) == CALL
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["usage"]["prompt_tokens"] > 100, "the schema counts as a part of the prompt"
    status, events = await ask_for_weather(pod.http, pod.url, pod.model, stream=True, **REQUIRED)
    name, arguments = streamed_call(events)
    assert (status, name, {*arguments}) == (200, *CALL)
    assert (await pod.info())["parsers"]["toolCalls"]["parser"] == "template"


async def test_a_model_whose_template_has_no_tools_refuses_them_instead_of_ignoring_them(
    pod: LlamacppPod, smollm2: Path
) -> None:
    await pod.serve(smollm2, *SIZE, "--batched-tokens=256")
    await pod.until_ready()
    status, answer = await ask_for_weather(pod.http, pod.url, pod.model)
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, "tools_not_supported", "tools")
    assert "chat template" in answer["error"]["message"]
    status, _ = await ask_for_weather(pod.http, pod.url, pod.model, tool_choice="none", max_tokens=2)
    assert status == 200
    assert "--chat-template-file" in (await pod.info())["parsers"]["toolCalls"]["reason"]
