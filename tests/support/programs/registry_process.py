"""Go's distribution, a real container registry, as a process of this machine; built when it is first used."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import load_pem_x509_certificate
from slipway_devcluster import builds, pki
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

from support.ports import free_port, wait_until_it_listens

USER, PASSWORD = "me", "secret"
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


@dataclass(frozen=True)
class RunningRegistry:
    address: str
    log: Path

    def requests(self, method: str) -> int:
        """How many of these the registry has logged."""
        return self.log.read_text().count(f'"{method} /v2/')


def docker_config(address: str, password: str = PASSWORD) -> str:
    given = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return json.dumps({"auths": {address: {"auth": given}}})


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[RunningRegistry]:
    """`settings`: sections of its configuration, in addition to those of storage and address."""
    cache = default_cache()
    build = builds.ensure_on_demand("registry", cache, Steps(cache))
    address = f"127.0.0.1:{free_port()}"
    http = {"addr": address, **settings.pop("http", {})}
    config = {"version": "0.1", "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}}, "http": http}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | settings))
    log = folder / "registry.log"
    with log.open("wb") as output, ExitStack() as cleanup:
        process = subprocess.Popen(
            [build.binary("registry"), "serve", folder / "config.json"],
            stdout=output,
            stderr=output,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        wait_until_it_listens(address, log)
        yield RunningRegistry(address, log)


def with_passwords(folder: Path) -> dict[str, Any]:
    file = folder / "htpasswd"
    file.write_text(HTPASSWD)
    return {"htpasswd": {"realm": "test", "path": str(file)}}


def with_tls(folder: Path, authority: pki.Authority) -> dict[str, Any]:
    authority.issue("registry", hosts=["127.0.0.1"]).write(folder, "registry")
    return {"tls": {"certificate": str(folder / "registry.crt"), "key": str(folder / "registry.key")}}


# --- tokens ----------------------------------------------------------------------------------------------------------


@contextmanager
def token_service(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the section `auth` of a registry that accepts its tokens; it gives them for the password alone."""
    authority = pki.Authority("tokens")
    signer = authority.issue("tokens")
    (folder / "tokens.crt").write_bytes(authority.own.certificate)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            allowed = given == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            content = json.dumps({"token": _token(signer)} if allowed else {}).encode()
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        realm = f"http://127.0.0.1:{server.server_address[1]}/token"
        bundle = str(folder / "tokens.crt")
        try:
            yield {"token": {"realm": realm, "service": "test", "issuer": "test", "rootcertbundle": bundle}}
        finally:
            server.shutdown()
            thread.join()


def _token(signer: pki.Certificate) -> str:
    """A JSON Web Token that allows pushing to team/caches for a minute."""
    certificate = load_pem_x509_certificate(signer.certificate).public_bytes(serialization.Encoding.DER)
    header = {"alg": "ES256", "typ": "JWT", "x5c": [base64.b64encode(certificate).decode()]}
    access = {"type": "repository", "name": "team/caches", "actions": ["pull", "push"]}
    now = int(time.time())
    times = {"iat": now - 5, "nbf": now - 5, "exp": now + 60}
    claims = {"iss": "test", "sub": USER, "aud": "test", "jti": os.urandom(8).hex(), "access": [access], **times}
    text = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
    key = serialization.load_pem_private_key(signer.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    numbers = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_encoded(b''.join(number.to_bytes(32, 'big') for number in numbers))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
