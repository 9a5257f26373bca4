"""What can go wrong in a call to the API server, as a tree:

NotLeaderError           the Lease may no longer be ours, so we may not write
KubeError                the API server refused, failed, or couldn't be reached
├── KindMissingError     it has no such kind now: a CRD isn't installed
├── NotFoundError        there is no such object
├── ConflictError        409: it exists, or has changed meanwhile
├── ForbiddenError       401, 403: we have no right to it, or an admission policy refused
├── NamespaceGoesError   403: a namespace that is being deleted admits no new object
├── InvalidError         400, 422: the object is wrong
├── TooLargeError        the response has more bytes than the caller allows
└── UnavailableError     429, 5xx or no response until the deadline; or the CRD of an owner is too new
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORDS_LIMIT = 1000
NOT_YET_KNOWN = "cannot find RESTMapping"
"""The API server says so of an owner whose CRD was created some seconds ago, where it checks rights on owners: it
learns new kinds within seconds."""


class NotLeaderError(Exception):
    """Another replica may be the leader, so the caller must stop."""


@dataclass(frozen=True)
class Call:
    """One call, in the words of a person."""

    verb: str
    kind: str
    name: str  # with its namespace; "" for a list

    def __str__(self) -> str:
        return " ".join(part for part in (self.verb, self.kind, self.name) if part)


class KubeError(Exception):
    """Names the call, and gives the API server's own words."""

    def __init__(self, call: Call, words: str, *, code: int | None = None, reason: str = "") -> None:
        result = f"{code} {reason}".strip() if code else "no answer"
        super().__init__(f"{call} failed ({result}): {words}")
        self.call, self.words, self.code, self.reason = call, words, code, reason


class KindMissingError(KubeError):
    pass


class NotFoundError(KubeError):
    pass


class TooLargeError(KubeError):
    pass


class ConflictError(KubeError):
    pass


class ForbiddenError(KubeError):
    pass


class NamespaceGoesError(KubeError):
    pass


class InvalidError(KubeError):
    pass


class UnavailableError(KubeError):
    pass


BY_CODE: Mapping[int, type[KubeError]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
    429: UnavailableError,
}


def error_of(call: Call, code: int, data: bytes) -> KubeError:
    """The error that a response of the API server means."""
    status = _status(data)
    words = status.get("message") or data.decode(errors="replace").strip()[:WORDS_LIMIT] or "it gave no words"
    meant = BY_CODE.get(code, UnavailableError if code >= 500 else KubeError)
    details = status.get("details") or {}
    if code == 403 and any(each.get("reason") == "NamespaceTerminating" for each in details.get("causes") or []):
        meant = NamespaceGoesError
    if code == 403 and NOT_YET_KNOWN in words:
        meant = UnavailableError
    # The response for a kind that isn't served names no object.
    if code == 404 and not details.get("name"):
        meant = KindMissingError
    return meant(call, words, code=code, reason=status.get("reason") or "")


def _status(data: bytes) -> dict[str, Any]:
    try:
        status = json.loads(data)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
