"""Who is let in: an address, judged as a NetworkPolicy judges it, and the API key that a request shows. Pure.

Whatever can't be read in an entry makes it match nobody: an entry lets in, so none may let in more than was meant.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from slipway.activator.http1.heads import RequestHead
from slipway.api.exposure import IpBlock, Peer
from slipway.api.kubernetes import LabelSelector
from slipway.process.addresses import Address

Labels = Mapping[str, str]


@dataclass(frozen=True)
class SeenPod:
    """A pod at the address that asks."""

    namespace: str
    labels: Labels
    namespace_labels: Labels
    shares_address: bool = False  # with its node and all else there, so nobody can tell who asks


# --- what the entries say, read once ---------------------------------------------------------------------------------


class Range(NamedTuple):
    """Of addresses, as numbers: requests are compared with thousands of them."""

    version: int
    first: int
    last: int


class Requirement(NamedTuple):
    key: str
    operator: str
    values: frozenset[str]


@dataclass(frozen=True)
class Selector:
    labels: Labels
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True)
class Block:
    within: Range
    without: tuple[Range, ...]


@dataclass(frozen=True)
class PodEntry:
    namespaces: Selector | None  # None: the deployment's own
    pods: Selector | None


@dataclass(frozen=True)
class AllowFrom:
    blocks: tuple[Block, ...]
    pods: tuple[PodEntry, ...]  # empty: it doesn't matter which pod has an address


def allow_from(peers: Iterable[Peer]) -> AllowFrom:
    """What matches nobody is left out."""
    blocks, pods = [], []
    for peer in peers:
        if peer.ip_block is not None:
            if block := _block(peer.ip_block):
                blocks.append(block)
        elif peer.namespace_selector is not None or peer.pod_selector is not None:
            pods.append(PodEntry(_selector(peer.namespace_selector), _selector(peer.pod_selector)))
    return AllowFrom(tuple(blocks), tuple(pods))


def _block(block: IpBlock) -> Block | None:
    try:
        within = ipaddress.ip_network(block.cidr, strict=False)
        without = [ipaddress.ip_network(each, strict=False) for each in block.except_]
    except ValueError:
        return None
    if any(each.version != within.version for each in without) or _is_mapped(within):
        return None  # it would except nothing, or nothing could be in it
    return Block(_range(within), tuple(map(_range, without)))


def _range(network: IPv4Network | IPv6Network) -> Range:
    return Range(network.version, int(network.network_address), int(network.broadcast_address))


def _is_mapped(network: object) -> bool:
    return isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None


def _selector(selector: LabelSelector | None) -> Selector | None:
    if selector is None:
        return None
    requirements = (Requirement(each.key, each.operator, frozenset(each.values)) for each in selector.match_expressions)
    return Selector(dict(selector.match_labels), tuple(requirements))


# --- addresses -------------------------------------------------------------------------------------------------------


def allows_address(allowed: AllowFrom, address: Address | None) -> bool:
    """Whether an `ipBlock` names it."""
    if address is None:
        return False
    version, number = address.version, int(address)
    return any(
        _in(block.within, version, number) and not any(_in(each, version, number) for each in block.without)
        for block in allowed.blocks
    )


def _in(within: Range, version: int, number: int) -> bool:
    return within.first <= number <= within.last and within.version == version


# --- pods ------------------------------------------------------------------------------------------------------------


def allows_pods(allowed: AllowFrom, pods: Sequence[SeenPod], own_namespace: str) -> bool:
    """Of several pods at one address, one could speak for another, so all must be let in."""
    return bool(pods) and all(any(_names(entry, pod, own_namespace) for entry in allowed.pods) for pod in pods)


def _names(entry: PodEntry, pod: SeenPod, own_namespace: str) -> bool:
    if pod.shares_address:
        return False
    if entry.namespaces is None:
        in_namespace = pod.namespace == own_namespace
    else:
        in_namespace = selects(entry.namespaces, pod.namespace_labels)
    return in_namespace and (entry.pods is None or selects(entry.pods, pod.labels))


def selects(selector: Selector, labels: Labels) -> bool:
    """As Kubernetes means it: an empty selector selects everything."""
    return all(labels.get(key) == value for key, value in selector.labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.requirements
    )


def _holds(requirement: Requirement, labels: Labels) -> bool:
    value, values = labels.get(requirement.key), requirement.values
    match requirement.operator:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return bool(values) and value not in values  # one without the label is not in them, too
        case "Exists":
            return value is not None and not values
        case "DoesNotExist":
            return value is None and not values
    return False


# --- keys, by the rules of the guard (`slipway_runtime.guard.keys`): tests compare the two ---------------------------

SHORTEST, LONGEST = 8, 512  # bytes
MOST_KEYS = 1000  # of a Secret; further ones, in the order of its entries' names, count for nothing
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]+")


def shown_key(head: RequestHead) -> bytes:
    """Of a header that is there more than once, the first. Empty: none is shown."""
    scheme, _, key = (head.get(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        shown = head.get(b"x-api-key")
        key = (head.get(b"api-key") or b"") if shown is None else shown
    return key.strip()


def lines_in(entry: bytes) -> Iterator[bytes]:
    """Of one entry of the Secret, those that aren't empty: a key is a line."""
    return (line[0].strip() for line in _LINE.finditer(entry.removeprefix(BYTE_ORDER_MARK)))


def forms_of(line: bytes) -> set[bytes]:
    """In which a client may show the key; none if it isn't one.

    Letters beyond ASCII are sent as UTF-8 by some clients, and as Latin-1 by others.
    """
    if not SHORTEST <= len(line) <= LONGEST:
        return set()
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return {line, line.decode("latin-1").encode()}
    try:
        return {line, text.encode("latin-1")}
    except UnicodeEncodeError:
        return {line}
