"""`spec.access.allowFrom`, parsed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Labels = Mapping[str, str]


class AddressRange(NamedTuple):
    """Addresses as numbers: each request is compared with thousands of ranges."""

    version: int
    first: int
    last: int


class SelectorRequirement(NamedTuple):
    key: str
    operator: str
    values: frozenset[str]


@dataclass(frozen=True)
class PodSelector:
    labels: Labels
    requirements: tuple[SelectorRequirement, ...]


@dataclass(frozen=True)
class AddressBlock:
    within: AddressRange
    without: tuple[AddressRange, ...]


@dataclass(frozen=True)
class PodEntry:
    namespaces: PodSelector | None  # None: the model's own
    pods: PodSelector | None


@dataclass(frozen=True)
class AllowFrom:
    blocks: tuple[AddressBlock, ...]
    pods: tuple[PodEntry, ...]  # empty: it doesn't matter which pod has an address
