"""mlflow://models:/NAME/VERSION or @ALIAS: a version in an MLflow registry, whose files are in a store of their own.

The registry says where: in S3 or another store that this program knows, or at the server itself, which passes them on
from a store that only it can read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.base import Digest, Listing, RemoteFile, Source, wanted
from slipway_fetcher.web.call import Authorize, Call, bearer
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/]+))")
RUN = re.compile(r"runs:/(?P<run>[^/]+)/?(?P<path>.*)")
LOGGED = re.compile(r"models:/(?P<model>m-[^/]+)/?(?P<path>.*)")
PROXIED = re.compile(r"mlflow-artifacts:/(?:/[^/]*)?/?(?P<path>.*)")
STORES = ("s3://", "gs://", "az://")
DEEPEST = 20  # folders
SourceOf = Callable[[Request, Settings, Client, Patience], Source]


class ModelRegistry:
    """One version of a registered model."""

    def __init__(
        self, request: Request, settings: Settings, client: Client, patience: Patience, source_of: SourceOf
    ) -> None:
        found = MODEL.fullmatch(request.rest)
        endpoint = request.endpoint or settings.get("MLFLOW_TRACKING_URI")
        if not found or not endpoint:
            raise FetchError(
                Reason.INVALID,
                f"The URI {request.uri!r} isn't a version of a model."
                if not found
                else "The address of the MLflow server is missing.",
                "Write mlflow://models:/NAME/VERSION or mlflow://models:/NAME@ALIAS."
                if not found
                else "Set spec.model.endpoint, or MLFLOW_TRACKING_URI in the Secret, such as https://mlflow.example.com.",
            )
        self._request, self._settings, self._source_of = request, settings, source_of
        self._name, self._version, self._alias = found["name"], found["version"], found["alias"]
        self._api = Api(endpoint.rstrip("/"), authorize_by(settings), client, patience)
        self._inner: Source | None = None

    def resolve(self) -> Listing:
        version = self._version or self._aliased()
        answer = self._api.get("model-versions/get-download-uri", name=self._name, version=version)
        location = str(self._checked(answer, f"version {version}").get("artifact_uri", ""))
        self._inner = self._store(self._located(location))
        listing = self._inner.resolve()
        return Listing(f"models:/{self._name}/{version} {listing.version}", listing.files)

    def call(self, file: RemoteFile) -> Call:
        return self._resolved.call(file)

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        return self._resolved.digests(file)

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        return self._resolved.refusal(file, status, content)

    @property
    def _resolved(self) -> Source:
        if self._inner is None:
            raise RuntimeError("resolve() comes first")
        return self._inner

    def _aliased(self) -> str:
        answer = self._api.get("registered-models/alias", name=self._name, alias=self._alias)
        found = self._checked(answer, f"alias {self._alias!r}").get("model_version", {})
        return str(found.get("version", ""))

    def _located(self, uri: str) -> str:
        """Where the files are: a version is often registered by the run or the logged model that has made it."""
        if run := RUN.fullmatch(uri):
            answer = self._api.get("runs/get", run_id=run["run"])
            info = self._checked(answer, f"run {run['run']}").get("run", {}).get("info", {})
            return _below(str(info.get("artifact_uri", "")), run["path"])
        if logged := LOGGED.fullmatch(uri):
            answer = self._api.get(f"logged-models/{quote(logged['model'], safe='')}")
            info = self._checked(answer, f"logged model {logged['model']}").get("model", {}).get("info", {})
            return _below(str(info.get("artifact_uri", "")), logged["path"])
        return uri

    def _store(self, uri: str) -> Source:
        if proxied := PROXIED.fullmatch(uri):
            return ProxiedArtifacts(self._request, proxied["path"], self._api)
        if uri.startswith(STORES):
            inner = Request(uri, files=self._request.files)
            return self._source_of(inner, self._settings, self._api.client, self._api.patience)
        raise FetchError(
            Reason.INVALID,
            f"The files of {self._request.uri} are at {uri.partition('?')[0][:200]!r}, which can't be fetched.",
            f"Register a version whose artifacts are in {', '.join(STORES)}, or start MLflow with --serve-artifacts.",
        )

    def _checked(self, answer: Answer, what: str) -> dict[str, Any]:
        return self._api.checked(answer, f"{what} of model {self._name!r}")


class Api:
    """MLflow's REST API."""

    def __init__(self, endpoint: str, authorize: Authorize | None, client: Client, patience: Patience) -> None:
        self.endpoint, self._authorize, self.client, self.patience = endpoint, authorize, client, patience

    def get(self, path: str, **query: str) -> Answer:
        return ask(self.client, self.patience, self.call(f"mlflow/{path}", query))

    def call(self, path: str, query: Mapping[str, str] | None = None) -> Call:
        url = f"{self.endpoint}/api/2.0/{path}"
        return Call(f"{url}?{urlencode(query)}" if query else url, authorize=self._authorize)

    def checked(self, answer: Answer, what: str) -> dict[str, Any]:
        """The object of a successful response. An unknown alias is a 400 there."""
        if answer.is_success:
            found = answer.json()
            if isinstance(found, dict):
                return found
        raise self.refused(answer.status, answer.content, what)

    def refused(self, status: int, content: bytes, what: str) -> FetchError:
        if status == 404 or (status == 400 and b"INVALID_PARAMETER_VALUE" in content):
            return FetchError(
                Reason.NOT_FOUND,
                f"The MLflow server {self.endpoint} has no {what}.",
                "Correct the URI, or register it.",
            )
        if status == 403 and b"Invalid Host header" in content:
            return FetchError(
                Reason.ACCESS_DENIED,
                f"The MLflow server refuses requests that call it {urlsplit(self.endpoint).netloc} (HTTP 403).",
                "Allow that host by the server's option --allowed-hosts, or use a name in `endpoint` that it allows.",
            )
        if status in (401, 403):
            given = "the credentials" if self._authorize else "requests without credentials"
            return FetchError(
                Reason.ACCESS_DENIED,
                f"The MLflow server {self.endpoint} refuses {given} (HTTP {status}).",
                "Store MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, in the Secret.",
            )
        return FetchError(
            Reason.FAILED,
            f"{self.endpoint} responds with HTTP {status} to a request for {what}.",
            "Check that the address is that of an MLflow server, and read its log.",
        )


class ProxiedArtifacts:
    """Files that the MLflow server itself passes on. It knows their sizes, but no digests, and sends no ranges."""

    def __init__(self, request: Request, path: str, api: Api) -> None:
        self._request, self._path, self._api = request, path.strip("/"), api

    def resolve(self) -> Listing:
        found = list(self._below(self._path, "", 0))
        files = wanted(found, self._request)
        lines = "\n".join(f"{each.path}\t{each.size}" for each in files)
        return Listing(hashlib.sha256(f"{self._path}\n{lines}".encode()).hexdigest(), files)

    def call(self, file: RemoteFile) -> Call:
        return self._api.call(f"mlflow-artifacts/artifacts/{quote(file.key)}")

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        return iter(())

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        return self._api.refused(status, content, f"artifact {file.key!r}")

    def _below(self, folder: str, prefix: str, depth: int) -> Iterator[RemoteFile]:
        if depth > DEEPEST:
            raise FetchError(Reason.CORRUPT, f"{self._request.uri} has folders without end.", "Register it again.")
        call = self._api.call("mlflow-artifacts/artifacts", {"path": folder})
        answer = ask(self._api.client, self._api.patience, call)
        for entry in self._api.checked(answer, f"folder {folder!r} of artifacts").get("files", []):
            name = str(entry.get("path", "")).rpartition("/")[2]
            key, path = f"{folder}/{name}", f"{prefix}{name}"
            if entry.get("is_dir"):
                yield from self._below(key, f"{path}/", depth + 1)
            else:
                size = int(entry.get("file_size") or 0)
                yield RemoteFile(path, key, size, f"{key} {size}")


def authorize_by(settings: Settings) -> Authorize | None:
    """The names of MLflow's own client."""
    if token := settings.credential("MLFLOW_TRACKING_TOKEN"):
        return bearer(token)
    user = settings.credential("MLFLOW_TRACKING_USERNAME")
    if not user:
        return None
    password = settings.credential("MLFLOW_TRACKING_PASSWORD")
    header = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return lambda _method, _url, _headers: {"Authorization": header}


def _below(uri: str, path: str) -> str:
    return f"{uri.rstrip('/')}/{path}" if path else uri
