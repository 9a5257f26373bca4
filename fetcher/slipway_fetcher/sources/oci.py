"""oci://REGISTRY/REPOSITORY:TAG or @DIGEST: an image with a model below /models, or an artifact of files."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from typing import Any

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.base import Digest, Listing, RemoteFile, checked, no_files
from slipway_fetcher.sources.registries import NAMES_OF_HUB, Authorization, login_of
from slipway_fetcher.web.call import Call
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

REFERENCE = re.compile(
    r"(?P<registry>[A-Za-z0-9.-]+(?::\d+)?)/(?P<repository>[a-z0-9][a-z0-9._/-]*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
TITLE = "org.opencontainers.image.title"
LAYER = re.compile(r"application/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\..*tar(\+gzip|\.gzip)?")
EMPTY = "application/vnd.oci.empty.v1+json"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Image:
    """One tag or digest of a repository."""

    def __init__(self, request: Request, settings: Settings, client: Client, patience: Patience) -> None:
        found = REFERENCE.fullmatch(request.rest)
        if not found:
            raise FetchError(
                Reason.INVALID,
                f"The URI {request.uri!r} is not an image.",
                "Write oci://REGISTRY/REPOSITORY:TAG or, better, oci://REGISTRY/REPOSITORY@sha256:DIGEST.",
            )
        registry = found["registry"]
        self._request, self._repository = request, found["repository"]
        self._reference = found["digest"] or found["tag"] or "latest"
        self._client, self._patience = client, patience
        host = "registry-1.docker.io" if registry in NAMES_OF_HUB else registry
        self._endpoint = (request.endpoint or f"https://{host}").rstrip("/")
        login = login_of(settings, registry, self._repository)
        self._authorization = Authorization(self._repository, login, client, patience)

    def resolve(self) -> Listing:
        manifest, digest = self._manifest(self._reference)
        if manifest.get("mediaType") in INDEXES or "manifests" in manifest:
            manifest, digest = self._manifest(_of_this_machine(manifest, self._request.uri))
        layers = [layer for layer in _layers(manifest) if layer.get("mediaType") != EMPTY]
        files = checked(_file(number, layer, self._request.uri) for number, layer in enumerate(layers))
        wanted = tuple(file for file in files if file.unpack or self._request.wants(file.path))
        if not wanted:
            raise no_files(self._request.uri, self._request.files, [file.path for file in files])
        return Listing(digest, wanted)

    def call(self, file: RemoteFile) -> Call:
        return self._call(f"blobs/{file.key}")

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        if file.digest:
            yield file.digest

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        return self._refused(status, "a layer of the image")

    def _manifest(self, reference: str) -> tuple[dict[str, Any], str]:
        """The manifest and its digest, which is compared with the one that was requested."""
        call = self._call(f"manifests/{reference}").with_headers(Accept=", ".join((*MANIFESTS, *INDEXES)))
        answer = ask(self._client, self._patience, call)
        if answer.status == 401 and self._authorization.meets(answer):
            answer = ask(self._client, self._patience, call)
        if not answer.is_success:
            raise self._refused(answer.status, f"the image {reference}")
        digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        if reference.startswith("sha256:") and reference != digest:
            raise FetchError(
                Reason.CORRUPT,
                f"The manifest {reference} of {self._repository} has another digest, {digest}.",
                "Check the registry, and proxies and mirrors on the way.",
            )
        return _object(answer), digest

    def _call(self, path: str) -> Call:
        return Call(f"{self._endpoint}/v2/{self._repository}/{path}", authorize=self._authorization.authorize)

    def _refused(self, status: int, what: str) -> FetchError:
        if status == 404:
            return FetchError(
                Reason.NOT_FOUND,
                f"{self._endpoint} has not got {what} in {self._repository}.",
                "Correct the URI, or push the image.",
            )
        if status in (401, 403):
            given = "the credentials" if self._authorization.has_login else "requests without credentials"
            return FetchError(
                Reason.ACCESS_DENIED,
                f"{self._endpoint} refuses {given} for {self._repository} (HTTP {status}).",
                "Store credentials that may pull it in the Secret: `kubectl create secret docker-registry`.",
            )
        return FetchError(Reason.FAILED, f"{self._endpoint} responds with HTTP {status}.", "Read the registry's log.")


def _object(answer: Answer) -> dict[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise FetchError(Reason.FAILED, "The registry's manifest is not a JSON object.", "Check the registry.")
    return found


def _of_this_machine(index: dict[str, Any], uri: str) -> str:
    """Models don't depend on it, but an index may have only one that isn't an attestation."""
    entries = [each for each in index.get("manifests", []) if isinstance(each, dict)]
    images = [each for each in entries if each.get("platform", {}).get("architecture") != "unknown"]
    own = MACHINES.get(platform.machine(), platform.machine())
    fitting = [each for each in images if each.get("platform", {}).get("architecture") == own] or images
    digest = str(fitting[0].get("digest")) if fitting else ""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise FetchError(Reason.NOT_FOUND, f"{uri} is an index without an image.", "Push the image again.")
    return digest


def _layers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found = manifest.get("layers")
    if not isinstance(found, list) or not all(isinstance(layer, dict) for layer in found):
        raise FetchError(
            Reason.CORRUPT,
            f"The manifest has no layers: {json.dumps(manifest)[:200]}",
            "Push the image in OCI's or Docker's second format.",
        )
    return found


def _file(number: int, layer: dict[str, Any], uri: str) -> RemoteFile:
    """A layer with a title is a file; any other one is an archive with files below models/."""
    digest, size, kind = str(layer.get("digest")), layer.get("size"), str(layer.get("mediaType"))
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not isinstance(size, int):
        raise FetchError(Reason.CORRUPT, f"{uri} has a layer without a SHA-256.", "Push the image again.")
    known = Digest("sha256", digest.removeprefix("sha256:"))
    title = (layer.get("annotations") or {}).get(TITLE)
    if title and not LAYER.fullmatch(kind):
        return RemoteFile(str(title), digest, size, digest, known)
    if not LAYER.fullmatch(kind):
        raise FetchError(
            Reason.INVALID,
            f"{uri} has a layer of the type {kind[:100]!r}, which can't be unpacked.",
            "Push the image with layers that are uncompressed, or compressed by gzip.",
        )
    return RemoteFile(f"{number:04d}.tar", digest, size, digest, known, unpack="layer")
