"""What is where in the plugin's folder on a node. Pure.

ROOT/state.json             which volumes are published, and when each model was last used
ROOT/.lock                  one plugin at a time
ROOT/namespaces/UID/        what pods of that namespace see; a tenant may write anything there
    KEY/                    a model; the fetcher's README has these names
    .KEY.partial/ .KEY.lock .KEY.progress .KEY.discarded/
ROOT/trash/                 what is being removed; no pod sees it

A namespace is known by its uid: one that is deleted and created again, perhaps by another tenant, gets another folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NAMESPACES, TRASH, STATE, LOCK = "namespaces", "trash", "state.json", ".lock"
RECORD = (".slipway", "fetched.json")  # in a model's folder, if it is complete
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEY = re.compile(r"[0-9a-f]{16}(?:-[0-9a-f]{8})?")
"""As the operator names the folders of models (rendering/weights.py)."""
OTHER = ""
"""In place of a key: everything in a namespace's folder that isn't of a model."""

_OF_A_MODEL = re.compile(rf"({KEY.pattern})|\.({KEY.pattern})\.(?:partial|progress|discarded)")
_LOCK = re.compile(rf"\.{KEY.pattern}\.lock")


def lock_of(key: str) -> str:
    return f".{key}.lock"


def names_of(key: str) -> tuple[str, ...]:
    """What is removed with a model. Its lock stays: a fetcher may be waiting for that very file."""
    return key, f".{key}.partial", f".{key}.progress", f".{key}.discarded"


def is_of_a_lock(name: str) -> bool:
    """A tenant may give such a name to anything."""
    return _LOCK.fullmatch(name) is not None


def by_key(names: Iterable[str]) -> dict[str, list[str]]:
    """The names in a namespace's folder, by the model that they belong to."""
    found: dict[str, list[str]] = {}
    for name in names:
        of_a_model = _OF_A_MODEL.fullmatch(name)
        key = (of_a_model[1] or of_a_model[2]) if of_a_model else OTHER
        found.setdefault(key, []).append(name)
    return found
