"""The table that says which port of an activator leads to which LLMDeployment. Pure.

It is stored in ConfigMaps of Slipway's own namespace, which only the leading operator writes: nothing that a tenant can
write decides whose port it is. Each ConfigMap has the ports of one range, and a port counts only in the ConfigMap of
its range, so that no two lines can ever assign one port. A line names the namespace, the name and the uid:

    data: {"20000": "chat/llama 5f0c…"}

The uid identifies one object. So lines of deleted LLMDeployments may stay: they match nothing, and show which ports
were used before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from slipway.api.names import ACTIVATOR_FIRST_PORT, ACTIVATOR_LAST_PORT
from slipway.objects.kinds import Object

PORTS = range(ACTIVATOR_FIRST_PORT, ACTIVATOR_LAST_PORT + 1)
PER_MAP = 256  # lines; with the longest names and uids they take 45 kB, and a ConfigMap may have 1 MiB


class ActivatorPort(NamedTuple):
    """The port at which the requests of one LLMDeployment arrive."""

    activator: str  # the name of its Service
    port: int


class Claim(NamedTuple):
    """The owner of a port: one LLMDeployment, and not its successor of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} {self.uid}"


def claim_of(deployment: Object) -> Claim:
    metadata = deployment["metadata"]
    return Claim(metadata["namespace"], metadata["name"], metadata["uid"])


# --- one ConfigMap ---------------------------------------------------------------------------------------------------


def map_of(port: int) -> int:
    """The number of the ConfigMap that has the port."""
    return (port - ACTIVATOR_FIRST_PORT) // PER_MAP


def ports_in(number: int) -> range:
    first = ACTIVATOR_FIRST_PORT + number * PER_MAP
    return range(first, min(first + PER_MAP, ACTIVATOR_LAST_PORT + 1))


def map_name(activator: str, number: int) -> str:
    return f"{activator}-ports-{number:02d}"


def number_in(name: str, activator: str) -> int | None:
    """None if it isn't a part of this activator's table."""
    text = name.removeprefix(f"{activator}-ports-")
    number = int(text) if text.isascii() and text.isdigit() else -1
    return number if 0 <= number <= map_of(PORTS[-1]) and name == map_name(activator, number) else None


def lines(claims: Mapping[int, Claim]) -> dict[str, str]:
    return {str(port): str(claims[port]) for port in sorted(claims)}


def claims_in(config_map: Object | None, number: int) -> dict[int, Claim]:
    """Lines that are invalid, or that belong to another ConfigMap, are ignored."""
    read = ((_port(port), _claim(text)) for port, text in ((config_map or {}).get("data") or {}).items())
    return {port: claim for port, claim in read if claim and port in ports_in(number)}


def _port(text: str) -> int:
    return int(text) if len(text) == 5 and text.isascii() and text.isdigit() else 0


def _claim(text: str) -> Claim | None:
    owner, _, uid = text.partition(" ")
    namespace, _, name = owner.partition("/")
    return Claim(namespace, name, uid) if namespace and name and uid else None


# --- all of them -----------------------------------------------------------------------------------------------------


class PortTable:
    """The table of one activator, as its ConfigMaps are by now."""

    def __init__(self, activator: str) -> None:
        self.activator = activator
        self._maps: dict[int, dict[int, Claim]] = {}
        self._ports: defaultdict[Claim, set[int]] = defaultdict(set)

    def take(self, name: str, config_map: Object | None) -> list[Claim]:
        """Takes over a ConfigMap (None: it is gone). Returns whose port changed, those first that lose one."""
        number = number_in(name, self.activator)
        if number is None:
            return []
        before, after = self._maps.get(number, {}), claims_in(config_map, number)
        self._maps[number] = after
        lost = [(port, claim) for port, claim in before.items() if after.get(port) != claim]
        won = [(port, claim) for port, claim in after.items() if before.get(port) != claim]
        for port, claim in lost:
            self._ports[claim].discard(port)
            if not self._ports[claim]:
                del self._ports[claim]
        for port, claim in won:
            self._ports[claim].add(port)
        return list(dict.fromkeys(claim for _, claim in (*lost, *won)))

    def ports_of(self, claim: Claim) -> list[int]:
        """One, unless the table was changed by hand; then the lowest counts."""
        return sorted(self._ports.get(claim, ()))

    def owner_of(self, port: int) -> Claim | None:
        return self._maps.get(map_of(port), {}).get(port)

    def lines(self) -> Iterable[tuple[int, Claim]]:
        return (line for number in sorted(self._maps) for line in self._maps[number].items())
