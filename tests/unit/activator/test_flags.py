"""What can be configured of the activator's gateways."""

from ipaddress import ip_network

import pytest
from slipway.activator.main import main
from support.programs.settings import activator_settings


def test_no_address_is_trusted_unless_named() -> None:
    assert activator_settings().trusted_proxies == ()


def test_gateways_are_named_by_their_networks() -> None:
    proxies = activator_settings(["--trusted-proxies", "10.0.3.0/24, fd00:3::/64,192.0.2.1"]).trusted_proxies
    assert proxies == (ip_network("10.0.3.0/24"), ip_network("fd00:3::/64"), ip_network("192.0.2.1/32"))


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ("gateway", "name networks, such as"),
        ("10.0.3.7/24", "name networks, such as"),
        ("0.0.0.0/0", "names every address: name the addresses of your gateways alone"),
        ("10.0.3.0/24,::/0", "names every address"),
    ],
)
def test_an_invalid_value_is_refused_with_the_remedy(
    capsys: pytest.CaptureFixture[str], networks: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        main(["--trusted-proxies", networks])
    assert message in capsys.readouterr().err
