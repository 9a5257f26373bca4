"""gs://BUCKET/PATH: all objects below a path, or one object, of Google Cloud Storage."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.base import Digest, Listing, RemoteFile, listing_of_objects
from slipway_fetcher.sources.google import Tokens
from slipway_fetcher.web.call import Call
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

GOOGLE = "https://storage.googleapis.com"
PAGE = 1_000


class CloudStorage:
    """A path in a bucket. Each object is read in the generation that was listed."""

    def __init__(self, request: Request, settings: Settings, client: Client, patience: Patience) -> None:
        self._bucket, _, path = request.rest.partition("/")
        if not self._bucket:
            raise FetchError(Reason.INVALID, f"The URI {request.uri!r} has no bucket.", "Write gs://BUCKET/PATH.")
        self._request, self._path = request, path.strip("/")
        self._client, self._patience = client, patience
        self._endpoint = (request.endpoint or settings.get("STORAGE_EMULATOR_HOST") or GOOGLE).rstrip("/")
        self._tokens = Tokens(settings, client, patience)

    def resolve(self) -> Listing:
        found = [each for each in self._list() if not each.key.endswith("/")] or self._one()
        return listing_of_objects(found, self._request)

    def call(self, file: RemoteFile) -> Call:
        return self._call(f"/{quote(file.key, safe='')}", {"alt": "media", "generation": file.tag.partition(" ")[0]})

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        if file.digest:
            yield file.digest

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        return self._refused(status, repr(file.key))

    def _list(self) -> Iterator[RemoteFile]:
        prefix = f"{self._path}/" if self._path else ""
        query = {"prefix": prefix, "maxResults": str(PAGE)}
        while True:
            answer = ask(self._client, self._patience, self._call("", query))
            if not answer.is_success:
                raise self._refused(answer.status, f"bucket {self._bucket!r}")
            page = _object(answer)
            yield from (_file(item, prefix) for item in page.get("items", []))
            token = page.get("nextPageToken")
            if not token:
                return
            query = {**query, "pageToken": str(token)}

    def _one(self) -> list[RemoteFile]:
        """The path is that of an object."""
        if not self._path:
            return []
        answer = ask(self._client, self._patience, self._call(f"/{quote(self._path, safe='')}", {}))
        if answer.status == 404:
            return []
        if not answer.is_success:
            raise self._refused(answer.status, repr(self._path))
        folder, _, _ = self._path.rpartition("/")
        return [_file(_object(answer), f"{folder}/" if folder else "")]

    def _call(self, path: str, query: dict[str, str]) -> Call:
        url = f"{self._endpoint}/storage/v1/b/{quote(self._bucket, safe='')}/o{path}"
        return Call(f"{url}?{urlencode(query)}" if query else url, authorize=self._tokens.authorize)

    def _refused(self, status: int, what: str) -> FetchError:
        if status == 404:
            return FetchError(Reason.NOT_FOUND, f"{self._endpoint} has no {what} (HTTP 404).", "Correct the URI.")
        if status in (400, 401, 403):
            who = "the identity that was given" if self._tokens.has_identity else "requests without credentials"
            return FetchError(
                Reason.ACCESS_DENIED,
                f"{self._endpoint} refuses {who} for bucket {self._bucket!r} (HTTP {status}).",
                "Allow the service account storage.objects.list and storage.objects.get (Storage Object Viewer).",
            )
        return FetchError(
            Reason.FAILED, f"{self._endpoint} responds with HTTP {status}.", "Check the endpoint, or try again later."
        )


def _object(answer: Answer) -> dict[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise FetchError(Reason.FAILED, "The list of objects is not a JSON object.", "Check the endpoint.")
    return found


def _file(item: dict[str, Any], prefix: str) -> RemoteFile:
    """Objects that were composed of others have no MD5, but all have a CRC32C."""
    key, generation = str(item.get("name")), str(item.get("generation", ""))
    digest = None
    for field, algorithm in (("md5Hash", "md5"), ("crc32c", "crc32c")):
        try:
            if item.get(field) and not digest:
                digest = Digest(algorithm, base64.b64decode(str(item[field])).hex())
        except binascii.Error:
            continue
    return RemoteFile(key.removeprefix(prefix), key, int(item.get("size", 0)), f"{generation} {digest}", digest)
