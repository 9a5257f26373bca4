"""`fetcher` and `images.fetcher`: with which image models' files are fetched."""

from __future__ import annotations

from typing import Any

from slipway.operator.installation import Fetcher
from support.charts.helm import rendered
from support.programs.settings import operator_settings

OPERATOR = "slipway-operator"


def fetcher(**values: Any) -> Fetcher | None:
    """As the operator reads it."""
    objects = rendered("slipway", values)
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == ("Deployment", OPERATOR)]
    [container] = found["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", "slipway-system") for each in container["env"]}
    return operator_settings(["--runtimes="], environment).installation.fetcher


def test_the_image_policy_and_secrets_are_those_of_the_chart() -> None:
    images = {
        "registry": "registry.example",
        "tag": "1.2",
        "pullPolicy": "Always",
        "pullSecrets": [{"name": "my.pull"}],
    }
    assert fetcher(images=images) == Fetcher("registry.example/slipway-fetcher:1.2", "Always", ("my.pull",))


def test_a_mirror_has_the_fetcher_too() -> None:
    found = fetcher(images={"mirror": "mirror.example/all", "fetcher": {"tag": "2"}})
    assert found == Fetcher("mirror.example/all/slipway-fetcher:2")


def test_without_it_kserve_fetches() -> None:
    assert fetcher(fetcher={"enabled": False}) is None
