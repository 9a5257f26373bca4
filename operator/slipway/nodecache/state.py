"""What the plugin remembers between two starts: which volumes are published, and when each model was last used. Pure.

A tenant can't write it, so that no tenant's models seem more recently used than they were.
"""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from slipway.nodecache.layout import KEY, OTHER, UID


@dataclass(frozen=True)
class Volume:
    """A published volume of a pod."""

    namespace: str  # its uid
    keys: AbstractSet[str]  # of the models that the pod uses
    target: str


@dataclass
class Namespace:
    name: str
    used_at: dict[str, float] = field(default_factory=dict)  # by key


@dataclass
class State:
    volumes: dict[str, Volume] = field(default_factory=dict)  # by id
    namespaces: dict[str, Namespace] = field(default_factory=dict)  # by uid
    unknown: frozenset[str] = frozenset()
    """Uids of namespaces of which a volume is mounted that isn't in `volumes`: nothing is removed there."""

    def is_used(self, namespace: str, key: str) -> bool:
        """A pod may write anything besides models, so that all volumes of the namespace count for that."""
        if namespace in self.unknown:
            return True
        own = (each for each in self.volumes.values() if each.namespace == namespace)
        return any(key == OTHER or key in each.keys for each in own)

    def has_volumes(self, namespace: str) -> bool:
        return self.is_used(namespace, OTHER)

    def publish(self, volume_id: str, volume: Volume, name: str, now: float) -> None:
        self.volumes[volume_id] = volume
        namespace = self.namespaces.setdefault(volume.namespace, Namespace(name))
        namespace.name = name  # if the folder was found without one
        self.touch(namespace, volume.keys, now)

    def unpublish(self, volume_id: str, now: float) -> None:
        if volume := self.volumes.pop(volume_id, None):
            self.touch(self.namespaces[volume.namespace], volume.keys, now)

    @staticmethod
    def touch(namespace: Namespace, keys: AbstractSet[str], now: float) -> None:
        namespace.used_at |= dict.fromkeys((OTHER, *keys), now)

    def forget(self, namespace: str, keys: AbstractSet[str]) -> None:
        """Of models that are no longer there; those of pods are kept, since they may be about to arrive."""
        known = self.namespaces[namespace].used_at
        for key in keys & known.keys():
            if not self.is_used(namespace, key):
                del known[key]

    # --- as JSON ----------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        volumes = {
            name: {"namespace": each.namespace, "keys": sorted(each.keys), "target": each.target}
            for name, each in self.volumes.items()
        }
        namespaces = {uid: {"name": each.name, "usedAt": each.used_at} for uid, each in self.namespaces.items()}
        return json.dumps({"volumes": volumes, "namespaces": namespaces}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> State:
        """ValueError if it isn't what `to_json` writes."""
        try:
            return cls._read(json.loads(text))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"the state has an unknown form: {error!r}") from None

    @classmethod
    def _read(cls, found: dict[str, Any]) -> State:
        volumes = {
            str(name): Volume(str(each["namespace"]), frozenset(map(str, each["keys"])), str(each["target"]))
            for name, each in found["volumes"].items()
        }
        namespaces = {
            str(uid): Namespace(str(each["name"]), {str(key): float(at) for key, at in each["usedAt"].items()})
            for uid, each in found["namespaces"].items()
            if UID.fullmatch(uid)
        }
        for uid in {each.namespace for each in volumes.values()} - namespaces.keys():
            raise ValueError(f"a volume is of a namespace that isn't there: {uid}")
        return cls(volumes, namespaces)


def keys_in(attribute: str, at_most: int) -> frozenset[str]:
    """The keys in a volume's attribute, separated by commas. ValueError, in a sentence, if it has anything else."""
    keys = frozenset(filter(None, attribute.split(",")))
    if len(keys) > at_most:
        raise ValueError(f"volumeAttributes.keys names {len(keys)} models, and {at_most} are allowed: name fewer")
    if wrong := next((key for key in keys if not KEY.fullmatch(key)), None):
        raise ValueError(
            f"volumeAttributes.keys has {wrong[:40]!r}: write names such as 0123456789abcdef or "
            "0123456789abcdef-01234567, separated by commas"
        )
    return keys
