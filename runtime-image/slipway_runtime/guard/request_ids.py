"""Request ids: taken from the request where they are well formed, made where not."""

import os
import re

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id_of(given: str | None) -> str:
    """The client's, if it can stand in a header and in a line of a log."""
    return given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
