"""In which format a model writes calls of tools and reasoning: by its chat template, or as the spec says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway_runtime.contract import parsers
from slipway_runtime.engines.engine import Parser, StartRefusedError
from slipway_runtime.engines.formats import (
    REASONING,
    TOOL_CALLS,
    UNKNOWN_FORMAT,
    Template,
    of_llamacpp,
    of_vllm,
    value_of,
)
from support.builders.chat_templates import PLAIN, WITH_TOOLS

NAMES = {TOOL_CALLS: parsers.TOOL_CALLS, REASONING: parsers.REASONING}
CALL = "{% if tools %}"  # every template with tools reads the variable


def vllm(kind: str, text: str = "", model_type: str = "llama", wanted: str = "Auto", **options: Any) -> Parser:
    known = options.pop("known", NAMES[kind])
    return of_vllm(kind, wanted, Template(text=text, model_type=model_type), known, **{"by_flag": None, **options})


@pytest.mark.parametrize(
    ("model_type", "text", "name"),
    [
        ("qwen2", WITH_TOOLS, "hermes"),
        (
            "qwen3",
            CALL + '"<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}"',
            "hermes",
        ),
        ("qwen3_moe", CALL + "<tool_call>\n<function=x>\n<parameter=y>", "qwen3_coder"),
        ("glm4_moe", CALL + "<tool_call>{function-name}\n<arg_key>", "glm45"),
        ("llama", CALL + '{"name": f, "parameters": dictionary of argument name and its value}', "llama3_json"),
        ("mistral", CALL + "[TOOL_CALLS]", "mistral"),
        (
            "deepseek_v3",
            CALL + "<\uff5ctool\u2581calls\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>\n```json",
            "deepseek_v3",
        ),
        ("deepseek_v3", CALL + "<\uff5ctool\u2581calls\u2581begin\uff5c>", "deepseek_v31"),
        ("gpt_oss", "", "openai"),
        ("granitemoehybrid", CALL + '<tool_call>\n{"name": x, "arguments": y}', "granite4"),
        ("llama", CALL + "an unknown way", ""),
        ("llama", PLAIN, ""),
        ("llama", "", ""),
    ],
)
def test_the_parser_of_tool_calls_follows_from_the_template(model_type: str, text: str, name: str) -> None:
    assert vllm(TOOL_CALLS, text, model_type).name == name


@pytest.mark.parametrize(
    ("model_type", "text", "name"),
    [
        ("qwen3", "{{ content.split('</think>') }}", "qwen3"),
        ("qwen3", PLAIN, ""),
        ("qwen2", "<\uff5cAssistant\uff5c><think>\n</think>", "deepseek_r1"),
        ("deepseek_v3", "{% if thinking %}<\uff5cAssistant\uff5c><think></think>", "deepseek_v3"),
        ("qwen3", "<\uff5cAssistant\uff5c> content.split('</think>')", "deepseek_r1"),
        ("gpt_oss", "", "openai_gptoss"),
        ("llama", WITH_TOOLS, ""),
    ],
)
def test_the_parser_of_reasoning_follows_from_the_template(model_type: str, text: str, name: str) -> None:
    assert vllm(REASONING, text, model_type).name == name


@pytest.mark.parametrize("text", ["", PLAIN, CALL + "an unknown way"])
def test_without_a_parser_clients_and_authors_get_a_sentence_each(text: str) -> None:
    found = vllm(TOOL_CALLS, text)
    assert found.for_clients.endswith(".")
    assert "engine.toolCalls" in found.why or "--chat-template" in found.why


def test_mistrals_own_tokenizer_takes_tools_without_a_template() -> None:
    of_mistral = Template(model_type="mistral", tokenizer="tekken.json")
    found = of_vllm(TOOL_CALLS, "Auto", of_mistral, parsers.TOOL_CALLS, by_flag=None)
    assert (found.name, found.for_clients) == ("mistral", "")
    assert of_vllm(REASONING, "Auto", of_mistral, parsers.REASONING, by_flag=None).name == ""
    assert of_vllm(TOOL_CALLS, "Auto", of_mistral, ("hermes",), by_flag=None).for_clients == UNKNOWN_FORMAT
    with_template = replace(of_mistral, text=PLAIN)
    assert of_vllm(TOOL_CALLS, "Auto", with_template, parsers.TOOL_CALLS, by_flag=None).name == ""


def test_the_spec_and_before_it_a_flag_decide() -> None:
    assert vllm(TOOL_CALLS, PLAIN, wanted="pythonic").name == "pythonic"
    assert vllm(TOOL_CALLS, WITH_TOOLS, wanted="None") == Parser(
        why="engine.toolCalls is None", for_clients="This model is served without tool calls."
    )
    assert vllm(TOOL_CALLS, WITH_TOOLS, wanted="None", by_flag="xlam").name == "xlam"


def test_a_name_that_this_vllm_lacks_ends_the_pod_with_the_names_that_it_has() -> None:
    with pytest.raises(StartRefusedError, match=r"This vLLM has no parser kimi_k3 for tool calls\.") as refusal:
        vllm(TOOL_CALLS, wanted="kimi_k3", known=("hermes", "mistral"))
    assert refusal.value.failure.remedy == "Write one of these into engine.toolCalls: hermes, mistral."


def test_a_parser_that_this_vllm_lacks_isnt_chosen_by_itself() -> None:
    found = vllm(TOOL_CALLS, WITH_TOOLS, known=("mistral",))
    assert (found.name, found.for_clients) == ("", "It isn't known how this model writes calls of tools.")


def test_llamacpp_follows_the_template_and_refuses_tools_where_it_has_none() -> None:
    assert of_llamacpp(TOOL_CALLS, "Auto", Template(text=WITH_TOOLS)).name == "template"
    assert of_llamacpp(TOOL_CALLS, "Auto", Template(text=PLAIN)).for_clients
    assert of_llamacpp(TOOL_CALLS, "None", Template(text=WITH_TOOLS)).for_clients
    assert of_llamacpp(REASONING, "None", Template(text=WITH_TOOLS)).name == ""
    with pytest.raises(StartRefusedError, match=r"llama\.cpp finds the format"):
        of_llamacpp(TOOL_CALLS, "hermes", Template(text=WITH_TOOLS))


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        ("{%- if tools is defined %}", True),
        ("{{ tools | tojson }}", True),
        ("{% set tools_text = 1 %}{{ 'You have tools' }} tools", False),
        ('{{ "tools" }}{{ mytools }}', False),
        ("{% if tools", False),
    ],
)
def test_a_template_takes_tools_if_it_reads_the_variable(text: str, takes: bool) -> None:
    assert Template(text=text).takes_tools is takes


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["{{" * 100_000, "{%" + "'" * 200_000, "{{'\\" * 60_000, "{%" + "tool" * 60_000])
def test_a_hostile_template_takes_no_time(text: str) -> None:
    assert not Template(text=text).takes_tools


def test_a_flags_value_may_be_a_word_of_its_own() -> None:
    assert value_of(("--seed=1", "--tool_call_parser", "xlam"), "tool-call-parser") == "xlam"
    assert value_of(("--tool-call-parser=a", "--tool-call-parser=b"), "tool-call-parser") == "b"
    assert value_of(("--seed=1",), "tool-call-parser") is None
