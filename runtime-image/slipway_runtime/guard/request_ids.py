"""Request ids: the client's where it is well formed, else a new one."""

import os
import re

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id_of(given: str | None) -> str:
    """Returns the client's id if it is safe in a header and in a log line; else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
