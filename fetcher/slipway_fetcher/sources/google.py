"""Tokens for Google Cloud: of a service account's key, or of the identity that the metadata server of a node has."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from slipway_fetcher.problem import FetchError, Reason, TemporaryError
from slipway_fetcher.settings import Settings, read
from slipway_fetcher.web.call import Call, shown
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
KEY_FILE = "gcloud-application-credentials.json"  # as KServe's Secrets name it
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
RENEWED_BEFORE = 120.0  # seconds


class Tokens:
    """Fetches a token before the first request, and again before it expires; without an identity, none."""

    def __init__(self, settings: Settings, client: Client, patience: Patience) -> None:
        self._client, self._patience = client, patience
        self._key = _key(settings)
        host = settings.get("GCE_METADATA_HOST") or "metadata.google.internal"
        self._metadata = "" if settings.anonymous or self._key else f"http://{host}{METADATA}"
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def authorize(self, _method: str, _url: str, _headers: Mapping[str, str]) -> Mapping[str, str]:
        with self._lock:
            if (self._key or self._metadata) and time.monotonic() > self._until:
                self._renew()
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    @property
    def has_identity(self) -> bool:
        return bool(self._token)

    def _renew(self) -> None:
        answer = self._by_key() if self._key else self._by_metadata()
        if answer is None:
            return
        found = answer.json() if answer.is_success else {}
        if not isinstance(found, dict) or not isinstance(found.get("access_token"), str):
            raise FetchError(
                Reason.ACCESS_DENIED,
                f"{shown(answer.call.url)} gives no token for {self._key.get('client_email') or 'this pod'} "
                f"(HTTP {answer.status}).",
                "Correct the service account's key in the Secret, or the pod's workload identity.",
            )
        self._token = found["access_token"]
        self._until = time.monotonic() + max(float(found.get("expires_in") or 0) - RENEWED_BEFORE, 1.0)

    def _by_key(self) -> Answer:
        url = str(self._key.get("token_uri") or "https://oauth2.googleapis.com/token")
        grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": _assertion(self._key, url)}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return ask(self._client, self._patience, Call(url, "POST", headers, urlencode(grant).encode()))

    def _by_metadata(self) -> Answer | None:
        """One try: outside of Google's cloud there is no such server, and then requests have no token."""
        try:
            with self._client.send(Call(self._metadata, headers={"Metadata-Flavor": "Google"})) as response:
                return Answer(response.call, response.status, response.headers, response.read(1 << 16))
        except TemporaryError:
            self._metadata = ""
            return None


def _key(settings: Settings) -> dict[str, Any]:
    given = settings.credential("GOOGLE_APPLICATION_CREDENTIALS")
    file = settings.credential_file(KEY_FILE) or (Path(given) if given else None)
    if file is None:
        return {}
    try:
        found = json.loads(read(file))
        if found["type"] == "service_account" and found["client_email"] and found["private_key"]:
            return dict(found)
    except (ValueError, TypeError, KeyError):
        pass
    raise FetchError(
        Reason.ACCESS_DENIED,
        f"{file.name} is not the key of a service account.",
        f"Store a key in JSON as {KEY_FILE} in the Secret, or use the pod's workload identity without a Secret.",
    )


def _assertion(key: Mapping[str, Any], audience: str) -> str:
    """A JSON Web Token, signed by the account's key."""
    now = int(time.time())
    claims = {"iss": key["client_email"], "scope": SCOPE, "aud": audience, "iat": now, "exp": now + 3600}
    header = {"alg": "RS256", "typ": "JWT", "kid": str(key.get("private_key_id", ""))}
    signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
    try:
        private = serialization.load_pem_private_key(str(key["private_key"]).encode(), None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise ValueError("not RSA")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FetchError(
            Reason.ACCESS_DENIED,
            f"The private key of {key['client_email']} is invalid.",
            "Make a new key of the service account, and store its JSON in the Secret.",
        ) from error
    return f"{signed}.{_encoded(private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
