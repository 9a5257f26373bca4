"""Who may pull from a container registry: Basic, or a Bearer token of the service that the registry names."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.settings import Settings, read
from slipway_fetcher.web.call import Call
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

FILES = (".dockerconfigjson", "config.json")
NAMES_OF_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
LASTS, RENEWED_BEFORE = 60.0, 20.0  # seconds: what a token service means that doesn't say it; and a reserve


@dataclass(frozen=True, repr=False)
class Login:
    """A user with a password."""

    user: str
    password: str

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Authorization:
    """The header for one repository; empty until the registry requires one. Tokens are renewed in time."""

    def __init__(self, repository: str, login: Login | None, client: Client, patience: Patience) -> None:
        self._repository, self._login, self._client, self._patience = repository, login, client, patience
        self._lock = threading.Lock()
        self._challenge: dict[str, str] = {}
        self._header, self._until = "", float("inf")

    @property
    def has_login(self) -> bool:
        return self._login is not None

    def meets(self, answer: Answer) -> bool:
        """Whether the challenge of a response with 401 can be met: then the request may be sent again."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        if found := re.search(r"\bBearer\s+(.*)", challenge, re.IGNORECASE | re.DOTALL):
            self._challenge = {name.lower(): quoted or bare for name, quoted, bare in PARAMETER.findall(found[1])}
            _refuse_downgrade(answer.call.url, self._challenge.get("realm", ""))
            self._until = 0.0
            return True
        if re.search(r"\bBasic\b", challenge, re.IGNORECASE) and self._login:
            self._header = self._login.basic
            return True
        return False

    def authorize(self, _method: str, _url: str, _headers: Mapping[str, str]) -> Mapping[str, str]:
        with self._lock:
            if time.monotonic() > self._until:
                self._header = f"Bearer {self._token()}"
        return {"Authorization": self._header} if self._header else {}

    def _token(self) -> str:
        realm = self._challenge.get("realm", "")
        query = {"scope": f"repository:{self._repository}:pull", "client_id": "slipway-fetcher"}
        if service := self._challenge.get("service"):
            query["service"] = service
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
        headers = {"Authorization": self._login.basic} if self._login else {}
        answer = ask(self._client, self._patience, Call(url, headers=headers))
        if not answer.is_success:
            given = "the credentials" if self._login else "requests without credentials"
            raise FetchError(
                Reason.ACCESS_DENIED if answer.status in (400, 401, 403) else Reason.FAILED,
                f"The token service {urlsplit(realm).netloc} refuses {given} (HTTP {answer.status}).",
                "Correct the Secret: `kubectl create secret docker-registry` makes one.",
            )
        found = answer.json()
        token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise FetchError(Reason.FAILED, "The token service's response has no token.", "Read its log.")
        seconds = found.get("expires_in")
        lasts = float(seconds) if isinstance(seconds, (int, float)) and seconds > 0 else LASTS
        self._until = time.monotonic() + max(lasts - RENEWED_BEFORE, 1.0)
        return token


def login_of(settings: Settings, registry: str, repository: str) -> Login | None:
    """From a docker config.json, as a Secret of type kubernetes.io/dockerconfigjson has it; the longest path counts."""
    for name in FILES:
        if file := settings.credential_file(name):
            try:
                entries: dict[str, Any] = json.loads(read(file)).get("auths") or {}
                fitting = [each for each in entries if _fits(each, registry, repository)]
                return _login(entries[max(fitting, key=len)]) if fitting else None
            except (ValueError, TypeError, AttributeError, binascii.Error) as error:
                raise FetchError(
                    Reason.ACCESS_DENIED,
                    f"{name} of the Secret is not a valid docker config.json.",
                    "Create the Secret with `kubectl create secret docker-registry`.",
                ) from error
    return None


def _fits(entry: str, registry: str, repository: str) -> bool:
    """An entry is a host, or a URL, perhaps with the start of a repository's path; docker.io has several names."""
    host, _, path = re.sub(r"^https?://|/v[12]/?$|/$", "", entry).partition("/")
    same = host == registry or (host in NAMES_OF_HUB and registry in NAMES_OF_HUB)
    return same and (not path or repository == path or repository.startswith(f"{path}/"))


def _login(entry: Any) -> Login:
    if entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        return Login(user, password)
    return Login(str(entry.get("username", "")), str(entry.get("password", "")))


def _refuse_downgrade(registry: str, realm: str) -> None:
    """The password must not be sent in clear because of what a response says."""
    ours, theirs = urlsplit(registry), urlsplit(realm)
    if not theirs.hostname or (ours.scheme == "https" and theirs.scheme != "https" and not _is_here(theirs.hostname)):
        raise FetchError(
            Reason.FAILED,
            f"The registry {ours.netloc} names a token service without TLS, {theirs.netloc or 'which has no host'}.",
            "Correct the registry's configuration: its realm must be a URL with https.",
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
