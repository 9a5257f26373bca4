"""Requests with tools to a model, and the calls in its responses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "strict": True,  # otherwise vLLM only checks that the arguments are JSON
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Vienna", "Rome"]}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
ASKED = {"role": "user", "content": "What is the weather in Vienna?"}
STARTED = {"role": "assistant", "content": "<tool_call>\n"}
"""A small model would go on with prose, which llama.cpp allows before a call, even if one is required."""


async def ask_for_weather(http: aiohttp.ClientSession, url: str, model: str, **body: Any) -> tuple[int, Any]:
    """Returns the status, and the response; of a stream, its events."""
    asked = {"model": model, "messages": [ASKED], "tools": [WEATHER], "max_tokens": 100, "temperature": 0, **body}
    async with asyncio.timeout(300), http.post(f"{url}/v1/chat/completions", json=asked) as answer:
        if not body.get("stream") or answer.status != 200:
            return answer.status, await answer.json()
        lines = [line.decode().strip() async for line in answer.content]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
        return answer.status, [json.loads(each) for each in data]


def call_in(answer: Any) -> tuple[str, dict[str, Any]]:
    """Returns the name and the arguments of the first call; a small model may go on with more of them."""
    calls = answer["choices"][0]["message"].get("tool_calls")
    assert calls, answer
    return calls[0]["function"]["name"], json.loads(calls[0]["function"]["arguments"])


def streamed_call(events: list[Any]) -> tuple[str, dict[str, Any]]:
    """The same of a stream, whose events have parts of the call."""
    name = arguments = ""
    for event in events:
        for choice in event["choices"]:
            for part in choice["delta"].get("tool_calls") or []:
                if part["index"]:
                    continue
                name += part["function"].get("name") or ""
                arguments += part["function"].get("arguments") or ""
    return name, json.loads(arguments)
