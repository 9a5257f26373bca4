"""What gives a pod keys or tokens for its identity, in the test's process: AWS's two services, and Microsoft's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from support.fakes.hub import serving

TOKEN = "the pod's own token"  # noqa: S105 - of the test
UNTIL = "2099-01-01T00:00:00Z"


@dataclass
class Identities:
    """`url`: of all three. `keys`: those of AWS that they give."""

    keys: tuple[str, str] = ("", "")
    url: str = ""
    given: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    identities: Identities

    def do_POST(self) -> None:
        form = {name: values[0] for name, values in parse_qs(self.rfile.read(self._length).decode()).items()}
        if form.get("Action") == "AssumeRoleWithWebIdentity":
            self._aws_role(form)
        else:
            self._microsoft(form)

    def do_GET(self) -> None:
        """As EKS's agent for pods."""
        identifier, secret = self.identities.keys
        content = {"AccessKeyId": identifier, "SecretAccessKey": secret, "Token": "", "Expiration": UNTIL}
        self._answer(self.headers.get("Authorization") == TOKEN, "pod identity", json.dumps(content))

    def _aws_role(self, form: dict[str, str]) -> None:
        identifier, secret = self.identities.keys
        keys = f"<AccessKeyId>{identifier}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
        found = f"<Credentials>{keys}<Expiration>{UNTIL}</Expiration></Credentials>"
        xml = f'<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Result>{found}</Result></R>'
        self._answer(form["WebIdentityToken"] == TOKEN, form["RoleArn"], xml)

    def _microsoft(self, form: dict[str, str]) -> None:
        allowed = form.get("client_assertion") == TOKEN and form["scope"] == "https://storage.azure.com/.default"
        self._answer(allowed, form["client_id"], json.dumps({"access_token": "token", "expires_in": 3600}))

    def _answer(self, allowed: bool, who: str, content: str) -> None:
        self.identities.given += [who] * allowed
        self.send_response(200 if allowed else 403)
        self.end_headers()
        self.wfile.write(content.encode() if allowed else b"<E><Code>AccessDenied</Code></E>")

    @property
    def _length(self) -> int:
        return int(self.headers["Content-Length"])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def identities() -> Iterator[Identities]:
    state = Identities()
    with serving(type("OwnHandler", (Handler,), {"identities": state})) as state.url:
        yield state
