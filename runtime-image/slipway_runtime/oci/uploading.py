"""Uploads of blobs: at once, because every registry can do that; in pieces where a proxy limits the size of a request,
and from a size on at which it would take long to start again.

A broken upload in pieces goes on where the registry says that it is; one at once starts again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from slipway_runtime.oci.image import Blob
from slipway_runtime.oci.problem import RegistryError
from slipway_runtime.oci.registry import Registry
from slipway_runtime.oci.responses import is_temporary
from slipway_runtime.oci.transport import Body, ConnectionFailedError, Response

AT_ONCE = 1 << 30  # bytes; a larger blob is sent in pieces first
PIECES = (64 << 20, 16 << 20, 4 << 20, 1 << 19)  # bytes of one request, the next if one is too large
OCTETS = "application/octet-stream"


NOT_LIKE_THIS = (405, 413, 501)


class NotLikeThisError(Exception):
    """A request was larger than the registry, or a proxy, accepts; or it accepts no pieces."""

    def __init__(self, response: Response) -> None:
        super().__init__(str(response.status))
        self.response = response


def upload(registry: Registry, blob: Blob) -> bool:
    """Returns False if the registry has it already."""
    found = registry.send("HEAD", f"blobs/{blob.digest}")
    if found.status == 200:
        return False
    if found.status != 404:
        raise registry.refusal(found, "the search for a blob")
    pieces = [size for size in PIECES if size < blob.size]
    sizes = [None, *pieces] if blob.size <= AT_ONCE else [*pieces, None]
    for size in sizes:
        try:
            _repeat(registry, _at_once(registry, blob) if size is None else _in_pieces(registry, blob, size))
        except NotLikeThisError as error:
            if size == sizes[-1]:
                raise registry.refusal(error.response, "an upload") from error
        else:
            return True
    return True


def _repeat(registry: Registry, attempt: Callable[[], Response]) -> None:
    """One session after another, until one of them succeeds or is refused."""
    for number in range(registry.tries):
        is_last = number == registry.tries - 1
        try:
            response = attempt()
        except ConnectionFailedError as error:
            if is_last:
                raise registry.unreachable(error) from error
            registry.pause(number)
            continue
        if response.is_success:
            return
        if response.status in NOT_LIKE_THIS:
            raise NotLikeThisError(response)
        # A session that has ended in between: 404 of the upload, not of the repository.
        if is_last or not (is_temporary(response) or response.status in (404, 416)):
            raise registry.refusal(response, "an upload")
        registry.pause(number, response)


def _started(registry: Registry) -> tuple[str, Response]:
    """The location of a new session."""
    response = registry.send("POST", "blobs/uploads/")
    if response.status != 202 or not response.headers.get("Location"):
        raise registry.refusal(response, "an upload")
    return registry.location(registry.root, response.headers["Location"]), response


def _at_once(registry: Registry, blob: Blob) -> Callable[[], Response]:
    def attempt() -> Response:
        location, _ = _started(registry)
        body = Body(blob.size, blob.read)
        return registry.send(
            "PUT", _with_digest(location, blob), headers={"Content-Type": OCTETS}, body=body, once=True
        )

    return attempt


def _in_pieces(registry: Registry, blob: Blob, size: int) -> Callable[[], Response]:
    def attempt() -> Response:
        location, response = _started(registry)
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        piece = max(size, int(least[:12])) if least.isdecimal() else size
        start = failures = 0
        while start < blob.size:
            before = start
            response, location, start = _piece(registry, blob, location, start, piece)
            if not response.is_success:
                return response
            failures = failures + 1 if start <= before else 0
            if failures == registry.tries:
                raise ConnectionFailedError(f"of {blob.size:,} bytes, none arrive after the first {start:,}")
        return registry.send("PUT", _with_digest(location, blob), headers={"Content-Type": OCTETS}, once=True)

    return attempt


def _piece(registry: Registry, blob: Blob, location: str, start: int, size: int) -> tuple[Response, str, int]:
    """Sends one; returns the response, and where and from which byte on to go on."""
    size = min(size, blob.size - start)
    headers = {"Content-Type": OCTETS, "Content-Range": f"{start}-{start + size - 1}"}
    body = Body(size, lambda: blob.read(start, size))
    try:
        response = registry.send("PATCH", location, headers=headers, body=body, once=True)
    except ConnectionFailedError:
        response = None
    if response and response.is_success:
        return response, _next_location(registry, location, response), start + size
    if response and response.status != 416 and not is_temporary(response):
        return response, location, start
    registry.pause(0, response)
    state = registry.send("GET", location)
    if not state.is_success:
        return state, location, start
    return state, _next_location(registry, location, state), _received(state)


def _next_location(registry: Registry, location: str, response: Response) -> str:
    return registry.location(location, response.headers.get("Location") or location)


def _received(response: Response) -> int:
    """Range: 0-LAST of what the registry has; 0-0 is what some say of nothing, and then one byte is sent again."""
    found = re.fullmatch(r"(?:bytes=)?0-(\d{1,15})", response.headers.get("Range", ""))
    if found is None:
        raise RegistryError("The registry doesn't say how much of an upload it has.", "Push again.")
    return int(found[1]) + 1 if int(found[1]) else 0


def _with_digest(location: str, blob: Blob) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={quote(blob.digest, safe='')}"
