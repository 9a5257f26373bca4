"""Versity's S3 gateway, a real S3 server with accounts and policies, as a process of this machine."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from slipway_devcluster import builds
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_fetcher.sources.aws import Keys, query_of, signed

from support.ports import free_port, wait_until_it_listens

ROOT = Keys("root", "root-secret")
READER = Keys("reader", "reader-secret")
"""An account that may only do what the policy of a bucket allows."""
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class ObjectStore:
    """`url`: of the server."""

    url: str

    def make_bucket(self, name: str, *, readable_by: str = "") -> None:
        """`readable_by`: an account, or `*` for requests without a signature."""
        self.request("PUT", f"/{name}")
        if readable_by:
            resources = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
            allows = {
                "Effect": "Allow",
                "Principal": {"AWS": [readable_by]} if readable_by != "*" else "*",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": resources,
            }
            policy = {"Version": "2012-10-17", "Statement": [allows]}
            self.request("PUT", f"/{name}", {"policy": ""}, json.dumps(policy).encode())

    def put(self, bucket: str, key: str, content: bytes, **headers: str) -> None:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        self.request("PUT", f"/{bucket}/{quote(key)}", body=content, headers=names)

    def put_in_parts(self, bucket: str, key: str, parts: list[bytes]) -> None:
        path = f"/{bucket}/{quote(key)}"
        begun = ElementTree.fromstring(self.request("POST", path, {"uploads": ""}))
        upload = begun.findtext("{*}UploadId") or ""
        etags = [
            self.sent("PUT", path, {"partNumber": str(number), "uploadId": upload}, part)[1]["ETag"]
            for number, part in enumerate(parts, 1)
        ]
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        self.request("POST", path, {"uploadId": upload}, body)

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> bytes:
        return self.sent(method, path, query, body, headers)[0]

    def sent(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, dict[str, str]]:
        """As the root account; returns the body and the headers of the response."""
        target = f"{path}?{query_of(query)}" if query else path
        given = headers or {}
        now = datetime.now(UTC)
        added = signed(ROOT, method, self.url + target, given, region="us-east-1", service="s3", now=now, body=UNSIGNED)
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, target, body, given | added)
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, f"{method} {target}: {response.status} {content!r}"
            return content, dict(response.getheaders())
        finally:
            connection.close()


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """With the accounts `root` and `reader`."""
    cache = default_cache()
    program = builds.ensure_on_demand("versitygw", cache, Steps(cache)).binary("versitygw")
    for name in ("data", "accounts"):
        (folder / name).mkdir(parents=True)
    address, log = f"127.0.0.1:{free_port()}", folder / "versitygw.log"
    given = ["--access", ROOT.identifier, "--secret", ROOT.secret]
    argv: list[str | Path] = [
        program,
        "--port",
        address,
        *given,
        "--iam-dir",
        folder / "accounts",
        "posix",
        folder / "data",
    ]
    with log.open("wb") as output, ExitStack() as cleanup:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        wait_until_it_listens(address, log)
        url = f"http://{address}"
        admin: list[str | Path] = [program, "admin", *given, "--endpoint-url", url, "create-user", "--role", "user"]
        create: list[str | Path] = [*admin, "--access", READER.identifier, "--secret", READER.secret]
        subprocess.run(create, check=True, capture_output=True, text=True)
        yield ObjectStore(url)
