"""What llama.cpp reads beyond the OpenAI API: no small request crashes it, fills its memory, or keeps it busy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.bodies import Body, slices
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.members import HARMLESS, LISTS, NUMBERS, REFUSED
from slipway_runtime.guard.settings import GuardSettings
from support.programs.guard import CHAT, MakeGuard, answering, ask, several

COMPLETIONS, RESPONSES, MESSAGES = "/v1/completions", "/v1/responses", "/v1/messages"


@pytest.fixture
def make_guard(tmp_path: Path) -> Iterator[MakeGuard]:
    with several(tmp_path) as make_guard:
        yield make_guard


def refusal(
    body: Any, *, size: int = 1 << 20, engine: str = "llamacpp", path: str = COMPLETIONS
) -> ErrorResponse | None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    parsed = Body(path, GuardSettings(engine=engine), owns=None)
    for part in slices(data[at : at + size] for at in range(0, len(data), size)):
        parsed.feed(part)
    parsed.end()
    return parsed.refusal


def blamed(body: Any, **how: Any) -> str | None:
    """The member for which the body is refused; None if it is accepted."""
    found = refusal(body, **how)
    assert found is None or (found.status, found.code) == (400, "invalid_request")
    return found.param if found else None


# --- members ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grammar_triggers", [{"type": 99, "value": "x"}]),
        ("grammar_triggers", [{"type": 2, "value": "(?:(?:[^z]+)+)+zzz"}]),
        ("grammar_lazy", True),
        ("preserved_tokens", ["x"]),
        ("lora", [{"id": 0, "scale": 1e300}]),
        ("id_slot", 1),
        ("speculative.n_max", 100_000),
        ("chat_parser", "{"),
        ("repeat_last_n", 60_000_000),
        ("dry_penalty_last_n", 60_000_000),
        ("dry_penalty_last_n", -2),
        ("mirostat", 3),
        ("samplers", "d" * 17),
        ("samplers", ["dry"] * 17),
        ("stop", ["x"] * 100),
        ("stop", ["a" * 300]),
        ("stop", "a" * 1_000_000),
        ("stop_sequences", ["a" * 300]),
        ("logit_bias", [[1, 1]] * 10_000),
        ("dry_sequence_breakers", ["x"] * 100),
        ("chat_template_kwargs", {str(number): 1 for number in range(1000)}),
        ("response_fields", ["a/b"] * 100_000),
        ("tools", [{}] * 1000),
    ],
)
@pytest.mark.parametrize("size", [1000, 1 << 20])
async def test_each_member_that_makes_llamacpp_work_too_much_is_refused_by_name(
    make_guard: MakeGuard, name: str, value: object, path: str, size: int
) -> None:
    assert blamed({name: value}, path=path, size=size) == name


@pytest.mark.parametrize("name", [b"grammar_triggers", rb"gr\u0061mmar_triggers"])
def test_a_member_is_recognised_however_it_is_written_and_even_if_repeated(name: bytes) -> None:
    for body in (b'{"%b":[1]}' % name, b'{"%b":null,"%b":[1]}' % (name, name), b'{"%b":[1],"%b":null}' % (name, name)):
        assert blamed(body, size=3) == "grammar_triggers"


@pytest.mark.parametrize(
    "body",
    [
        {"store": True, "metadata": {"a": "b"}, "service_tier": "auto", "prompt_cache_key": "x", "verbosity": "low"},
        {"safety_identifier": "x", "modalities": ["text"], "prediction": {"content": "x"}, "a_member_of_2027": [{}]},
        {"lora": None, "grammar_lazy": False, "grammar": None, "id_slot": -1, "grammar_triggers": None},
        {"stop": ["\n", "User:"], "logit_bias": {str(number): -100 for number in range(300)}, "seed": -1},
        {"samplers": ["top_k", "top_p", "temperature"], "repeat_last_n": 64, "dry_penalty_last_n": -1, "mirostat": 2},
        {
            "samplers": "dkypmxt",
            "n_predict": -1,
            "cache_prompt": True,
            "chat_template_kwargs": {"enable_thinking": False},
        },
        {"grammar": 'root ::= "a" | [(] ("b" "c"){1,5} # (((\n'},
        {"messages": [{"content": "x", "grammar_triggers": [1], "json_schema": {"minItems": 10**9}}]},
        {"response_format": {"type": "json_object"}, "text": {"format": {"type": "text"}}, "tool_choice": "auto"},
    ],
)
def test_ordinary_bodies_reach_the_engine(body: Any) -> None:
    for path in (COMPLETIONS, CHAT, RESPONSES, MESSAGES):
        assert blamed(body, path=path) is None


async def test_an_engine_that_checks_members_itself_gets_the_body_unchecked(make_guard: MakeGuard) -> None:
    body = json.dumps({"grammar_triggers": [1], "json_schema": {"minItems": 10**9}}).encode()
    assert (await ask(Guard(answering(b"{}"), make_guard(engine="vllm").gate), body=[body])).status == 200
    refused = await ask(Guard(answering(b"{}"), make_guard(engine="llamacpp").gate), body=[body])
    assert (refused.status, json.loads(refused.body)["error"]["param"]) == (400, "grammar_triggers")


def test_each_member_is_in_one_table() -> None:
    names = [*NUMBERS, *LISTS, *HARMLESS, *REFUSED]
    assert len(names) == len(set(names))


# --- grammars --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= " + "(" * 200_000 + '"a"' + ")" * 200_000,
        "root ::= " + "(" * 300 + '"a"' + ")" * 300,
        'root ::= "(" ' + '( ")" ' * 300,
        'root ::= "a"{2,1}',
        'root ::= "a"{ 1 , 0 }',
        'root ::= "a"{2,# }\n1}',
        'root ::= "\\"" "a"{2,1}',
        'root ::= [\\]"] "a"{2,1}',
        'root ::= # "\n "a"{2,1}',
        'root ::= "a"{1001}',
        'root ::= "a"{99999999999999999999}',
        'root ::= "a"{-1}',
        "root ::= " + '"a"? ' * 100 + '"b"',
        'root ::= "' + "a" * 5000 + '"',
        '%llguidance {}\nstart: %json {"type":"array","minItems":1000000000}',
    ],
)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_grammar_that_would_crash_llamacpp_or_keep_it_busy_is_refused(grammar: str, size: int) -> None:
    for path in (COMPLETIONS, CHAT, RESPONSES):
        assert blamed({"grammar": grammar}, size=size, path=path) == "grammar"


# --- schemas ---------------------------------------------------------------------------------------------------------


def ways(schema: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The ways in which a schema reaches llama.cpp: the member that the refusal names, the path, and the body."""
    yield "json_schema", COMPLETIONS, {"json_schema": schema}
    wrapped = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    yield "response_format", CHAT, {"response_format": wrapped}
    yield "response_format", CHAT, {"response_format": {"type": "json_object", "schema": schema}}
    yield "text", RESPONSES, {"text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}
    yield "tools", CHAT, {"tools": [{}, {"type": "function", "function": {"name": "a", "parameters": schema}}]}
    yield "tools", RESPONSES, {"tools": [{"type": "function", "name": "a", "parameters": schema}]}
    yield "tools", MESSAGES, {"tools": [{"name": "a", "input_schema": schema}]}


def within(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


def optional(number: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{at}": {"type": "integer"} for at in range(number)}}


def chain(number: int, **more: Any) -> dict[str, Any]:
    further = {f"r{at}": within({"$ref": f"#/$defs/r{at + 1}"}) for at in range(number)}
    return {"$defs": {**further, f"r{number}": {"type": "integer"}}, "$ref": "#/$defs/r0", **more}


def deep(number: int) -> dict[str, Any]:
    return {"items": deep(number - 1)} if number else {}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9, "items": {}},
        within({"type": "array", "minItems": 5, "maxItems": 2, "items": {}}),
        within({"type": "array", "minItems": 5, "maxItems": 2**32 + 2, "items": {}}),
        within({"type": "string", "minLength": 5, "maxLength": 2}),
        within({"type": "string", "minLength": True, "maxLength": False}),
        within({"type": "string", "maxLength": -1}),
        within({"type": "integer", "minimum": -(2**63), "maximum": -(2**63) + 1}),
        within({"type": "number", "minimum": 1e300}),
        within({"type": "string", "pattern": "^a{5,2}$"}),
        within({"type": "string", "pattern": "^[{]{2}a{1000000}$"}),
        within({"type": "string", "pattern": "^" + "(" * 500 + "a" + ")" * 500 + "$"}),
        within({"type": "string", "pattern": "^" + "a" * 2000 + "$"}),
        {"anyOf": [{"type": "array", "minItems": 1000, "items": {}}] * 5},
        {"enum": list(range(10_000))},
        {"enum": ["x" * 100] * 1000},
        {"properties": {"x" * 300: {}}, "additionalProperties": True},
        {"type": ["object"] * 10, "properties": {"a": {}}},
        {"type": ["object", "string"], "allOf": [{"properties": {"a": {}}}]},
        {"allOf": [{"anyOf": [optional(5)] * 100}]},
        {"type": "object", "$defs": {"r": {"$ref": "#/$defs/r"}}, "allOf": [{"$ref": "#/$defs/r"}]},
        {"properties": {"p": {"$defs": {"r": {"$ref": "#/$defs/r"}}}}, "allOf": [{"$ref": "#/$defs/r"}]},
        optional(300),
        chain(100),
        deep(60),
    ],
    ids=lambda schema: json.dumps(schema)[:50],
)
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_a_schema_that_llamacpp_would_expand_endlessly_is_refused_wherever_it_is(schema: Any, size: int) -> None:
    for name, path, body in ways(schema):
        assert blamed(body, path=path, size=size) == name


@pytest.mark.parametrize(
    "written", [b'{"minItems":1,"minItems":5,"maxItems":2}', b'{"a":1' + b"0" * 5000 + b"}", b"[1,}"]
)
def test_an_ambiguous_schema_is_refused(written: bytes) -> None:
    assert blamed(b'{"json_schema":%b}' % written) == "json_schema"


PERSON = {
    "title": "Person",
    "description": "Somebody, " * 200,  # english: any text of a user
    "type": "object",
    "$defs": {"Address": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 2_000_000}}}},
    "properties": {
        "name": {"type": "string", "minLength": 1, "pattern": r"^\{?[A-Z{}]{1,3}\w*(?: [a-z]+){0,5}$"},
        "age": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 150}, {"type": "null"}]},
        "home": {"allOf": [{"$ref": "#/$defs/Address"}], "description": "{5,2}"},
        "minItems": {"type": ["integer", "null"]},
        "pattern": {"type": "array", "items": {"$ref": "#/$defs/Address"}, "minItems": 1, "maxItems": 100},
        "colour": {"enum": ["red", "green", "blue"]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("schema", [PERSON, optional(150), chain(20), deep(30), {}, True, {"type": "object"}, None])
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_ordinary_schemas_reach_the_engine(schema: Any, size: int) -> None:
    for _, path, body in ways(schema):
        assert blamed(body, path=path, size=size) is None


def test_all_schemas_of_a_body_together_are_bounded() -> None:
    schema = {"enum": list(range(4000))}
    assert blamed({"tools": [{"parameters": schema}] * 9}) == "tools"
    assert blamed(b'{"json_schema":{}' + b',"json_schema":{}' * 600 + b"}") == "json_schema"


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
@pytest.mark.parametrize("schema", [optional(250), deep(60), {"enum": list(range(5000))}, {"const": "x" * 70_000}])
def test_a_large_schema_is_refused_for_vllm_too(engine: str, schema: Any) -> None:
    """Its xgrammar took 41 s for one of 2,000 optional properties."""
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert blamed({"tools": [tool]}, path=CHAT, engine=engine) == "tools"
    assert blamed({"structured_outputs": {"json": schema}}, engine="vllm") == "structured_outputs"
    assert blamed({"response_format": {"json_schema": {"schema": schema}}}, engine=engine) == "response_format"


def test_what_only_llamacpp_unrolls_reaches_vllm() -> None:
    repeated = {"type": "array", "minItems": 100_000, "items": {"type": "string", "pattern": "^a{5,2000}$"}}
    assert blamed({"structured_outputs": {"json": repeated}}, engine="vllm") is None
    assert blamed({"response_format": {"schema": repeated}}, engine="llamacpp") == "response_format"


TOOLS: list[Any] = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tools": TOOLS}, "tools_not_supported"),
        ({"tools": TOOLS, "tool_choice": "required"}, "tools_not_supported"),
        ({"tool_choice": {"type": "function", "function": {"name": "none"}}, "tools": TOOLS}, "tools_not_supported"),
        ({"tools": TOOLS, "tool_choice": "none"}, None),
        ({"tool_choice": {"type": "none"}, "tools": TOOLS}, None),
        ({"tools": []}, None),
        ({"tools": None}, None),
        ({"metadata": {"tools": TOOLS}}, None),
    ],
)
def test_a_model_without_tool_calls_refuses_requests_with_tools(
    engine: str, size: int, body: Any, code: str | None
) -> None:
    data = json.dumps({"messages": [], **body}).encode()
    parsed = Body(CHAT, GuardSettings(engine=engine, no_tools="It has none."), owns=None)
    for part in slices(data[at : at + size] for at in range(0, len(data), size)):
        parsed.feed(part)
    parsed.end()
    assert (parsed.refusal.code if parsed.refusal else None) == code


def test_many_tools_with_many_arguments_reach_the_engine() -> None:
    tools = [{"type": "function", "function": {"name": f"f{at}", "parameters": optional(50)}} for at in range(128)]
    assert blamed({"tools": tools}, path=CHAT) is None


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [b"4." + b"0" * 40, b"0." + b"0" * 40 + b"4e41", b"4" + b"0" * 32 + b"e-32"])
@pytest.mark.parametrize("name", ["n", "n_probs", "temperature", "max_tokens"])
@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
def test_a_number_with_too_many_digits_is_refused_and_never_misread(number: bytes, name: str, engine: str) -> None:
    body = b'{"prompt":"Hi","%b":%b}' % (name.encode(), number)
    for size in (1, 7, len(body) - 2, 1 << 20):
        assert blamed(body, size=size, engine=engine) == name


@pytest.mark.parametrize("padding", range(0, 60, 3))
def test_a_number_is_read_correctly_wherever_a_body_is_split(padding: int) -> None:
    number = b"2." + b"0" * 40 + b"e5"
    head = b'{"prompt":"' + b"a" * (8192 - padding - 23) + b'","n_probs":'
    assert blamed(head + number + b"}") == "n_probs"
    assert blamed(b'{"prompt":"Hi","n":2.' + b"0" * 30 + b"}", size=24) is None


def test_a_long_number_in_an_unchecked_member_is_accepted() -> None:
    assert blamed(b'{"prompt":"Hi","metadata":{"n":' + b"1" * 100 + b'},"x":' + b"1" * 100 + b"}") is None
