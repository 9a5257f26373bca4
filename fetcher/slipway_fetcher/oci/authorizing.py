# Generated from runtime-image/slipway_runtime/oci/authorizing.py by `make generate`; do not edit.
"""How a registry is shown who pushes: Basic, or a Bearer token from the service that the registry names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from slipway_fetcher.oci.credentials import Credentials
from slipway_fetcher.oci.problem import RegistryError
from slipway_fetcher.oci.transport import Body, Origin, Response, is_loopback

CLIENT = "slipway-fetcher"
LONGEST_TOKEN = 1 << 16
PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
Send = Callable[[str, str, dict[str, str], Body], Response]


class Authorization:
    """The header for one repository; empty until the registry has asked for it."""

    def __init__(self, repository: str, credentials: Credentials | None, send: Send) -> None:
        self._scope = f"repository:{repository}:pull,push"
        self._credentials, self._send = credentials, send
        self.header = ""

    def renew(self, registry: Origin, response: Response) -> bool:
        """Meets the challenge of a response with 401; False if there is nothing to meet it with."""
        challenge = ", ".join(response.headers.get_all("WWW-Authenticate") or [])
        if found := re.search(r"\bBearer\s+(.*)", challenge, re.IGNORECASE | re.DOTALL):
            self.header = f"Bearer {self._token(registry, _parameters(found[1]))}"
            return True
        if re.search(r"\bBasic\b", challenge, re.IGNORECASE) and self._credentials and self._credentials.user:
            self.header = self._credentials.basic
            return True
        return False

    def _token(self, registry: Origin, challenge: dict[str, str]) -> str:
        realm = challenge.get("realm", "")
        _refuse_downgrade(registry, realm)
        service = {"service": challenge["service"]} if challenge.get("service") else {}
        response = self._requested(realm, service)
        if response.status in (400, 401, 403):
            raise RegistryError(
                f"The token service {Origin.of(realm).host} refuses the credentials (HTTP {response.status})"
                + ("." if self._credentials else ": none were given."),
                "Correct the user and the password, or the token, in the Secret.",
            )
        if not response.is_success:
            raise RegistryError(
                f"The token service {Origin.of(realm).host} responds with HTTP {response.status}.",
                "Try again later, or read its log.",
                is_temporary=response.status >= 500 or response.status == 429,
            )
        return _token_in(response)

    def _requested(self, realm: str, service: dict[str, str]) -> Response:
        given = self._credentials
        if given and given.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": given.identity_token,
                "client_id": CLIENT,
                "scope": self._scope,
                **service,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._send("POST", realm, headers, Body.of(urlencode(form).encode()))
        separator = "&" if urlsplit(realm).query else "?"
        headers = {"Authorization": given.basic} if given and given.user else {}
        query = urlencode({**service, "scope": self._scope, "client_id": CLIENT})
        return self._send("GET", f"{realm}{separator}{query}", headers, Body.of(b""))


def _parameters(text: str) -> dict[str, str]:
    return {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in PARAMETER.findall(text)}


def _refuse_downgrade(registry: Origin, realm: str) -> None:
    """The password must not be sent in clear because of what a response says."""
    service = Origin.of(realm)
    if service.scheme == "http" and registry.scheme == "https" and not is_loopback(service.host):
        raise RegistryError(
            f"The registry {registry.host} names a token service without TLS, {service.host}.",
            "Correct the registry's configuration: its realm must be a URL with https.",
        )


def _token_in(response: Response) -> str:
    try:
        content = json.loads(response.content)
        token = content.get("token") or content.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not re.fullmatch(rf"[\x21-\x7e]{{1,{LONGEST_TOKEN}}}", token):
        raise RegistryError("The token service's response has no token.", "Read its log.")
    return token
