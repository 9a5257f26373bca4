# Generated from runtime-image/slipway_runtime/oci/responses.py by `make generate`; do not edit.
"""What a registry's refusal means, in a sentence with the remedy."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from slipway_fetcher.oci.problem import RegistryError
from slipway_fetcher.oci.transport import Response

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 60.0  # seconds; a registry that wants longer is tried earlier, and asked a limited number of times
LONGEST_QUOTE = 300
FULL = re.compile(r'no space left|insufficient storage|disk full|quota|"Err":\s*28\b', re.IGNORECASE)

EXPLAINED = {
    401: ("{0} {2}", "Correct the user and the password in the Secret."),
    403: ("The credentials don't allow {1} in {0}", "Grant them the right to push there."),
    404: ("{0} doesn't exist", "Correct the name, or create the repository: some registries require that."),
    413: (
        "{0} refuses the size of a request",
        "Raise the limit of the proxy before the registry, such as nginx's client_max_body_size.",
    ),
}
"""{0}: the repository, {1}: what the request was for, {2}: what it says of the credentials."""


def is_temporary(response: Response) -> bool:
    return response.status in TEMPORARY and not _is_full(response)


def wait_before_retry(response: Response, now: datetime | None = None) -> float | None:
    """Returns the seconds of Retry-After; None without one."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT)


def refusal(response: Response, repository: str, *, doing: str, has_credentials: bool) -> RegistryError:
    """`repository`: with its registry; `doing`: what the request was for."""
    status, words = response.status, _words(response)
    which = "refuses the credentials" if has_credentials else "requires credentials, and none were given"
    if _is_full(response):
        message, remedy = "{0} has no room: the registry's storage or quota is full", "Free some of it."
    elif status in EXPLAINED:
        message, remedy = EXPLAINED[status]
    elif is_temporary(response):
        message, remedy = "{0} fails at {1}", "Try again later, or read the registry's log."
    else:
        message, remedy = "{0} refuses {1}", "Read the registry's log."
    message = message.format(repository, doing, which)
    said = f" It says: {words}" if words else ""
    return RegistryError(f"{message} (HTTP {status}).{said}", remedy, is_temporary=is_temporary(response))


def _is_full(response: Response) -> bool:
    if response.status == 507:
        return True
    return response.status in (400, 403, 413, 500, 503) and bool(FULL.search(_text(response)))


def _words(response: Response) -> str:
    """The registry's own error, as one line that can't be long."""
    try:
        errors = json.loads(response.content)["errors"]
        words = "; ".join(f"{each.get('code') or ''} {each.get('message') or ''}".strip() for each in errors)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""
    words = " ".join("".join(each if each.isprintable() else " " for each in words).split())
    return words[:LONGEST_QUOTE].rstrip(".") + "." if words else ""


def _text(response: Response) -> str:
    return response.content[:65536].decode(errors="replace")
