"""Which clients are admitted by address, as by a NetworkPolicy, and where a request's key is looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.activator.http1.heads import RequestHead
from slipway.activator.proxy.access.address_access import CallingPod, allows_address, allows_pods, selects
from slipway.activator.proxy.access.api_key_format import SHORTEST, key_of
from slipway.activator.shared.allow_from import AllowFrom
from slipway.activator.tracking.rules_from_spec import allow_from
from slipway.api.exposure import Peer
from slipway.process.addresses import address_of, client_of
from support.programs.guard import guarding
from support.programs.guard import keys_in as keys_folder


def parsed(*peers: dict[str, Any]) -> AllowFrom:
    return allow_from(map(Peer.model_validate, peers))


# --- addresses -------------------------------------------------------------------------------------------------------

BLOCKS = [
    ("10.1.2.3", {"cidr": "10.0.0.0/8"}, True),
    ("11.1.2.3", {"cidr": "10.0.0.0/8"}, False),
    ("10.1.2.3", {"cidr": "10.1.2.3/32"}, True),
    ("10.1.2.3", {"cidr": "10.9.9.9/8"}, True),  # a NetworkPolicy accepts host bits, and so do we
    ("10.1.2.3", {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, False),
    ("10.2.2.3", {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.2.0/24"]}, False),
    ("10.3.2.3", {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.2.0/24"]}, True),
    ("::ffff:10.1.2.3", {"cidr": "10.0.0.0/8"}, True),
    ("::ffff:10.1.2.3", {"cidr": "10.0.0.0/8", "except": ["10.1.2.0/24"]}, False),
    ("::ffff:10.1.2.3", {"cidr": "::/0"}, False),
    ("10.1.2.3", {"cidr": "::ffff:10.0.0.0/104"}, False),
    ("2001:db8::1", {"cidr": "2001:db8::/32"}, True),
    ("2001:0DB8:0::1", {"cidr": "2001:db8::/32"}, True),
    ("2001:db8:1::1", {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}, False),
    ("fe80::1%eth0", {"cidr": "fe80::/10"}, True),
    ("10.1.2.3", {"cidr": "0.0.0.0/0"}, True),
    ("2001:db8::1", {"cidr": "0.0.0.0/0"}, False),
    ("", {"cidr": "0.0.0.0/0"}, False),
    ("not-an-address", {"cidr": "0.0.0.0/0"}, False),
    ("10.1.2.3", {"cidr": "010.0.0.0/8"}, False),  # eight or ten: ambiguous
    ("10.1.2.3", {"cidr": "10.0.0.0/33"}, False),
    ("10.1.2.3", {"cidr": "10.0.0.0/8", "except": ["999.0.0.0/8"]}, False),  # its exception cannot be read
    ("10.1.2.3", {"cidr": "10.0.0.0/8", "except": ["2001:db8::/32"]}, False),
]


@pytest.mark.parametrize(("address", "block", "allowed"), BLOCKS)
def test_an_address_is_admitted_by_the_block_that_contains_it(
    address: str, block: dict[str, Any], allowed: bool
) -> None:
    assert allows_address(parsed({"ipBlock": block}), address_of(address)) is allowed


def test_one_entry_suffices_and_an_empty_list_admits_no_client() -> None:
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in ("10.0.0.0/8", "192.0.2.0/24")]
    assert allows_address(parsed(*blocks), address_of("192.0.2.7"))
    assert not allows_address(parsed(), address_of("192.0.2.7"))


def test_the_longest_list_is_parsed_once_and_not_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    excepted = [f"10.{number}.0.0/16" for number in range(32)]
    longest = parsed(*[{"ipBlock": {"cidr": "10.0.0.0/8", "except": excepted}}] * 64)
    monkeypatch.setattr("ipaddress.ip_network", None)
    assert not allows_address(longest, address_of("10.31.0.1"))
    assert allows_address(longest, address_of("10.32.0.1"))


def test_an_ipv6_network_is_one_client_and_an_ipv4_address_is_one() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:0:1::1")
    assert client_of("::ffff:10.0.0.1") == client_of("10.0.0.1") != client_of("10.0.0.2")


# --- pods ------------------------------------------------------------------------------------------------------------

WEB = CallingPod("shop", {"app": "web", "tier": "front"}, {"kubernetes.io/metadata.name": "shop", "team": "blue"})


def named(peer: dict[str, Any], *pods: CallingPod) -> bool:
    return allows_pods(parsed(peer), pods, "chat")


def labelled(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


PEERS = [
    ({"podSelector": {}}, False),  # of the deployment's own namespace
    ({"namespaceSelector": {}}, True),
    ({"namespaceSelector": labelled(team="blue")}, True),
    ({"namespaceSelector": labelled(team="red")}, False),
    ({"namespaceSelector": {}, "podSelector": labelled(app="web")}, True),
    ({"namespaceSelector": {}, "podSelector": labelled(app="api")}, False),
    ({"namespaceSelector": labelled(team="red"), "podSelector": labelled(app="web")}, False),
    ({"podSelector": labelled(app="web")}, False),
    ({"ipBlock": {"cidr": "0.0.0.0/0"}}, False),
    ({}, False),
]


@pytest.mark.parametrize(("peer", "allowed"), PEERS)
def test_a_pod_is_admitted_by_the_entry_that_selects_it(peer: dict[str, Any], allowed: bool) -> None:
    assert named(peer, WEB) is allowed


def test_a_pod_selector_alone_selects_in_the_deployments_own_namespace() -> None:
    assert named({"podSelector": labelled(app="web")}, CallingPod("chat", {"app": "web"}, {}))


def test_two_entries_are_not_combined() -> None:
    """In a NetworkPolicy, too, a namespace in one entry and a pod in another are not combined."""
    peers = parsed({"namespaceSelector": labelled(team="red")}, {"podSelector": labelled(app="web")})
    assert not allows_pods(peers, [WEB], "chat")


def test_all_pods_of_an_address_must_be_admitted() -> None:
    stranger = CallingPod("evil", {"app": "web"}, {})
    assert not named({"namespaceSelector": labelled(team="blue")}, WEB, stranger)
    assert not named({"namespaceSelector": {}}, CallingPod("shop", {}, {}, shares_address=True))
    assert not named({"namespaceSelector": {}})


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


SELECTORS = [
    ({}, True),
    (labelled(app="web", tier="front"), True),
    (labelled(app="web", tier="back"), False),
    (labelled(other=""), False),
    (expression("app", "In", "api", "web"), True),
    (expression("app", "In", "api"), False),
    (expression("app", "In"), False),
    (expression("other", "In", ""), False),
    (expression("app", "NotIn", "api"), True),
    (expression("app", "NotIn", "web"), False),
    (expression("other", "NotIn", "web"), True),
    (expression("other", "NotIn"), False),  # Kubernetes refuses it
    (expression("app", "Exists"), True),
    (expression("other", "Exists"), False),
    (expression("app", "Exists", "web"), False),  # Kubernetes refuses it
    (expression("app", "DoesNotExist"), False),
    (expression("other", "DoesNotExist"), True),
    ({**labelled(app="web"), **expression("tier", "In", "back")}, False),
]


@pytest.mark.parametrize(("selector", "selected"), SELECTORS)
def test_labels_are_selected_as_kubernetes_does(selector: dict[str, Any], selected: bool) -> None:
    [entry] = parsed({"podSelector": selector}).pods
    assert entry.pods
    assert selects(entry.pods, WEB.labels) is selected


# --- keys ------------------------------------------------------------------------------------------------------------

HEADERS_AND_KEYS = [
    ([(b"authorization", b"Bearer sk-first")], b"sk-first"),
    ([(b"authorization", b"bearer   sk-first  ")], b"sk-first"),
    ([(b"authorization", b"Bearer my long passphrase")], b"my long passphrase"),
    ([(b"authorization", b"Basic abc"), (b"x-api-key", b"sk-second")], b"sk-second"),
    ([(b"authorization", b"Bearer sk-first"), (b"x-api-key", b"sk-second")], b"sk-first"),
    ([(b"authorization", b"Bearer"), (b"x-api-key", b"sk-second")], b""),
    ([(b"x-api-key", b"sk-second"), (b"api-key", b"sk-third")], b"sk-second"),
    ([(b"x-api-key", b""), (b"api-key", b"sk-third")], b""),
    ([(b"api-key", b"sk-third")], b"sk-third"),
    ([(b"x-api-key", b"sk-first"), (b"x-api-key", b"sk-second")], b"sk-first"),
    ([], b""),
]


@pytest.mark.parametrize(("headers", "key"), HEADERS_AND_KEYS)
def test_a_key_is_read_where_the_guard_reads_it(headers: list[tuple[bytes, bytes]], key: bytes) -> None:
    assert key_of(RequestHead(b"POST", b"/", headers, 0)) == key


@pytest.mark.parametrize(("headers", "key"), [each for each in HEADERS_AND_KEYS if len(each[1]) >= SHORTEST])
def test_the_guard_reads_it_there_too(tmp_path: Path, headers: list[tuple[bytes, bytes]], key: bytes) -> None:
    guarded = guarding(tmp_path, keys=keys_folder(tmp_path, alice=key.decode()))
    decoded = {name.decode(): value.decode("latin-1") for name, value in reversed(headers)}
    visit, refusal = guarded.gate.enter("GET", "/v1/models", decoded)
    guarded.gate.leave(visit)
    guarded.close()
    assert (visit.owner, refusal) == ("alice", None)
