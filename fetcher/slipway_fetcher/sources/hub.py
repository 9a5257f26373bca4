"""hf://ORGANIZATION/MODEL: a model of the Hugging Face Hub, or of a mirror of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urljoin

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.base import Digest, Listing, RemoteFile, checked, no_files
from slipway_fetcher.sources.choice import chosen
from slipway_fetcher.web.call import Call, bearer, origin_of
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

HUB = "https://huggingface.co"
COMMIT = re.compile(r"[0-9a-f]{40}")
NEXT_PAGE = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
MOST_PAGES = 1_000


class Hub:
    """A model at one revision. The listing names the commit, so that all files are of the same one."""

    def __init__(self, request: Request, settings: Settings, client: Client, patience: Patience) -> None:
        name, _, revision = request.rest.partition(":")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise FetchError(
                Reason.INVALID,
                f"The URI {request.uri!r} is not a model of the Hub.",
                "Write hf://ORGANIZATION/MODEL, and the branch or commit in the revision.",
            )
        self._request, self._name, self._revision = request, name, request.revision or revision or "main"
        self._endpoint = (request.endpoint or settings.get("HF_ENDPOINT") or HUB).rstrip("/")
        self._token = settings.credential("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
        self._client, self._patience = client, patience
        self._commit = ""

    def resolve(self) -> Listing:
        answer = self._get(f"{self._endpoint}/api/models/{self._name}/revision/{quote(self._revision, safe='')}")
        if not answer.is_success:
            raise self._refused(answer.status, answer.headers)
        self._commit = _commit_of(answer, self._name)
        entries = list(self._tree())
        paths = [str(entry.get("path")) for entry in entries]
        where = f"{self._name} at {self._endpoint}"
        wanted = {path for path in paths if self._request.wants(path)}
        if not self._request.files:
            wanted = chosen(paths, self._name)
        if not wanted:
            raise no_files(where, self._request.files, paths)
        files = checked(_file(entry) for entry in entries if entry.get("path") in wanted)
        return Listing(self._commit, files)

    def call(self, file: RemoteFile) -> Call:
        return self._call(f"{self._endpoint}/{self._name}/resolve/{self._commit}/{quote(file.key)}")

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        if file.digest:
            yield file.digest

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        if status == 404:
            return FetchError(
                Reason.NOT_FOUND,
                f"{self._endpoint} has no {file.path} in {self._name}, although it lists it.",
                "Check that the mirror is complete.",
            )
        return self._refused(status, {})

    def _tree(self) -> Iterator[dict[str, Any]]:
        url = f"{self._endpoint}/api/models/{self._name}/tree/{self._commit}?recursive=true&expand=false"
        for _ in range(MOST_PAGES):
            answer = self._get(url)
            if not answer.is_success:
                raise self._refused(answer.status, answer.headers)
            entries = answer.json()
            if not isinstance(entries, list):
                raise _strange(self._endpoint)
            yield from (entry for entry in entries if isinstance(entry, dict) and entry.get("type") == "file")
            following = NEXT_PAGE.search(answer.headers.get("Link", ""))
            if not following:
                return
            url = urljoin(url, following[1])
            if origin_of(url) != origin_of(self._endpoint):
                raise _strange(self._endpoint)
        raise _strange(self._endpoint)

    def _get(self, url: str) -> Answer:
        return ask(self._client, self._patience, self._call(url))

    def _call(self, url: str) -> Call:
        return Call(url, authorize=bearer(self._token))

    def _refused(self, status: int, headers: Any) -> FetchError:
        code = headers.get("X-Error-Code", "")
        token = "with the token that was given" if self._token else "without a token"
        if code == "GatedRepo" or status == 403:
            return FetchError(
                Reason.ACCESS_DENIED,
                f"{self._name} is a gated model, and {self._endpoint} doesn't allow access {token}.",
                "Accept the conditions on the model's page, and store that account's token as HF_TOKEN in the Secret.",
            )
        if code == "RevisionNotFound":
            return FetchError(
                Reason.NOT_FOUND,
                f"{self._name} at {self._endpoint} has no revision {self._revision!r}.",
                "Correct the revision: a commit, tag or branch of the model's repository.",
            )
        if status == 401 and self._token and code != "RepoNotFound":
            return FetchError(
                Reason.ACCESS_DENIED, f"{self._endpoint} refuses the token.", "Correct HF_TOKEN in the Secret."
            )
        if status in (401, 404):  # the Hub answers the same for a private model
            return FetchError(
                Reason.NOT_FOUND,
                f"{self._endpoint} has no model {self._name} that can be read {token}.",
                "Correct the name; for a private model, store a token that may read it as HF_TOKEN in the Secret.",
            )
        return FetchError(
            Reason.FAILED, f"{self._endpoint} responds with HTTP {status}.", "Check the endpoint, or try again later."
        )


def _commit_of(answer: Answer, name: str) -> str:
    found = answer.json()
    commit = found.get("sha") if isinstance(found, dict) else None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise FetchError(
            Reason.FAILED,
            f"The response for {name} has no commit.",
            "Check that the endpoint is the Hub or a mirror of it.",
        )
    return commit


def _file(entry: dict[str, Any]) -> RemoteFile:
    """Large files have a SHA-256; the others have the hash that Git computes of them."""
    path, large = str(entry["path"]), entry.get("lfs")
    size = entry.get("size")
    if isinstance(large, dict) and large.get("oid"):
        digest = Digest("sha256", str(large["oid"]).removeprefix("sha256:").lower())
        size = large.get("size", size)
    else:
        digest = Digest("git-sha1", str(entry.get("oid", "")).lower())
    return RemoteFile(path, path, size if isinstance(size, int) and size >= 0 else None, str(digest), digest)


def _strange(endpoint: str) -> FetchError:
    return FetchError(
        Reason.FAILED,
        f"{endpoint} lists the model's files in a form that isn't known.",
        "Check that the endpoint is the Hub or a mirror of it.",
    )
