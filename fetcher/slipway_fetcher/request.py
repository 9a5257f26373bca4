"""What is to be fetched, and the parts of its URI."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from slipway_fetcher.problem import FetchError, Reason


@dataclass(frozen=True)
class Request:
    """A model: where its files are, and which of them are wanted."""

    uri: str
    revision: str = ""
    files: tuple[str, ...] = ()
    """Patterns of paths, of which one has to match; empty: what the source chooses."""
    endpoint: str = ""
    """Instead of the usual server of this kind: a mirror, or a server of the site."""

    @property
    def scheme(self) -> str:
        return self.uri.partition("://")[0]

    @property
    def rest(self) -> str:
        return self.uri.partition("://")[2]

    def wants(self, path: str) -> bool:
        """Whether a path matches the patterns. `*` matches folders, too, as in Hugging Face's tools."""
        return not self.files or any(fnmatchcase(path, pattern) for pattern in self.files)

    def as_json(self) -> dict[str, Any]:
        """What identifies the model: two requests that are equal here want the same files."""
        endpoint = "" if self.scheme == "hf" else self.endpoint  # a mirror has the same commits
        return {
            "uri": self.uri,
            "revision": self.revision,
            "files": sorted(self.files),
            "endpoint": endpoint,
        }

    def key(self) -> str:
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    def split(self, parts: int, form: str) -> list[str]:
        """The first parts of the URI's path, and the rest."""
        found = self.rest.split("/", parts - 1)
        if len(found) < parts or not all(found):
            raise FetchError(Reason.INVALID, f"The URI {self.uri!r} is incomplete.", f"Write {form}.")
        return found
