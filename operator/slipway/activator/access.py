"""Who is let in: an address, judged as a NetworkPolicy judges it, and the API key that a request shows. Pure.

Whatever can't be read in an entry makes it match nobody: an entry lets in, so none may let in more than was meant.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network

from slipway.activator.addresses import Address
from slipway.activator.http1.heads import RequestHead
from slipway.api.exposure import IpBlock, Peer
from slipway.api.kubernetes import LabelSelector, LabelSelectorRequirement

Labels = Mapping[str, str]


@dataclass(frozen=True)
class SeenPod:
    """A pod at the address that asks."""

    namespace: str
    labels: Labels
    namespace_labels: Labels
    shares_address: bool = False  # with its node and all else there, so nobody can tell who asks


# --- addresses -------------------------------------------------------------------------------------------------------


def allows_address(allow_from: Sequence[Peer], address: Address | None) -> bool:
    """Whether an `ipBlock` names it."""
    return address is not None and any(peer.ip_block is not None and _in(peer.ip_block, address) for peer in allow_from)


def _in(block: IpBlock, address: Address) -> bool:
    try:
        within = ipaddress.ip_network(block.cidr, strict=False)
        without = [ipaddress.ip_network(each, strict=False) for each in block.except_]
    except ValueError:
        return False
    if any(each.version != within.version for each in without) or _is_mapped(within):
        return False  # it would except nothing, or nothing could be in it
    return address in within and not any(address in each for each in without)


def _is_mapped(network: object) -> bool:
    return isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None


# --- pods ------------------------------------------------------------------------------------------------------------


def names_pods(allow_from: Sequence[Peer]) -> bool:
    """Whether it matters which pod has the address."""
    return any(peer.ip_block is None for peer in allow_from)


def allows_pods(allow_from: Sequence[Peer], pods: Sequence[SeenPod], own_namespace: str) -> bool:
    """Of several pods at one address, one could speak for another, so all must be let in."""
    return bool(pods) and all(any(_names(peer, pod, own_namespace) for peer in allow_from) for pod in pods)


def _names(peer: Peer, pod: SeenPod, own_namespace: str) -> bool:
    if (
        pod.shares_address
        or peer.ip_block is not None
        or (peer.namespace_selector is None and peer.pod_selector is None)
    ):
        return False
    if peer.namespace_selector is None:
        in_namespace = pod.namespace == own_namespace
    else:
        in_namespace = selects(peer.namespace_selector, pod.namespace_labels)
    return in_namespace and (peer.pod_selector is None or selects(peer.pod_selector, pod.labels))


def selects(selector: LabelSelector, labels: Labels) -> bool:
    """As Kubernetes means it: an empty selector selects everything."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions
    )


def _holds(requirement: LabelSelectorRequirement, labels: Labels) -> bool:
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


# --- keys, by the rules of the guard (`slipway_runtime.guard.keys`): tests compare the two ---------------------------

SHORTEST, LONGEST = 8, 512  # bytes
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def shown_key(head: RequestHead) -> bytes:
    """Of a header that is there more than once, the first. Empty: none is shown."""
    scheme, _, key = (head.get(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        shown = head.get(b"x-api-key")
        key = (head.get(b"api-key") or b"") if shown is None else shown
    return key.strip()


def keys_in(entry: bytes) -> Iterator[bytes]:
    """Those of one entry of the Secret, one a line, in each of the forms in which a client may show it."""
    for line in entry.removeprefix(BYTE_ORDER_MARK).splitlines():
        if SHORTEST <= len(key := line.strip()) <= LONGEST:
            yield from _forms(key)


def _forms(key: bytes) -> set[bytes]:
    """Letters beyond ASCII are sent as UTF-8 by some clients, and as Latin-1 by others."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return {key, key.decode("latin-1").encode()}
    try:
        return {key, text.encode("latin-1")}
    except UnicodeEncodeError:
        return {key}
