"""What a cache could have in this cluster, compared with what it was or is. Pure."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

from slipway.api import units
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning.compile_cache import Pulled
from slipway.operator.planning.volumes import Claim, Nowhere, StorageClass
from slipway.operator.rendering.normal_form import digest

Wanted = Claim | Pulled | Nowhere | None
"""None: there is nothing that could be kept."""


def classes_of(snapshot: Snapshot) -> list[StorageClass] | None:
    found = snapshot.storage_classes
    return None if found is None else [StorageClass.of(each) for each in found]


def compared(wanted: Wanted) -> object:
    """The same for what makes the same pods."""
    if isinstance(wanted, Claim):
        return wanted.storage_class, wanted.access_mode, amount_of(wanted.size)
    return wanted if isinstance(wanted, Pulled) else None


def digest_of_wanted(wanted: Claim | Pulled) -> str:
    if isinstance(wanted, Pulled):
        return digest([wanted.image])
    return digest([wanted.storage_class, wanted.access_mode, wanted.size])


def amount_of(size: str) -> Decimal:
    """Zero for what others wrote and isn't understood."""
    with suppress(ValueError):
        return units.amount(size)
    return Decimal(0)
