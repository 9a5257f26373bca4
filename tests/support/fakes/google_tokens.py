"""Google's token service in the test's process: it gives a token for an assertion that the account's key has signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from support.fakes.hub import serving

ACCOUNT = "reader@project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"


@dataclass
class TokenService:
    """`url`: of the service. `key`: the JSON of the account's key."""

    url: str = ""
    private: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    token: str = "ya29.right"  # noqa: S105 - of the test
    given: int = 0

    def key(self, private: rsa.RSAPrivateKey | None = None) -> str:
        pem = (private or self.private).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        about = {"type": "service_account", "client_email": ACCOUNT, "private_key_id": "one"}
        return json.dumps({**about, "private_key": pem.decode(), "token_uri": f"{self.url}/token"})

    def allows(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") == f"Bearer {self.token}"

    def accepts(self, assertion: str) -> bool:
        signed, _, signature = assertion.rpartition(".")
        claims = json.loads(_decoded(signed.partition(".")[2]))
        try:
            public = self.private.public_key()
            public.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return bool(claims["iss"] == ACCOUNT and claims["aud"] == f"{self.url}/token" and claims["scope"] == SCOPE)


class Handler(BaseHTTPRequestHandler):
    service: TokenService

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        accepted = self.service.accepts(form["assertion"][0])
        self.service.given += accepted
        content = {"access_token": self.service.token, "expires_in": 3600} if accepted else {"error": "invalid_grant"}
        self.answer(200 if accepted else 400, content)

    def do_GET(self) -> None:
        """As the metadata server of a node."""
        allowed = self.headers.get("Metadata-Flavor") == "Google" and "/service-accounts/default/token" in self.path
        self.answer(
            200 if allowed else 403, {"access_token": self.service.token, "expires_in": 3600} if allowed else {}
        )

    def answer(self, status: int, content: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def token_service() -> Iterator[TokenService]:
    state = TokenService()
    with serving(type("OwnHandler", (Handler,), {"service": state})) as state.url:
        yield state
