"""Names of images that can be pushed."""

from __future__ import annotations

import pytest
from slipway_runtime.oci import Reference, RegistryError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("r.example.com/caches:llama", ("r.example.com", "caches", "llama")),
        ("r.example.com:5000/a/b-c/d__e:v1.2", ("r.example.com:5000", "a/b-c/d__e", "v1.2")),
        ("localhost/x:y", ("localhost", "x", "y")),
        ("10.0.0.1:5000/x:y", ("10.0.0.1:5000", "x", "y")),
        ("[::1]:5000/x:y", ("[::1]:5000", "x", "y")),
    ],
)
def test_a_name_has_registry_repository_and_tag(text: str, parts: tuple[str, str, str]) -> None:
    found = Reference.parse(text)
    assert (found.registry, found.repository, found.tag) == parts
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "caches:llama", "team/caches:llama", "r.example.com/caches", "r.example.com/Caches:x"),
        *(
            "https://r.example.com/caches:x",
            "r.example.com/a//b:x",
            "r.example.com/../b:x",
            "r.example.com/a:" + "x" * 300,
        ),
        *("r.example.com/a:x\n", "r.example.com/a:-x", "u:p@r.example.com/a:x", "r.example.com/a?b:x"),
    ],
)
def test_anything_else_is_refused_in_a_sentence_with_an_example(text: str) -> None:
    with pytest.raises(RegistryError, match="REGISTRY/REPOSITORY:TAG"):
        Reference.parse(text)
