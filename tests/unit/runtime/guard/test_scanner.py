"""Values are found at their own places, wherever the JSON is cut, and whatever is in the rest of it."""

from __future__ import annotations

import json
import random
from math import inf
from typing import Any

import pytest
from slipway_runtime.guard.scanner import (
    DEEPEST,
    LARGEST,
    LONG,
    LONGEST,
    LONGEST_NUMBER,
    STRING,
    THERE,
    Scanner,
    TooDeep,
    Tree,
    Whole,
    number_of,
    text_of,
)

WANTED: Tree = {
    b"model": "model",
    b"choices": {None: {b"finish_reason": "finish"}},
    b"usage": {b"tokens": "tokens"},
    b"error": {THERE: "error"},
}


def found(data: bytes, size: int = 1 << 20, *, deepest: float = inf) -> list[tuple[str, bytes]]:
    seen: list[tuple[str, bytes]] = []
    scanner = Scanner(WANTED, lambda what, word: seen.append((what, word)), deepest=deepest)
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
    return seen


SAMPLE: dict[str, Any] = {
    "a": [1, {"model": "no"}, "]}", [[]]],
    "choices": [{"x": {"finish_reason": "no"}, "finish_reason": "stop"}, [{"finish_reason": "no"}], {}],
    "usage": {"tokens": 12, "more": {"tokens": 99}},
    'quo"te\\': '\\"model":"no"',
    "error": {"model": "no"},
    "model": "m",
}
FOUND_IN_SAMPLE = [("finish", b'"stop"'), ("tokens", b"12"), ("error", b"{"), ("model", b'"m"')]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_wanted_values_are_found_wherever_the_json_is_cut(size: int, indent: int | None) -> None:
    assert found(json.dumps(SAMPLE, indent=indent).encode(), size) == FOUND_IN_SAMPLE


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    "name", [b"model", rb"\u006dodel", rb"mode\u006c", rb"\u006D\u006F\u0064\u0065\u006C"], ids=str
)
def test_an_escaped_name_is_recognised(name: bytes, size: int) -> None:
    assert found(b'{"%b":"m"}' % name, size) == [("model", b'"m"')]


def test_both_occurrences_of_a_duplicate_member_are_found() -> None:
    assert found(b'{"model":"a","model":"b"}') == [("model", b'"a"'), ("model", b'"b"')]


@pytest.mark.parametrize("size", [7, 1 << 20])
def test_long_strings_are_not_stored_and_what_follows_is_found(size: int) -> None:
    long = "x" * (3 * LONGEST)
    other = {long: long, "n": int("1" * 4000), "usage": {"tokens": 5}}
    assert found(json.dumps(other).encode(), size) == [("tokens", b"5")]
    cut = found(json.dumps({"model": long, "usage": {"tokens": 5}}).encode(), LONGEST // 2)
    assert cut == [("model", LONG), ("tokens", b"5")]


@pytest.mark.parametrize("opening", [b"[", b'{"choices":[', b'{"x":', b"{"])
def test_excessive_depth_is_an_error(opening: bytes) -> None:
    with pytest.raises(TooDeep):
        found(b'{"x":' + b"[" * DEEPEST + opening * DEEPEST, 100, deepest=DEEPEST)


def test_depth_is_allowed_where_no_other_parser_reads_it() -> None:
    deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"usage":{"tokens":5}}'
    assert found(deep, 5000) == [("tokens", b"5")]


@pytest.mark.parametrize("size", [7, 100, LONGEST, 1 << 20])
def test_the_length_of_wanted_strings_is_known_though_they_are_not_stored(size: int) -> None:
    lengths: list[int] = []
    scanner = Scanner({b"a": "a"}, lambda what, word: lengths.append(max(0, len(word) - 2)))
    long, other = "x" * 30_000, 'y\\"' * 5000
    data = json.dumps({"b": long, "a": long, long: long, "c": {"a": other}}).encode()
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
    assert sum(lengths) + scanner.long_bytes == len(long)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1 << 20])
def test_values_wanted_in_full_are_found_as_written(size: int) -> None:
    values = ['{"a\\\\":[1,"]}\\"",{}],"w":{"w":2}}', "[[],[[]]]", "{}", '"x\\"y"', "5", "null", '["\\\\","\\""]']
    for value in values:
        seen: list[tuple[str, bytes]] = []
        tree: Tree = {b"w": Whole("whole"), b"a": "after"}
        scanner = Scanner(tree, lambda what, word, seen=seen: seen.append((what, word)))  # type: ignore[misc]
        data = f'{{"x":{value}, "w" : {value} ,"a":1,"w":{value}}}'.encode()
        for at in range(0, len(data), size):
            scanner.feed(data[at : at + size])
        assert seen == [("whole", value.encode()), ("after", b"1"), ("whole", value.encode())]


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_of_values_wanted_in_full_only_a_bounded_part_is_stored(size: int) -> None:
    seen: list[bytes] = []
    scanner = Scanner({b"w": Whole("whole")}, lambda _, word: seen.append(word))
    data = b'{"w":[%b],"w":[]}' % (b"1," * LARGEST)
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
    assert seen == [LONG, b"[]"]


@pytest.mark.parametrize("size", [*range(1, 60), 1 << 20])
def test_a_number_that_is_too_long_is_found_as_one_wherever_it_is_cut(size: int) -> None:
    for number in (b"2." + b"0" * 40 + b"e5", b"2" * (LONGEST_NUMBER + 1)):
        ((_, word),) = found(b'{"model":%b}' % number, size)
        assert len(word) > LONGEST_NUMBER
        assert number_of(word) == 0
    for number in (b"2." + b"0" * 26 + b"e5", b"2" * LONGEST_NUMBER):
        assert found(b'{"model":%b}' % number, size) == [("model", number)]


@pytest.mark.parametrize(("value", "expected"), [('"x"', b'"x"'), ("5", None), ("null", None), ('{"x":1}', None)])
def test_a_string_can_be_wanted_where_usually_an_object_is(value: str, expected: bytes | None) -> None:
    seen: list[bytes] = []
    Scanner({b"a": {STRING: "a"}}, lambda _, word: seen.append(word)).feed(f'{{"a":{value}}}'.encode())
    assert seen == ([expected] if expected else [])


@pytest.mark.parametrize(
    "broken", [b"]]]}}}", b'"', b"\\", b'{"model"', b"{]}[", b'{"choices":}', b"\xff\x00", b"}{" * 99]
)
def test_broken_json_does_no_harm(broken: bytes) -> None:
    for size in (1, 100):
        found(broken + b'{"a":[1]}', size)


def test_on_random_input_it_finds_what_a_parser_finds(pytestconfig: pytest.Config) -> None:
    seed = pytestconfig.getoption("--seed")
    for number in range(seed, seed + 300):
        chance = random.Random(number)
        body = {"model": junk(chance, 0), "choices": junk(chance, 3), "usage": {"tokens": 7}, "x": junk(chance, 4)}
        if chance.random() < 0.5:
            body = dict(reversed(body.items()))
        written = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode()
        seen = dict(found(written, chance.choice((1, 3, 50, 10_000))))
        assert text_of(seen["model"]) == body["model"], f"seed {number}: {written!r}"
        assert seen["tokens"] == b"7", f"seed {number}: {written!r}"
        wanted = [each["finish_reason"] for each in elements(body["choices"]) if "finish_reason" in each]
        assert ("finish" in seen) == bool(wanted), f"seed {number}: {written!r}"


def elements(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def junk(chance: random.Random, depth: int) -> Any:
    if depth == 0:
        return "".join(chance.choice('ab"\\{}[]:,é\n \u2028') for _ in range(chance.randrange(9)))
    names = ("model", "choices", "usage", "tokens", "finish_reason", "", '"', "\\")
    match chance.randrange(5):
        case 0:
            return [junk(chance, depth - 1) for _ in range(chance.randrange(4))]
        case 1:
            return {chance.choice(names): junk(chance, depth - 1) for _ in range(chance.randrange(4))}
        case 2:
            return chance.choice((0, -1.5e-7, None, True, 10**30))
        case _:
            return junk(chance, 0)


@pytest.mark.parametrize(
    ("word", "number"), [(b"7", 7), (b"7.5", 7.5), (b"-7", 0), (b'"7"', 0), (b"1e300", 0), (b"", 0)]
)
def test_numbers(word: bytes, number: float) -> None:
    assert number_of(word) == number
