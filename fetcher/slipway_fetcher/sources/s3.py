"""s3://BUCKET/PATH: all objects below a path, or one object, of S3 or of a server that speaks its protocol."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.aws import UNRESERVED, Signer, error_of, keys_of, query_of
from slipway_fetcher.sources.base import Digest, Listing, RemoteFile, listing_of_objects
from slipway_fetcher.web.call import Call
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

PAGE = 1_000  # objects of one response; servers allow no more
MD5 = re.compile(r"[0-9a-f]{32}")
OF_PARTS = re.compile(r"[0-9a-f]{32}-(\d{1,5})")
WRONG_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException")


class S3:
    """A path in a bucket."""

    def __init__(self, request: Request, settings: Settings, client: Client, patience: Patience) -> None:
        bucket, _, path = request.rest.partition("/")
        if not bucket:
            raise FetchError(Reason.INVALID, f"The URI {request.uri!r} has no bucket.", "Write s3://BUCKET/PATH.")
        self._request, self._bucket, self._path = request, bucket, path.strip("/")
        self._client, self._patience = client, patience
        region = settings.get("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
        self._signer = Signer(keys_of(settings, client, patience, region), region)
        self._endpoint = request.endpoint or _endpoint(settings)
        wanted = settings.get("S3_USE_VIRTUAL_BUCKET").lower()
        self._by_host = wanted in ("1", "true") if self._endpoint else "." not in bucket

    def resolve(self) -> Listing:
        found = [each for each in self._list() if not each.key.endswith("/")] or self._one()
        return listing_of_objects(found, self._request, f"s3://{self._bucket}/{self._path}")

    def call(self, file: RemoteFile) -> Call:
        """Only as long as it is the object that was listed."""
        return self._call(file.key, headers={"If-Match": file.tag} if file.tag else {})

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        """By the ETag, where it is an MD5, or one of parts of equal size; then by the size of each part."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        answer = self._ask(self._call(file.key, method="HEAD", headers=headers))
        if not answer.is_success:
            return
        yield from _checksums(answer)
        tag = answer.headers.get("ETag", "").strip('"').lower()
        encryption = answer.headers.get("x-amz-server-side-encryption", "")
        if encryption.startswith("aws:kms") or "x-amz-server-side-encryption-customer-algorithm" in answer.headers:
            return  # then the ETag isn't computed from the content
        if MD5.fullmatch(tag):
            yield Digest("md5", tag)
        elif parts := OF_PARTS.fullmatch(tag):
            yield from self._of_parts(file, tag, int(parts[1]))

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        return self._refused(status, content, file.key)

    def _of_parts(self, file: RemoteFile, tag: str, number: int) -> Iterator[Digest]:
        first, size = self._part(file, 1), file.size or 0
        if not first:
            return
        if math.ceil(size / first) == number:
            sizes = [first] * (number - 1) + [size - first * (number - 1)]
            yield Digest("md5-parts", tag, tuple(sizes))
        sizes = [self._part(file, each + 1) for each in range(number)]
        if sum(sizes) == size:
            yield Digest("md5-parts", tag, tuple(sizes))

    def _part(self, file: RemoteFile, number: int) -> int:
        """Its size; 0 where the server doesn't know parts."""
        answer = self._ask(self._call(file.key, query={"partNumber": str(number)}, method="HEAD"))
        is_part = answer.is_success and "x-amz-mp-parts-count" in answer.headers
        return int(answer.headers.get("Content-Length", 0)) if is_part else 0

    # --- listing -----------------------------------------------------------------------------------------------------

    def _list(self) -> Iterator[RemoteFile]:
        prefix = f"{self._path}/" if self._path else ""
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url", "max-keys": str(PAGE)}
        while True:
            answer = self._ask(self._call("", query=query))
            if not answer.is_success:
                raise self._refused(answer.status, answer.content, prefix)
            page = _page(answer, self._request.uri)
            is_encoded = bool(page.findtext("{*}EncodingType"))
            for entry in page.iterfind("{*}Contents"):
                key = entry.findtext("{*}Key") or ""
                key = unquote_plus(key) if is_encoded else key
                size, tag = int(entry.findtext("{*}Size") or 0), entry.findtext("{*}ETag") or ""
                yield RemoteFile(key.removeprefix(prefix), key, size, tag)
            token = page.findtext("{*}NextContinuationToken")
            if page.findtext("{*}IsTruncated") != "true" or not token:
                return
            query = {**query, "continuation-token": token}

    def _one(self) -> list[RemoteFile]:
        """The path is that of an object."""
        if not self._path:
            return []
        answer = self._ask(self._call(self._path, method="HEAD"))
        if answer.status == 404:
            return []
        if not answer.is_success:
            raise self._refused(answer.status, answer.content, self._path)
        size, tag = int(answer.headers.get("Content-Length", 0)), answer.headers.get("ETag", "")
        return [RemoteFile(self._path.rpartition("/")[2], self._path, size, tag)]

    # --- requests ----------------------------------------------------------------------------------------------------

    def _call(
        self,
        key: str,
        *,
        query: dict[str, str] | None = None,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> Call:
        base = self._endpoint or f"https://s3.{self._signer.region}.amazonaws.com"
        path = quote(key, safe=f"/{UNRESERVED}")
        if self._by_host:
            parts = urlsplit(base)
            url = f"{parts.scheme}://{self._bucket}.{parts.netloc}/{path}"
        else:
            url = f"{base.rstrip('/')}/{self._bucket}/{path}"
        url += f"?{query_of(query)}" if query else ""
        return Call(url, method, headers or {}, authorize=self._signer.authorize)

    def _ask(self, call: Call) -> Answer:
        """Once more in the region that the response names, if the bucket is in another one."""
        answer = ask(self._client, self._patience, call)
        region = answer.headers.get("x-amz-bucket-region", "")
        if not answer.is_success and not region:
            code, named = error_of(answer.content)
            region = named if code in WRONG_REGION else ""
        if answer.is_success or not region or region == self._signer.region:
            return answer
        before, self._signer.region = self._signer.region, region
        url = call.url if self._endpoint else call.url.replace(f"s3.{before}.", f"s3.{region}.", 1)
        return ask(self._client, self._patience, Call(url, call.method, call.headers, authorize=call.authorize))

    def _refused(self, status: int, content: bytes, key: str) -> FetchError:
        code = error_of(content)[0]
        shows = f"HTTP {status}, {code}" if code else f"HTTP {status}"
        server = self._endpoint or "S3"
        if status == 404:
            what = (
                f"bucket {self._bucket!r}"
                if code == "NoSuchBucket" or not key
                else f"{key!r} in bucket {self._bucket!r}"
            )
            return FetchError(Reason.NOT_FOUND, f"{server} has no {what} ({shows}).", "Correct the URI.")
        if status in (400, 401, 403):
            who = "the credentials that were given" if self._signer.has_keys else "requests without credentials"
            remedy = "Correct the keys in the Secret, and allow them to list the bucket and to read its objects."
            if code == "RequestTimeTooSkewed":
                remedy = "Correct the node's clock: signatures are valid for minutes only."
            return FetchError(
                Reason.ACCESS_DENIED, f"{server} refuses {who} for bucket {self._bucket!r} ({shows}).", remedy
            )
        return FetchError(Reason.FAILED, f"{server} responds with {shows}.", "Check the endpoint, or read its log.")


def _endpoint(settings: Settings) -> str:
    """Empty: AWS. The last one is as KServe's Secrets have it, without a scheme."""
    if found := settings.get("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        return found
    host = settings.get("S3_ENDPOINT")
    if not host or "://" in host:
        return host
    return f"{'http' if settings.get('S3_USE_HTTPS') == '0' else 'https'}://{host}"


def _checksums(answer: Answer) -> Iterator[Digest]:
    """Those of the whole object that this program can compute."""
    if answer.headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return
    for name, algorithm in (("x-amz-checksum-sha256", "sha256"), ("x-amz-checksum-crc32", "crc32")):
        text = answer.headers.get(name, "")
        if text and "-" not in text:
            yield Digest(algorithm, base64.b64decode(text).hex())


def _page(answer: Answer, uri: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(answer.content)
    except ElementTree.ParseError as error:
        raise FetchError(
            Reason.FAILED,
            f"The list of {uri} is not XML.",
            "Check that the endpoint is one of an S3 server, and not that of its console.",
        ) from error
