"""What was written and what came of it, so that nothing is written twice and what others change is seen. Pure.

It lives in memory alone: a leader that begins applies everything once, which changes nothing where nothing differs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.names import OWNER_LABEL
from slipway.kube.kinds import Kind, Object
from slipway.kube.store import pruned
from slipway.operator.reconciling.key import Key
from slipway.operator.rendering import hash_of

TOO_OFTEN, WITHIN = 5, 60.0
"""So many repairs in so many seconds are a fight with somebody who changes it back each time."""
DIGEST = 16  # bytes; nobody gains anything by finding another object of the same digest


@dataclass(slots=True)
class Entry:
    wanted: bytes  # the digest of what was applied
    relevant: bytes  # the digest of the same fields, as the API server then had them
    uid: str
    version: int
    result: Object | None  # until the cache has it, too: these are many, where many are made at once
    repairs: tuple[float, ...] = ()  # when, the last few


class Ledger:
    """Objects are known by kind and by the deployment that they are for, whose name they have."""

    def __init__(self) -> None:
        self._entries: defaultdict[Key, dict[Kind, Entry]] = defaultdict(dict)
        self._uids: dict[Key, str] = {}

    def open(self, key: Key, uid: str) -> None:
        """For the LLMDeployment of this name; what was written for a predecessor says nothing about it."""
        if self._uids.get(key) != uid:
            self.forget(key)
            self._uids[key] = uid

    def told(self, kind: Kind, thing: Object) -> None:
        """A watch has told of this state, or of its end, and the cache knows."""
        metadata = thing["metadata"]
        owner = (metadata.get("labels") or {}).get(OWNER_LABEL) or metadata["name"]
        entry = self._entries.get(Key(metadata.get("namespace", ""), owner), {}).get(kind)
        if entry and entry.uid == metadata["uid"] and version_of(thing) >= entry.version:
            entry.result = None

    def newest(self, kind: Kind, key: Key, cached: Object | None) -> Object | None:
        """What the cache has, unless we have written since, and the watch hasn't told yet."""
        entry = self._entries[key].get(kind) if key in self._entries else None
        if entry is None or entry.result is None:
            return cached
        if cached and version_of(cached) >= entry.version:
            entry.result = None
            return cached
        return entry.result

    def is_new(self, kind: Kind, key: Key, wanted: Object, live: Object | None) -> bool:
        """Whether this was never applied, or something else, or to another object of that name."""
        entry = self._entries[key].get(kind) if key in self._entries else None
        return not (entry and live and entry.uid == live["metadata"]["uid"] and entry.wanted == _digest(wanted))

    def has_drifted(self, kind: Kind, key: Key, wanted: Object, live: Object) -> bool:
        """Whether somebody else has changed a field that we have set."""
        entry = self._entries[key][kind]
        return version_of(live) > entry.version and entry.relevant != _digest({"": projected(live, wanted)})

    def repaired(self, kind: Kind, key: Key, now: float) -> None:
        entry = self._entries[key][kind]
        entry.repairs = (*entry.repairs, now)[-TOO_OFTEN:]

    def rest(self, kind: Kind, key: Key, now: float) -> float:
        """The seconds to leave a thing alone, because somebody changes it back each time."""
        repairs = self._entries[key][kind].repairs
        return max(0.0, repairs[0] + WITHIN - now) if len(repairs) == TOO_OFTEN else 0.0

    def note(self, kind: Kind, key: Key, wanted: Object, result: Object, *, cached: Object | None = None) -> None:
        """What was applied, the API server's answer to it, and what the cache has, maybe the same already."""
        before = self._entries[key].get(kind)
        is_cached = cached is not None and version_of(cached) >= version_of(result)
        entry = Entry(
            wanted=_digest(wanted),
            relevant=_digest({"": projected(result, wanted)}),
            uid=result["metadata"]["uid"],
            version=version_of(result),
            result=None if is_cached else pruned(result),
        )
        if before and before.uid == entry.uid:
            entry.repairs = before.repairs
        self._entries[key][kind] = entry

    def forget(self, key: Key, kind: Kind | None = None) -> None:
        """The deployment has ended, or the thing has; without this, the ledger would grow for ever."""
        if kind is None:
            self._entries.pop(key, None)
            self._uids.pop(key, None)
        elif key in self._entries:
            self._entries[key].pop(kind, None)

    def clear(self) -> None:
        """Somebody else may have written since."""
        self._entries.clear()
        self._uids.clear()


def projected(live: Any, wanted: Any) -> Any:
    """The fields of `live` that `wanted` names: what others add beside them is theirs. Lists are taken whole."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return {name: projected(live.get(name), value) for name, value in wanted.items()}
    return live


def _digest(thing: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(hash_of(thing))[:DIGEST]


def version_of(thing: Object) -> int:
    return int(thing["metadata"]["resourceVersion"])
