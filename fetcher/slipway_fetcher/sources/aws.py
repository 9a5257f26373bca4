"""Who signs requests to S3, and how: AWS Signature Version 4, with keys or with the identity of the pod."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.settings import Settings, read
from slipway_fetcher.web.call import Call, shown
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Answer, Patience, ask

EMPTY = hashlib.sha256(b"").hexdigest()
RENEWED_BEFORE = 300.0  # seconds before keys expire
UNRESERVED = "-_.~"


@dataclass(frozen=True)
class Keys:
    """What signs; a token belongs to keys that expire."""

    identifier: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    until: float = float("inf")  # on the wall clock


class Signer:
    """Signs requests of one service and region. Keys that expire are fetched again: a download may take longer."""

    def __init__(self, source: Callable[[], Keys] | None, region: str, service: str = "s3") -> None:
        self._source, self.region, self._service = source, region, service
        self._lock = threading.Lock()
        self._keys: Keys | None = None

    @property
    def has_keys(self) -> bool:
        return self._source is not None

    def authorize(self, method: str, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        if self._source is None:
            return {}
        with self._lock:
            if self._keys is None or time.time() > self._keys.until - RENEWED_BEFORE:
                self._keys = self._source()
            keys = self._keys
        return signed(keys, method, url, headers, region=self.region, service=self._service, now=datetime.now(UTC))


def signed(
    keys: Keys,
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    region: str,
    service: str,
    now: datetime,
    body: str = EMPTY,
) -> dict[str, str]:
    """The headers to add; `body` is the SHA-256 of the request's body."""
    parts, day, moment = urlsplit(url), f"{now:%Y%m%d}", f"{now:%Y%m%dT%H%M%SZ}"
    added = {"x-amz-date": moment, "x-amz-content-sha256": body}
    if keys.token:
        added["x-amz-security-token"] = keys.token
    also = {name.lower(): text.strip() for name, text in headers.items() if name.lower().startswith("x-amz-")}
    canonical = dict(sorted((also | added | {"host": parts.netloc}).items()))
    names = ";".join(canonical)
    query = "&".join(sorted(each if "=" in each else f"{each}=" for each in parts.query.split("&") if each))
    lines = "".join(f"{name}:{text}\n" for name, text in canonical.items())
    request = "\n".join([method, parts.path or "/", query, lines, names, body])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for each in (day, region, service, "aws4_request"):
        key = hmac.digest(key, each.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={keys.identifier}/{scope}, SignedHeaders={names}, Signature={signature}"
    return added | {"Authorization": f"AWS4-HMAC-SHA256 {credential}"}


def query_of(values: Mapping[str, str]) -> str:
    """As a signature needs it: sorted, and encoded without a plus."""
    return urlencode(sorted(values.items()), quote_via=quote, safe=UNRESERVED)


# --- where keys come from --------------------------------------------------------------------------------------------


def keys_of(settings: Settings, client: Client, patience: Patience, region: str) -> Callable[[], Keys] | None:
    """Those in the Secret or the environment; else those of the pod's identity; None: requests aren't signed."""
    identifier = settings.credential("AWS_ACCESS_KEY_ID", "awsAccessKeyID")
    secret = settings.credential("AWS_SECRET_ACCESS_KEY", "awsSecretAccessKey")
    if identifier and secret:
        keys = Keys(identifier, secret, settings.credential("AWS_SESSION_TOKEN"))
        return lambda: keys
    if identifier or secret:
        lacks = "AWS_SECRET_ACCESS_KEY" if identifier else "AWS_ACCESS_KEY_ID"
        raise FetchError(
            Reason.ACCESS_DENIED,
            f"The credentials for S3 have no {lacks}.",
            "Add it to the Secret, next to the other one.",
        )
    role, token = settings.credential("AWS_ROLE_ARN"), settings.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if role and token:
        endpoint = settings.get("AWS_ENDPOINT_URL_STS") or f"https://sts.{region}.amazonaws.com"
        return lambda: _by_web_identity(client, patience, endpoint, role, Path(token))
    if url := settings.credential("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        file = settings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        return lambda: _by_pod_identity(client, patience, url, file)
    return None


def _by_web_identity(client: Client, patience: Patience, endpoint: str, role: str, token: Path) -> Keys:
    """The pod's token, as `eks.amazonaws.com/role-arn` of a ServiceAccount mounts it, for keys of the role."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": "slipway-fetcher",
        "WebIdentityToken": read(token),
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = ask(client, patience, Call(f"{endpoint.rstrip('/')}/", "POST", headers, urlencode(form).encode()))
    found = _xml(answer)
    values = {name: found.findtext(f".//{{*}}{name}") or "" for name in KEYS_IN_XML} if found is not None else {}
    if not answer.is_success or not values.get("AccessKeyId"):
        raise _refused(answer, f"the role {role}", "Allow the ServiceAccount in the role's trust policy.")
    return _keys(values, "SessionToken")


def _by_pod_identity(client: Client, patience: Patience, url: str, file: str) -> Keys:
    headers = {"Authorization": read(Path(file))} if file else {}
    answer = ask(client, patience, Call(url, headers=headers))
    values = answer.json() if answer.is_success else {}
    if not isinstance(values, dict) or not values.get("AccessKeyId"):
        raise _refused(answer, "the pod's identity", "Associate the ServiceAccount with a role.")
    return _keys(values, "Token")


KEYS_IN_XML = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")


def _keys(values: Mapping[str, Any], token: str) -> Keys:
    until = datetime.fromisoformat(str(values["Expiration"])).timestamp() if values.get("Expiration") else float("inf")
    return Keys(str(values["AccessKeyId"]), str(values["SecretAccessKey"]), str(values.get(token) or ""), until)


def _refused(answer: Answer, who: str, remedy: str) -> FetchError:
    code = error_of(answer.content)[0]
    return FetchError(
        Reason.ACCESS_DENIED,
        f"{shown(answer.call.url)} gives no keys for {who} (HTTP {answer.status}{', ' + code if code else ''}).",
        remedy,
    )


def error_of(content: bytes) -> tuple[str, str]:
    """Code and region of an error; nothing else of it, since some servers repeat the signature in it."""
    try:
        found = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return "", ""
    return (found.findtext(".//{*}Code") or "")[:80], (found.findtext(".//{*}Region") or "")[:40]


def _xml(answer: Answer) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(answer.content)
    except ElementTree.ParseError:
        return None
