"""az://ACCOUNT/CONTAINER/PATH: all blobs below a path, or one blob, of Azure Blob Storage."""

from __future__ import annotations

import base64
import binascii
import hmac
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings, read
from slipway_fetcher.sources.base import Digest, Listing, RemoteFile, listing_of_objects
from slipway_fetcher.web.call import Call
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

VERSION = "2021-12-02"  # of the protocol
LOGIN = "https://login.microsoftonline.com"
RENEWED_BEFORE = 300.0  # seconds
PAGE = 1_000


class BlobStorage:
    """A path in a container."""

    def __init__(self, request: Request, settings: Settings, client: Client, patience: Patience) -> None:
        self._account, _, rest = request.rest.partition("/")
        self._container, _, path = rest.partition("/")
        if not self._account or not self._container:
            raise FetchError(
                Reason.INVALID, f"The URI {request.uri!r} has no container.", "Write az://ACCOUNT/CONTAINER/PATH."
            )
        self._request, self._path = request, path.strip("/")
        self._client, self._patience = client, patience
        usual = f"https://{self._account}.blob.core.windows.net"
        self._endpoint = (request.endpoint or settings.get("AZURE_STORAGE_ENDPOINT") or usual).rstrip("/")
        self._identity = Identity(self._account, settings, client, patience)

    def resolve(self) -> Listing:
        found = [each for each in self._list() if not each.key.endswith("/")] or self._one()
        return listing_of_objects(found, self._request)

    def call(self, file: RemoteFile) -> Call:
        """Only as long as it is the blob that was listed."""
        return self._call(f"/{quote(file.key)}").with_headers(If_Match=file.tag)

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        """An MD5, if the program that stored the blob has computed one."""
        if file.digest:
            yield file.digest

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        return self._refused(status, content, repr(file.key))

    def _list(self) -> Iterator[RemoteFile]:
        prefix = f"{self._path}/" if self._path else ""
        query = {"restype": "container", "comp": "list", "prefix": prefix, "maxresults": str(PAGE)}
        while True:
            answer = ask(self._client, self._patience, self._call("", query))
            if not answer.is_success:
                raise self._refused(answer.status, answer.content, f"container {self._container!r}")
            page = _page(answer)
            for blob in page.iterfind("Blobs/Blob"):
                yield _file(blob, prefix)
            marker = page.findtext("NextMarker")
            if not marker:
                return
            query = {**query, "marker": marker}

    def _one(self) -> list[RemoteFile]:
        """The path is that of a blob."""
        if not self._path:
            return []
        call = self._call(f"/{quote(self._path)}")
        answer = ask(self._client, self._patience, Call(call.url, "HEAD", call.headers, authorize=call.authorize))
        if answer.status == 404:
            return []
        if not answer.is_success:
            raise self._refused(answer.status, answer.content, repr(self._path))
        headers = answer.headers
        size, digest = int(headers.get("Content-Length", 0)), _md5(headers.get("Content-MD5"))
        return [RemoteFile(self._path.rpartition("/")[2], self._path, size, headers.get("ETag", ""), digest)]

    def _call(self, path: str, query: Mapping[str, str] | None = None) -> Call:
        url = f"{self._endpoint}/{quote(self._container)}{path}"
        parameters = "&".join(each for each in (urlencode(query) if query else "", self._identity.signature) if each)
        url = f"{url}?{parameters}" if parameters else url
        return Call(url, headers={"x-ms-version": VERSION}, authorize=self._identity.authorize)

    def _refused(self, status: int, content: bytes, what: str) -> FetchError:
        code = _code(content)
        shows = f"HTTP {status}, {code}" if code else f"HTTP {status}"
        if status == 404 and (self._identity.is_given or code not in ("", "ResourceNotFound")):
            return FetchError(Reason.NOT_FOUND, f"{self._endpoint} has no {what} ({shows}).", "Correct the URI.")
        if status in (400, 401, 403, 404, 409):  # without credentials, a private container is a 404 or a 409
            who = "the credentials that were given" if self._identity.is_given else "requests without credentials"
            return FetchError(
                Reason.ACCESS_DENIED,
                f"{self._endpoint} refuses {who} for container {self._container!r} ({shows}).",
                "Store AZURE_STORAGE_ACCESS_KEY or AZURE_STORAGE_SAS_TOKEN in the Secret, or let the pod's identity "
                "read blobs (Storage Blob Data Reader).",
            )
        return FetchError(Reason.FAILED, f"{self._endpoint} responds with {shows}.", "Check the endpoint.")


class Identity:
    """A key of the account, a shared access signature, or a token for an application: of the pod, or with a secret."""

    def __init__(self, account: str, settings: Settings, client: Client, patience: Patience) -> None:
        self._account, self._settings, self._client, self._patience = account, settings, client, patience
        self._key = _decoded(settings.credential("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY"))
        self.signature = "" if self._key else settings.credential("AZURE_STORAGE_SAS_TOKEN").lstrip("?")
        self._tenant, self._application = settings.credential("AZURE_TENANT_ID"), settings.credential("AZURE_CLIENT_ID")
        has_application = bool(self._tenant and self._application) and not self._key and not self.signature
        self._has_application = has_application
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    @property
    def is_given(self) -> bool:
        return bool(self._key or self.signature or self._has_application)

    def authorize(self, method: str, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        if self._key:
            added = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True)}
            text = string_to_sign(method, url, {**headers, **added}, self._account)
            signature = base64.b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
            return {**added, "Authorization": f"SharedKey {self._account}:{signature}"}
        if not self._has_application:
            return {}
        with self._lock:
            if time.monotonic() > self._until:
                self._renew()
        return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        host = (self._settings.get("AZURE_AUTHORITY_HOST") or LOGIN).rstrip("/")
        form = {"grant_type": "client_credentials", "client_id": self._application} | self._proof()
        form["scope"] = "https://storage.azure.com/.default"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = f"{host}/{quote(self._tenant)}/oauth2/v2.0/token"
        answer = ask(self._client, self._patience, Call(url, "POST", headers, urlencode(form).encode()))
        found: Any = answer.json() if answer.is_success else {}
        if not isinstance(found, dict) or not isinstance(found.get("access_token"), str):
            raise FetchError(
                Reason.ACCESS_DENIED,
                f"{host} gives no token for the application {self._application} (HTTP {answer.status}).",
                "Correct the application's secret, or its federated credential for the pod's ServiceAccount.",
            )
        self._token = found["access_token"]
        self._until = time.monotonic() + max(float(found.get("expires_in") or 0) - RENEWED_BEFORE, 1.0)

    def _proof(self) -> dict[str, str]:
        if file := self._settings.credential("AZURE_FEDERATED_TOKEN_FILE"):
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            return {"client_assertion_type": kind, "client_assertion": read(Path(file))}
        return {"client_secret": self._settings.credential("AZURE_CLIENT_SECRET")}


def string_to_sign(method: str, url: str, headers: Mapping[str, str], account: str) -> str:
    """What a key of an account signs: the method, some headers, all of x-ms-, and the resource."""
    lower = {name.lower(): text for name, text in headers.items()}
    parts = urlsplit(url)
    standard = ("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")
    own = sorted(name for name in lower if name.startswith("x-ms-"))
    pairs = [each.partition("=") for each in parts.query.split("&") if each]
    query = sorted((unquote(name).lower(), unquote(text.replace("+", " "))) for name, _, text in pairs)
    lines = [method, "", "", "", "", "", "", *(lower.get(name, "") for name in standard)]
    lines += [f"{name}:{lower[name]}" for name in own]
    lines += [f"/{account}{parts.path}", *(f"{name}:{text}" for name, text in query)]
    return "\n".join(lines)


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except binascii.Error as error:
        raise FetchError(
            Reason.ACCESS_DENIED,
            "AZURE_STORAGE_ACCESS_KEY is not a key of a storage account.",
            "Copy the key again; it is in base 64.",
        ) from error


def _file(blob: ElementTree.Element, prefix: str) -> RemoteFile:
    key = blob.findtext("Name") or ""
    size, tag = int(blob.findtext("Properties/Content-Length") or 0), blob.findtext("Properties/Etag") or ""
    quoted = tag if tag.startswith('"') else f'"{tag}"'
    return RemoteFile(key.removeprefix(prefix), key, size, quoted, _md5(blob.findtext("Properties/Content-MD5")))


def _md5(text: str | None) -> Digest | None:
    try:
        return Digest("md5", base64.b64decode(text).hex()) if text else None
    except binascii.Error:
        return None


def _page(answer: Answer) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(answer.content.lstrip(b"\xef\xbb\xbf"))
    except ElementTree.ParseError as error:
        raise FetchError(Reason.FAILED, "The list of blobs is not XML.", "Check the endpoint.") from error


def _code(content: bytes) -> str:
    """Of an error; nothing else of it, since its text repeats what was signed."""
    try:
        return (ElementTree.fromstring(content.lstrip(b"\xef\xbb\xbf")).findtext("Code") or "")[:80]
    except ElementTree.ParseError:
        return ""
