"""What a process that waits for another one's download says: who has the lock, and how far it is."""

from __future__ import annotations

import json
from typing import Any

from slipway_fetcher.folder.target import Target
from slipway_fetcher.progress import Progress


def relayed(holder: dict[str, Any], target: Target, progress: Progress) -> None:
    """Shows the holder's progress as this one's."""
    who = f"{holder.get('host', 'another process')} (process {holder.get('pid', '?')})"
    try:
        found = json.loads(target.progress.read_bytes())
        far = f", {found['percent']} %" if found.get("percent") is not None else ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        far = ""
    progress.waits(f"{who} fetches the same model{far}")
