"""What a model is for, and that one which generates no text can't be talked with. Pure."""

from __future__ import annotations

from typing import Any

from slipway.api.tasks import NOT_GENERATING
from slipway.contract.tasks import PATHS, Task


def why_it_says_nothing(llm: dict[str, Any]) -> str:
    """One sentence with what to send instead; empty for a model that generates text, as far as it is known."""
    told = llm["spec"]["model"].get("task", "Auto")
    planned = ((llm.get("status") or {}).get("plan") or {}).get("task")
    task = planned if told == "Auto" else told
    if task not in NOT_GENERATING:
        return ""
    known = Task(task)
    return f"{llm['metadata']['name']} {known.does} and generates no text: send POST {PATHS[known][0]} to its URL."
