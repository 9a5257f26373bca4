"""Azurite, Microsoft's emulator of Azure Blob Storage, which checks keys and signatures, as a process."""

from __future__ import annotations

import base64
import hmac
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from slipway_fetcher.sources.azure import VERSION, string_to_sign

from support.ports import free_port, wait_until_it_listens
from support.programs import packages

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # published


@dataclass(frozen=True)
class BlobStorage:
    """`url`: of the account."""

    url: str

    def make_container(self, name: str, *, public: bool = False) -> None:
        self._put(f"/{name}?restype=container", b"", **({"x-ms-blob-public-access": "container"} if public else {}))

    def put(self, container: str, key: str, content: bytes) -> None:
        self._put(f"/{container}/{quote(key)}", content, **{"x-ms-blob-type": "BlockBlob"})

    def _put(self, path: str, content: bytes, **headers: str) -> None:
        kind, now = "application/octet-stream", format_datetime(datetime.now(UTC), usegmt=True)
        own = {"x-ms-date": now, "x-ms-version": VERSION, **headers}
        lines = string_to_sign("PUT", self.url + path, own, ACCOUNT).split("\n")
        lines[3], lines[5] = str(len(content) or ""), kind
        own |= {"Authorization": f"SharedKey {ACCOUNT}:{_signature(lines)}", "Content-Type": kind}
        with urlopen(Request(self.url + path, content, own, method="PUT")) as response:
            assert response.status == 201

    def shared_access_signature(self, permissions: str = "rl") -> str:
        """Of the account, for an hour."""
        until = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        lines = [ACCOUNT, permissions, "b", "sco", "", until, "", "https,http", VERSION, "", ""]
        query = {"sv": VERSION, "ss": "b", "srt": "sco", "sp": permissions, "se": until, "spr": "https,http"}
        return urlencode(query | {"sig": _signature(lines)})


def _signature(lines: list[str]) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(KEY), "\n".join(lines).encode(), "sha256")).decode()


@contextmanager
def blob_storage(folder: Path) -> Iterator[BlobStorage]:
    port, log = free_port(), folder / "azurite.log"
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck", "--disableTelemetry"]
    argv: list[str | Path] = [*packages.azurite(), *options, "--location", folder]
    with log.open("wb") as output, ExitStack() as cleanup:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        wait_until_it_listens(f"127.0.0.1:{port}", log, within=120)
        yield BlobStorage(f"http://127.0.0.1:{port}/{ACCOUNT}")
