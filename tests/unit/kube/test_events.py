"""What is told as an Event fits into one, however long and in whatever script it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from slipway.kube.client import KubeClient
from slipway.kube.events import NOTE_LIMIT, EventRecorder
from slipway.objects.kinds import Kind

MODEL: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "assistant", "namespace": "chat", "uid": "4711"},
}


@dataclass
class Client:
    created: list[dict[str, Any]] = field(default_factory=list)

    async def create(self, kind: Kind, thing: dict[str, Any]) -> None:
        self.created.append(thing)


def told(note: str) -> str:
    client = Client()
    recorder = EventRecorder(cast(KubeClient, client), controller="of-a-test", instance="of-a-test")
    assert asyncio.run(recorder.record(MODEL, "ModelNotFound", note))
    [event] = client.created
    return str(event["note"])


@pytest.mark.parametrize("note", ["", "short", "x" * NOTE_LIMIT, "ü" * (NOTE_LIMIT // 2)])
def test_what_fits_is_told_as_it_is(note: str) -> None:
    assert told(note) == note


@pytest.mark.parametrize("character", ["x", "ü", "模", "🦙"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_what_is_too_long_is_cut_at_a_character_to_as_many_bytes_as_the_api_server_takes(
    character: str, before: str
) -> None:
    note = before + NOTE_LIMIT * character
    cut = told(note)
    assert note.startswith(cut)
    assert NOTE_LIMIT - len(character.encode()) < len(cut.encode()) <= NOTE_LIMIT


def test_half_a_character_keeps_nothing_from_being_told() -> None:
    assert told("half of one: \ud83e") == "half of one: ?"
