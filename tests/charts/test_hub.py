"""`planner.hub`: whether the operator may ask the Hugging Face Hub about models."""

from __future__ import annotations

from typing import Any

import pytest
from support.charts.helm import Refused, rendered
from support.programs.settings import operator_settings

OPERATOR = "slipway-operator"


def asked(**hub: Any) -> tuple[str, tuple[str, ...]]:
    """The Hub that the operator asks, and the hosts to which it follows."""
    objects = rendered("slipway", {"planner": {"hub": hub}})
    [deployment] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == ("Deployment", OPERATOR)]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", "slipway-system") for each in container["env"]}
    settings = operator_settings(["--runtimes="], environment)
    return settings.hub_endpoint, settings.hub_redirects_to


def test_by_default_nothing_is_asked() -> None:
    assert asked() == ("", ())


def test_if_it_is_enabled_the_hub_alone_is_asked() -> None:
    assert asked(enabled=True) == ("https://huggingface.co", ())


def test_a_mirror_may_redirect_to_hosts_that_are_listed() -> None:
    hub = asked(enabled=True, endpoint="https://hub.acme.example/", redirectsTo=["a.example", "b.example:8443"])
    assert hub == ("https://hub.acme.example", ("a.example", "b.example:8443"))


@pytest.mark.parametrize("endpoint", ["http://hub.acme.example", "hub.acme.example", "https://acme.example/hub", ""])
def test_only_a_host_with_tls_is_accepted(endpoint: str) -> None:
    with pytest.raises(Refused, match="endpoint"):
        asked(enabled=True, endpoint=endpoint)
