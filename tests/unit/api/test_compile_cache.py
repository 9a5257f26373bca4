"""Repositories of compiled code: what the API admits, a Job can push to."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError
from slipway.api.compile_cache import LONGEST_REPOSITORY, CompiledImage, CompiledRepository
from slipway.api.names import MAX_NAME_LENGTH
from slipway_runtime.oci import Reference

REPOSITORY: TypeAdapter[str] = TypeAdapter(CompiledRepository)
IMAGE: TypeAdapter[str] = TypeAdapter(CompiledImage)
HOST = "registry.example.com"
LONGEST = f"{HOST}/{'a' * (LONGEST_REPOSITORY - len(HOST) - 1)}"


@pytest.mark.parametrize(
    "repository",
    [
        *("r.io/a", "r.io:5000/a/b", "localhost/a", "localhost:5000/a", "registry:5000/a", "10.0.0.1/a"),
        *("r.io/a.b/c_d/e__f/g-h/i---j", "a-b.c-d.io/x", LONGEST),
    ],
)
def test_a_repository_that_is_admitted_can_be_pushed_to(repository: str) -> None:
    assert REPOSITORY.validate_python(repository) == repository
    tag = f"{'m' * MAX_NAME_LENGTH}-{'0' * 16}"
    assert str(Reference.parse(f"{repository}:{tag}")) == f"{repository}:{tag}"


@pytest.mark.parametrize(
    "repository",
    [
        *("team/caches", "a", "r.io", "r.io/a..b", "r.io/a___b", "r.io/a._b", "r.io/-a", "r.io/a-", "r.io/A"),
        *("r.io//a", "a..b/c", "-a.io/c", "a-.io/c", "r.io/a:x", "r.io/a@sha256:x", "r.io:/a", "r.io/a\n"),
        *("", f"{LONGEST}a"),
    ],
)
def test_a_repository_that_can_not_be_pushed_to_is_refused(repository: str) -> None:
    with pytest.raises(ValidationError, match="the registry has a dot or a port"):
        REPOSITORY.validate_python(repository)


def test_an_image_that_nodes_take_from_a_registry_of_one_word_is_admitted() -> None:
    image = f"library/caches@sha256:{'a' * 64}"
    assert IMAGE.validate_python(image) == image


def test_an_image_whose_name_no_node_can_read_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be an image with its digest"):
        IMAGE.validate_python(f"r.io/a..b@sha256:{'a' * 64}")
