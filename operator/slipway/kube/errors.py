"""What can go wrong in a call to the API server, as a tree:

NotLeaderError           the lease isn't surely ours, so nothing may be written
KubeError                the API server refused, failed, or couldn't be reached
├── KindMissingError     it has no such kind (now): a CRD isn't installed
├── NotFoundError        there is no such object
├── ConflictError        409: it exists, or has changed meanwhile
├── ForbiddenError       401, 403: we may not, or an admission policy refused
├── NamespaceGoesError   403: nothing new is taken into a namespace that is being deleted
├── InvalidError         400, 422: the object is wrong
├── TooLargeError        the answer has more bytes than whoever asked would read
└── UnavailableError     429, 5xx or no answer, for as long as was tried; or our kinds are too new
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORDS_LIMIT = 1000
NOT_YET_KNOWN = "cannot find RESTMapping"
"""Said of an owner whose CRD came some seconds ago, where the API server checks rights on owners. It learns soon."""


class NotLeaderError(Exception):
    """Another replica may be the leader; whoever asked has to stop."""


@dataclass(frozen=True)
class Call:
    """What was asked, as a person would say it."""

    verb: str
    kind: str
    name: str  # with its namespace; "" for a list

    def __str__(self) -> str:
        return " ".join(part for part in (self.verb, self.kind, self.name) if part)


class KubeError(Exception):
    """Says what was asked, and the API server's own words."""

    def __init__(self, call: Call, words: str, *, code: int | None = None, reason: str = "") -> None:
        told = f"{code} {reason}".strip() if code else "no answer"
        super().__init__(f"{call} failed ({told}): {words}")
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
    """The error that an answer of the API server means."""
    status = _status(data)
    words = status.get("message") or data.decode(errors="replace").strip()[:WORDS_LIMIT] or "it gave no words"
    meant = BY_CODE.get(code, UnavailableError if code >= 500 else KubeError)
    details = status.get("details") or {}
    if code == 403 and any(each.get("reason") == "NamespaceTerminating" for each in details.get("causes") or []):
        meant = NamespaceGoesError
    if code == 403 and NOT_YET_KNOWN in words:
        meant = UnavailableError
    # The path of a kind that isn't served is answered without the name of any object.
    if code == 404 and not details.get("name"):
        meant = KindMissingError
    return meant(call, words, code=code, reason=status.get("reason") or "")


def _status(data: bytes) -> dict[str, Any]:
    try:
        status = json.loads(data)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
