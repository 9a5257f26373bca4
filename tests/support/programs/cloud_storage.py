"""fake-gcs-server, which speaks Google Cloud Storage's protocol but checks no tokens, as a process of this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

from slipway_devcluster import builds
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

from support.ports import free_port, wait_until_it_listens


@dataclass(frozen=True)
class CloudStorage:
    """`url`: of the server."""

    url: str

    def make_bucket(self, name: str) -> None:
        self._post("/storage/v1/b", json.dumps({"name": name}).encode(), "application/json")

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._post(f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}", content)

    def compose(self, bucket: str, key: str, parts: list[str]) -> None:
        """Of objects that are there: such a one has no MD5."""
        body = {"sourceObjects": [{"name": part} for part in parts], "destination": {}}
        path = f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}/compose"
        self._post(path, json.dumps(body).encode(), "application/json")

    def _post(self, path: str, body: bytes, kind: str = "application/octet-stream") -> None:
        with urlopen(Request(self.url + path, body, {"Content-Type": kind}, method="POST")) as response:
            assert response.status == 200


@contextmanager
def cloud_storage(folder: Path) -> Iterator[CloudStorage]:
    cache = default_cache()
    program = builds.ensure_on_demand("fake-gcs-server", cache, Steps(cache)).binary("fake-gcs-server")
    port, log = free_port(), folder / "fake-gcs-server.log"
    url = f"http://127.0.0.1:{port}"
    where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    with log.open("wb") as output, ExitStack() as cleanup:
        process = subprocess.Popen([program, "-backend", "memory", *where], stdout=output, stderr=output)
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        wait_until_it_listens(f"127.0.0.1:{port}", log)
        yield CloudStorage(url)
