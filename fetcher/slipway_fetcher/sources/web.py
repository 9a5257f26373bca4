"""https://HOST/PATH: one file of an HTTPS server, or an archive of them. `#sha256=…` says what it must be."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from urllib.parse import unquote, urldefrag, urlsplit

from slipway_fetcher.problem import FetchError, Reason, TemporaryError
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.base import Digest, Listing, RemoteFile, checked
from slipway_fetcher.web.call import Authorize, Call, shown
from slipway_fetcher.web.client import Client, Response
from slipway_fetcher.web.repeating import Patience

ARCHIVE = re.compile(r"\.(tar|tar\.gz|tgz|tar\.bz2|tar\.xz|zip)$", re.IGNORECASE)
CHECKSUM = re.compile(r"sha256=([0-9a-fA-F]{64})")
TOTAL = re.compile(r"bytes 0-0/(\d+)")


class Website:
    """One URL."""

    def __init__(self, request: Request, settings: Settings, client: Client, patience: Patience) -> None:
        self._url, fragment = urldefrag(request.uri)
        checksum = CHECKSUM.fullmatch(fragment)
        if fragment and not checksum:
            raise FetchError(
                Reason.INVALID,
                f"The part {'#' + fragment[:80]!r} of the URI is invalid.",
                "Write #sha256= and 64 digits.",
            )
        self._digest = Digest("sha256", checksum[1].lower()) if checksum else None
        self._name = unquote(urlsplit(self._url).path.rstrip("/").rpartition("/")[2])
        if not self._name:
            raise FetchError(Reason.INVALID, f"The URI {request.uri!r} names no file.", "Write https://HOST/PATH.")
        self._client, self._patience = client, patience
        self._authorize = _headers(settings, urlsplit(self._url).netloc)

    def resolve(self) -> Listing:
        return self._patience.repeat(self._probe)

    def _probe(self) -> Listing:
        """The first byte alone: unlike HEAD, a URL that is signed for GET allows that."""
        call = self._call(Range="bytes=0-0")
        with self._client.send(call) as response:
            if response.status == 416:  # an empty file has no first byte
                size: int | None = 0
            elif response.status not in (200, 206):
                raise self._refused(response.status)
            else:
                size = _size(response)
        tag = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
        if self._digest:
            tag = str(self._digest)
        unpack = "archive" if ARCHIVE.search(self._name) else ""
        files = checked([RemoteFile(self._name, self._name, size, f"{tag} {size}", self._digest, unpack)])
        version = (
            self._digest.value if self._digest else hashlib.sha256(f"{self._url}\n{files[0].tag}".encode()).hexdigest()
        )
        return Listing(version, files)

    def call(self, file: RemoteFile) -> Call:
        tag = file.tag.rpartition(" ")[0]
        return self._call(If_Match=tag) if re.fullmatch(r'"[^"]+"', tag) else self._call()

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        if self._digest:
            yield self._digest

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        return self._refused(status)

    def _call(self, **headers: str) -> Call:
        return Call(self._url, authorize=self._authorize).with_headers(**headers)

    def _refused(self, status: int) -> FetchError:
        url = shown(self._url)
        if status in (404, 410):
            return FetchError(Reason.NOT_FOUND, f"There is nothing at {url} (HTTP {status}).", "Correct the URI.")
        if status in (401, 403):
            given = "the headers that were given" if self._authorize else "requests without credentials"
            return FetchError(
                Reason.ACCESS_DENIED,
                f"{url} refuses {given} (HTTP {status}).",
                'Store the headers that it requires in the Secret, as `headers`: {"Authorization": "Bearer …"}.',
            )
        return FetchError(Reason.FAILED, f"{url} responds with HTTP {status}.", "Check the URI, or try again later.")


def _size(response: Response) -> int | None:
    if response.status == 206:
        found = TOTAL.fullmatch(response.headers.get("Content-Range", "").strip())
        if not found:
            raise TemporaryError(f"{response.call.origin} sent another range than was requested")
        return int(found[1])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _headers(settings: Settings, host: str) -> Authorize | None:
    """From the Secret, as KServe has them: `headers` in JSON, and `https-host` if they are for one host only."""
    text, only_for = settings.credential("headers"), settings.get("https-host")
    if not text or (only_for and only_for != host):
        return None
    try:
        found = {str(name): str(value) for name, value in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise FetchError(
            Reason.ACCESS_DENIED,
            "`headers` in the Secret is not a JSON object.",
            'Write it as {"Authorization": "Bearer …"}.',
        ) from error
    return lambda _method, _url, _headers: found
