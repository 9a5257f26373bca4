"""The note of an Event fits into the limit of the API server, however long it is and in any script."""

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

    async def create(self, kind: Kind, obj: dict[str, Any]) -> None:
        self.created.append(obj)


def written_note(note: str) -> str:
    client = Client()
    recorder = EventRecorder(cast(KubeClient, client), controller="of-a-test", instance="of-a-test")
    assert asyncio.run(recorder.record(MODEL, "ModelNotFound", note))
    [event] = client.created
    return str(event["note"])


@pytest.mark.parametrize("note", ["", "short", "x" * NOTE_LIMIT, "ü" * (NOTE_LIMIT // 2)])
def test_a_note_that_fits_is_unchanged(note: str) -> None:
    assert written_note(note) == note


@pytest.mark.parametrize("character", ["x", "ü", "模", "🦙"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_long_note_is_cut_between_characters_to_the_maximum_of_the_api_server(character: str, before: str) -> None:
    note = before + NOTE_LIMIT * character
    cut = written_note(note)
    assert note.startswith(cut)
    assert NOTE_LIMIT - len(character.encode()) < len(cut.encode()) <= NOTE_LIMIT


def test_a_note_with_half_a_character_is_still_written() -> None:
    assert written_note("half of one: \ud83e") == "half of one: ?"
