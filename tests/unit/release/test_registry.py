"""Which names of registries are valid."""

from __future__ import annotations

import pytest
from slipway_devcluster.errors import Refusal
from slipway_release import registry


@pytest.mark.parametrize(
    "name", ["localhost", "localhost:5000", "127.0.0.1:5000/llm", "registry.example.com/a/b-c", "ghcr.io/some_body/x"]
)
def test_a_registry_is_a_host_with_an_optional_path(name: str) -> None:
    assert registry.checked(name) == name


@pytest.mark.parametrize(
    "name", ["https://registry.example.com", "registry.example.com/", "Registry.example.com", "a b"]
)
def test_an_invalid_registry_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(Refusal, match=r"is not a valid registry: .*as in registry\.example\.com/slipway"):
        registry.checked(name)


def test_without_a_registry_the_error_says_what_to_set() -> None:
    with pytest.raises(Refusal, match=r"REGISTRY is not set, .*REGISTRY=registry\.example\.com/slipway"):
        registry.checked("")


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("localhost", True),
        ("localhost:5000/llm/slipway-operator:0.2.0", True),
        ("127.0.0.1:5000", True),
        ("10.0.0.1:5000", False),
        ("localhost.example.com", False),
        ("registry.example.com/localhost", False),
    ],
)
def test_a_registry_on_this_machine_is_recognised_by_its_host(name: str, here: bool) -> None:
    assert registry.is_here(name) is here
