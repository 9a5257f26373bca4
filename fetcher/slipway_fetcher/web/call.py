"""A request as a value, and what of a URL may be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

Authorize = Callable[[str, str, Mapping[str, str]], Mapping[str, str]]
"""Method, URL and headers → the headers that show the server who sends it. Called for each request: some are signed."""


@dataclass(frozen=True)
class Call:
    """A request; `authorize` is only used for the origin of this URL, never after a redirect to another one."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    authorize: Authorize | None = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        return origin_of(self.url)

    def with_headers(self, **headers: str) -> Call:
        return replace(
            self, headers={**self.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
        )

    def at(self, url: str) -> Call:
        """The same request, redirected: what identifies the sender stays behind."""
        same = origin_of(url) == self.origin
        secret = ("authorization", "cookie", "x-ms-version")
        headers = {name: text for name, text in self.headers.items() if same or name.lower() not in secret}
        return Call(url, self.method, headers, self.body, self.authorize if same else None)


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def shown(url: str) -> str:
    """Without what may be secret: user, password, and the query, in which signed URLs have their signature."""
    return origin_of(url) + urlsplit(url).path[:300]


def bearer(token: str) -> Authorize | None:
    return (lambda _method, _url, _headers: {"Authorization": f"Bearer {token}"}) if token else None
