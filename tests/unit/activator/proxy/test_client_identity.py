"""Which requests count as one client: nothing that a client writes makes it a different one."""

from ipaddress import ip_network

import pytest
from slipway.activator.proxy.admission import GlobalLimits, HeldRequest, NoPlaceError, WaitingRoom
from slipway.activator.proxy.client_identity import Client, ClientIdentifier
from slipway.activator.shared.hold_limits import HoldLimits

GATEWAY, OTHER_GATEWAY, CLIENT = "10.0.0.1", "10.0.0.2", "192.0.2.7"
TRUSTING = ClientIdentifier((ip_network("10.0.0.0/30"), ip_network("fd00::/64")))


def client_of(peer: str, *forwarded: str, clients: ClientIdentifier = TRUSTING) -> str:
    return clients.of(peer, [(b"x-forwarded-for", value.encode()) for value in forwarded]).address


def test_a_client_is_its_address_whatever_its_headers_say() -> None:
    headers = [(b"authorization", b"Bearer a"), (b"x-forwarded-for", b"1.2.3.4"), (b"x-real-ip", b"1.2.3.4")]
    assert ClientIdentifier().of(CLIENT, headers) == ClientIdentifier().of(CLIENT, []) == Client(CLIENT)


def test_one_ipv6_network_is_one_client() -> None:
    assert client_of("2001:db8:1:2:3::4") == client_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert client_of("2001:db8:1:3::4") != client_of("2001:db8:1:2::4")


def test_an_ipv4_address_is_the_same_in_both_its_forms() -> None:
    assert client_of("::ffff:192.0.2.7") == client_of(CLIENT) == CLIENT


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ((CLIENT,), CLIENT),
        ((f"1.2.3.4, {CLIENT}",), CLIENT),
        ((f"1.2.3.4, {CLIENT}, {OTHER_GATEWAY}",), CLIENT),
        (("1.2.3.4", CLIENT), CLIENT),
        ((f"{CLIENT}:4711",), CLIENT),
        (("[2001:db8::1]:443",), "2001:db8::/64"),
        (("2001:db8::1",), "2001:db8::/64"),
        ((), GATEWAY),
        (("",), GATEWAY),
        (("unknown",), GATEWAY),
        ((f"{CLIENT}, not an address",), GATEWAY),
        ((f"not an address, {OTHER_GATEWAY}",), OTHER_GATEWAY),
        ((f"{CLIENT},",), GATEWAY),
    ],
    ids=str,
)
def test_a_trusted_proxy_names_its_client(forwarded: tuple[str, ...], expected: str) -> None:
    assert client_of(GATEWAY, *forwarded) == expected


def test_no_other_client_names_another() -> None:
    assert client_of("10.0.0.4", CLIENT) == "10.0.0.4"
    assert client_of(GATEWAY, CLIENT, clients=ClientIdentifier()) == GATEWAY


def test_an_endless_list_of_proxies_is_not_followed() -> None:
    assert client_of(GATEWAY, ", ".join([CLIENT] + [OTHER_GATEWAY] * 2000)) == OTHER_GATEWAY


def test_ten_thousand_invented_names_are_one_client_with_its_share_of_the_queue() -> None:
    room: WaitingRoom[HeldRequest] = WaitingRoom(HoldLimits(max_requests=256), GlobalLimits())
    refused = 0
    for number in range(10_000):
        headers = [(b"authorization", b"Bearer %d" % number), (b"x-forwarded-for", b"10.0.0.%d" % (number % 256))]
        try:
            request = HeldRequest(TRUSTING.of(CLIENT, headers), 0.0)
            room.enter(request)
            room.queue(request)
        except NoPlaceError:
            refused += 1
    assert (room.waiting, refused) == (192, 10_000 - 192)
    room.enter(HeldRequest(Client("192.0.2.8"), 0.0))
