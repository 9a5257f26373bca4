# Generated from runtime-image/slipway_runtime/oci/registry.py by `make generate`; do not edit.
"""A repository of a registry, by the OCI distribution protocol: requests with credentials, retries and redirects."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from slipway_fetcher.oci.authorizing import Authorization
from slipway_fetcher.oci.credentials import AUTHORITY, HUB, Credentials, from_folder, has_credentials
from slipway_fetcher.oci.problem import RegistryError
from slipway_fetcher.oci.reference import Reference
from slipway_fetcher.oci.responses import is_temporary, refusal, wait_before_retry
from slipway_fetcher.oci.transport import EMPTY, Body, ConnectionFailedError, Origin, Response, Transport, is_loopback

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each repetition
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
HUBS_HOST = "registry-1.docker.io"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a registry is reached. `secret`: the folder of a mounted Secret."""

    secret: Path | None = None
    plain_http: bool = False
    pauses: tuple[float, ...] = PAUSES
    sleep: Callable[[float], None] = time.sleep


class Registry:
    """The repository of a reference. Its methods return responses of any status, but none that may pass by itself."""

    def __init__(self, reference: Reference, settings: Settings) -> None:
        self._reference, self._settings = reference, settings
        self._credentials = _credentials(reference, settings.secret)
        authority = _authority(settings.secret)
        self._transport = Transport(authority)
        self._authorization = Authorization(reference.repository, self._credentials, self._repeated)
        host = HUBS_HOST if reference.registry == HUB else reference.registry
        is_plain = settings.plain_http or (is_loopback(Origin.of(f"http://{host}").host) and authority is None)
        self.root = f"{'http' if is_plain else 'https'}://{host}/v2/{reference.repository}/"
        self._origin = Origin.of(self.root)

    def send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: Body = EMPTY, once: bool = False
    ) -> Response:
        """`url`: relative to the repository, or a location from a response. `once`: the caller repeats the request."""
        url = urljoin(self.root, url)
        for _ in range(MOST_REDIRECTS):
            response = self._authorized(method, url, headers or {}, body, once=once)
            if response.status not in REDIRECTS or not (location := response.headers.get("Location")):
                return response
            url = self.location(url, location)
        raise RegistryError(f"The registry redirects in circles, at last to {url[:200]}.", "Check its configuration.")

    def location(self, url: str, location: str) -> str:
        """A location from a response to `url`: never without TLS if the registry has it."""
        found = urljoin(url, location)
        origin = Origin.of(found)
        if origin.scheme == "http" and self._origin.scheme == "https" and not is_loopback(origin.host):
            raise RegistryError(
                f"The registry {self._reference.registry} refers to a URL without TLS: http://{origin.host}.",
                "Correct its configuration; behind a proxy that ends TLS it must know its own URL.",
            )
        return found

    def refusal(self, response: Response, doing: str) -> RegistryError:
        where = f"{self._reference.registry}/{self._reference.repository}"
        return refusal(response, where, doing=doing, has_credentials=self._credentials is not None)

    def pause(self, attempt: int, response: Response | None = None) -> None:
        """Waits before the repetition after try number `attempt`, from 0."""
        wanted = wait_before_retry(response) if response else None
        self._settings.sleep(self._settings.pauses[attempt] if wanted is None else wanted)

    @property
    def tries(self) -> int:
        return len(self._settings.pauses) + 1

    # --- inside -----------------------------------------------------------------------------------------------------

    def _authorized(self, method: str, url: str, headers: dict[str, str], body: Body, *, once: bool) -> Response:
        """Renews the token if it has expired; the credentials go to the registry alone."""
        send = self._transport.send if once else self._repeated
        if Origin.of(url) != self._origin:
            return send(method, url, headers, body)
        response = send(method, url, self._with_authorization(headers), body)
        if response.status != 401 or not self._authorization.renew(self._origin, response):
            return response
        return send(method, url, self._with_authorization(headers), body)

    def _with_authorization(self, headers: dict[str, str]) -> dict[str, str]:
        value = self._authorization.header
        return {**headers, "Authorization": value} if value else headers

    def _repeated(self, method: str, url: str, headers: dict[str, str], body: Body) -> Response:
        for attempt in range(self.tries):
            is_last = attempt == self.tries - 1
            try:
                response = self._transport.send(method, url, headers, body)
            except ConnectionFailedError as error:
                if is_last:
                    raise self.unreachable(error) from error
                self.pause(attempt)
                continue
            if is_last or not is_temporary(response):
                return response
            self.pause(attempt, response)
        raise AssertionError("the last try returns or raises")

    def unreachable(self, error: ConnectionFailedError) -> RegistryError:
        return RegistryError(
            f"The registry {self._reference.registry} can't be reached in {self.tries} tries: {error}.",
            "Check its address, and whether a NetworkPolicy or a firewall is in the way.",
            is_temporary=True,
        )


def _credentials(reference: Reference, secret: Path | None) -> Credentials | None:
    """A Secret may have nothing but the authority's certificate."""
    if secret is None or (_authority(secret) and not has_credentials(secret)):
        return None
    return from_folder(secret, reference.registry, reference.repository)


def _authority(secret: Path | None) -> Path | None:
    file = secret / AUTHORITY if secret else None
    return file if file and file.is_file() else None
