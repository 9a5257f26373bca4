"""An MLflow server with its registry, as a process of this machine; its artifacts are in an S3 server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from support.ports import free_port
from support.programs import packages
from support.programs.object_store import ROOT, ObjectStore

STARTS_WITHIN = 180.0  # seconds; it imports for long


@dataclass(frozen=True)
class MlflowServer:
    """`url`: of the server."""

    url: str

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._sent("POST", f"/api/2.0/mlflow/{path}", json.dumps(fields).encode()))
        return found

    def run(self) -> str:
        """A new run, which has the place of its artifacts."""
        found = self.post("runs/create", experiment_id="0", start_time=0)
        return str(found["run"]["info"]["run_id"])

    def artifact_uri(self, run: str) -> str:
        found = json.loads(self._sent("GET", f"/api/2.0/mlflow/runs/get?run_id={run}"))
        return str(found["run"]["info"]["artifact_uri"])

    def upload(self, uri: str, files: dict[str, bytes]) -> None:
        """Through the server, below an mlflow-artifacts: URI."""
        folder = uri.removeprefix("mlflow-artifacts:").strip("/")
        for path, content in files.items():
            self._sent("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{folder}/{path}')}", content)

    def register(self, name: str, source: str, **made_by: str) -> str:
        """Another version; returns its number. `made_by`: `run_id` or `model_id`, if it is of one."""
        with suppress(URLError):  # it exists
            self.post("registered-models/create", name=name)
        made = self.post("model-versions/create", name=name, source=source, **made_by)
        return str(made["model_version"]["version"])

    def _sent(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json" if method == "POST" else "application/octet-stream"}
        with urlopen(Request(self.url + path, body, headers, method=method), timeout=60) as response:
            content: bytes = response.read()
            return content


@contextmanager
def mlflow_server(folder: Path, store: ObjectStore, *, allowed_hosts: str = "") -> Iterator[MlflowServer]:
    """Its artifacts are in the bucket `mlflow`. `allowed_hosts`: by which names it may be called; empty: its default,
    which is this machine and private networks."""
    store.make_bucket("mlflow")
    port, log = free_port(), folder / "mlflow.log"
    argv: list[str | Path] = [packages.mlflow(), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    argv += ["--allowed-hosts", allowed_hosts] if allowed_hosts else []
    argv += ["--artifacts-destination", "s3://mlflow/artifacts", "--serve-artifacts"]
    keys = {"AWS_ACCESS_KEY_ID": ROOT.identifier, "AWS_SECRET_ACCESS_KEY": ROOT.secret}
    environment = {**os.environ, **keys, "MLFLOW_S3_ENDPOINT_URL": store.url, "AWS_DEFAULT_REGION": "us-east-1"}
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=environment, start_new_session=True)
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, log)
            yield MlflowServer(f"http://127.0.0.1:{port}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            urlopen(url, timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
