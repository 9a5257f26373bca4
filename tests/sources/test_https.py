"""https://: one file or an archive of an HTTPS server, and what can go wrong on the way to it."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import time
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from slipway_devcluster import pki
from support.faults.faulty_http import (
    Answer,
    FaultyServer,
    answers,
    cut,
    faulty,
    flipped,
    ignores_ranges,
    other_range,
    slow,
    without_length,
)
from support.programs.fetcher import Outcome, content_of, fetch
from support.programs.files_server import files_server

SIZE = 1 << 20
CONTENT = os.urandom(SIZE)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Site:
    """Files behind TLS and a proxy with faults."""

    def __init__(self, folder: Path, proxy: FaultyServer, upstream: str, secret: Path) -> None:
        self.folder, self.proxy, self.upstream, self.secret = folder, proxy, upstream, secret

    def fetch(self, name: str, into: Path, *flags: str) -> Outcome:
        return fetch(f"{self.proxy.url}/{name}", into, "--credentials", str(self.secret), *flags)


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small file has many of them."""
    monkeypatch.setattr("slipway_fetcher.download.downloading.RANGE", SIZE // 8)
    monkeypatch.setattr("slipway_fetcher.download.transfer.PIECE", SIZE // 64)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder, secret = tmp_path / "site", tmp_path / "secret"
    folder.mkdir()
    secret.mkdir()
    (folder / "model.gguf").write_bytes(CONTENT)
    authority = pki.Authority("authority")
    authority.issue("site", hosts=["127.0.0.1"]).write(tmp_path, "site")
    (secret / "ca.crt").write_bytes(authority.own.certificate)
    with (
        files_server(folder) as upstream,
        faulty(upstream, (tmp_path / "site.crt", tmp_path / "site.key")) as proxy,
    ):
        yield Site(folder, proxy, upstream, secret)


def test_a_file_is_fetched_in_ranges(site: Site, tmp_path: Path) -> None:
    assert site.fetch("model.gguf", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}
    assert site.proxy.count("bytes=") == 1 + 8  # the first asks how large it is


def test_a_checksum_that_fits_is_recorded(site: Site, tmp_path: Path) -> None:
    outcome = site.fetch(f"model.gguf#sha256={SHA256}", tmp_path / "model")
    assert (outcome.code, outcome.last["version"]) == (0, SHA256)
    assert f"sha256:{SHA256}" in (tmp_path / "model/.slipway/fetched.json").read_text()


def test_a_wrong_checksum_is_found_at_the_second_try(site: Site, tmp_path: Path) -> None:
    outcome = site.fetch(f"model.gguf#sha256={'0' * 64}", tmp_path / "model")
    assert outcome.code == 12
    assert "model.gguf doesn't have the digest that its source names" in outcome.sentence
    assert not (tmp_path / "model").exists()


def test_a_bit_that_was_wrong_once_is_received_again(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("bytes=262144-", flipped, times=1)
    outcome = site.fetch(f"model.gguf#sha256={SHA256}", tmp_path / "model")
    assert (outcome.code, len(outcome.events("retry"))) == (0, 1)
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}


def test_a_cut_connection_is_continued_where_it_broke(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("bytes=0-131071", cut(100_000), times=1)
    outcome = site.fetch("model.gguf", tmp_path / "model")
    assert outcome.code == 0
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}
    assert site.proxy.count(r"bytes=(?!0-)\d+-131071") == 1
    assert site.proxy.sent < SIZE + SIZE // 32


def test_a_connection_that_breaks_all_the_time_still_gets_there(site: Site, tmp_path: Path) -> None:
    site.proxy.fail(r"bytes=\d+-\d{4,}", cut(30_000))
    assert site.fetch("model.gguf", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}


def test_a_server_without_ranges_is_read_in_one_piece(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET", ignores_ranges(site.upstream))
    assert site.fetch("model.gguf", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}


def test_a_server_that_has_lost_its_ranges_is_read_from_the_start(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET .*bytes=917504-", answers(404))
    assert site.fetch("model.gguf", tmp_path / "model", "--connections=1").code == 10
    site.proxy.faults.clear()
    site.proxy.fail("GET .*bytes=.*[1-9]", ignores_ranges(site.upstream))
    outcome = site.fetch("model.gguf", tmp_path / "model")
    assert (outcome.code, outcome.last["bytes"]) == (0, SIZE)
    assert all(line["percent"] <= 100 for line in outcome.events("progress"))
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}


def test_a_response_of_unknown_length_is_read_to_its_end(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET", ignores_ranges(site.upstream))
    site.proxy.fail("GET", without_length)
    assert site.fetch(f"model.gguf#sha256={SHA256}", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}


def test_another_range_than_the_requested_one_is_never_written(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("bytes=131072-", other_range, times=2)
    outcome = site.fetch("model.gguf", tmp_path / "model")
    assert outcome.code == 0
    assert "sent other bytes of model.gguf than were requested" in outcome.events("retry")[0]["message"]
    assert content_of(tmp_path / "model") == {"model.gguf": CONTENT}


def test_a_server_that_is_busy_gets_no_request_until_the_time_that_it_names(site: Site, tmp_path: Path) -> None:
    site.proxy.fail(r"bytes=\d{6}", answers(429, Retry_After="3"), times=1)
    before = time.monotonic()
    outcome = site.fetch("model.gguf", tmp_path / "model", "--connections=2")
    assert outcome.code == 0
    assert time.monotonic() - before >= 3
    refused = next(n for n, each in enumerate(site.proxy.requests) if re.search(r"bytes=\d{6}", each))
    waited = [after - site.proxy.times[refused] for after in site.proxy.times[refused + 1 :]]
    assert not [seconds for seconds in waited if 1 < seconds < 2.9]  # those on the way were sent before
    assert any(
        "is busy; the next request is sent in" in line["waiting"]
        for line in outcome.events("progress")
        if line["waiting"]
    )


def test_many_connections_do_not_multiply_what_a_busy_server_refuses(site: Site, tmp_path: Path) -> None:
    """Those on the way are refused together; after that, one request at a time finds out whether it is over."""
    refused: list[float] = []

    def refuse(request: str, answer: Answer) -> Answer:
        refused.append(time.monotonic())
        return answers(503, Retry_After="1")(request, answer)

    site.proxy.fail(r"bytes=\d{6}", refuse, times=10)
    assert site.fetch("model.gguf", tmp_path / "model", "--connections=8").code == 0
    pauses = [later - earlier for earlier, later in pairwise(sorted(refused))]
    assert len(pauses) == 9
    together = next(number for number, pause in enumerate(pauses) if pause > 0.7)
    assert min(pauses[together:]) > 0.7


def test_a_server_that_is_busy_for_longer_than_one_waits_is_named(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET", answers(429, Retry_After="3600"))
    outcome = site.fetch("model.gguf", tmp_path / "model", "--give-up-after=5")
    assert outcome.code == 15
    assert re.search(r"limits the number of requests, and wants none for the next 3,\d{3} s. Wait", outcome.sentence)


def test_a_restarted_fetcher_waits_as_well(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET", answers(429, Retry_After="3600"))
    site.fetch("model.gguf", tmp_path / "model", "--give-up-after=5")
    outcome = site.fetch("model.gguf", tmp_path / "model", "--give-up-after=5")
    assert (outcome.code, site.proxy.count("GET")) == (15, 1)


def test_a_slow_server_is_waited_for_and_its_progress_shown(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET", slow(SIZE / 16))
    outcome = site.fetch("model.gguf", tmp_path / "model", "--connections=4", "--give-up-after=1")
    assert outcome.code == 0
    shown = outcome.events("progress")
    assert all(line["total"] == SIZE for line in shown)
    assert any(0 < line["percent"] < 100 and line["bytesPerSecond"] > 0 and line["secondsLeft"] for line in shown)


def test_a_server_that_sends_nothing_is_given_up(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET .*bytes=.*[1-9]", cut(0))
    outcome = site.fetch("model.gguf", tmp_path / "model", "--give-up-after=2")
    assert outcome.code == 15
    assert re.search(r"Nothing has arrived for \d+ s; at last, the connection to .* broke: ", outcome.sentence)


def test_what_has_arrived_is_not_requested_by_the_next_run(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("GET .*bytes=917504-", answers(404))
    assert site.fetch("model.gguf", tmp_path / "model", "--connections=1").code == 10
    site.proxy.faults.clear()
    site.proxy.requests.clear()
    assert site.fetch("model.gguf", tmp_path / "model").code == 0
    assert [each.rpartition(" ")[2] for each in site.proxy.requests] == ["bytes=0-0", "bytes=917504-1048575"]


def test_a_file_that_changes_during_the_download_is_noticed(site: Site, tmp_path: Path) -> None:
    site.proxy.fail("bytes=131072-", answers(412))
    outcome = site.fetch("model.gguf", tmp_path / "model")
    assert (outcome.code, "has changed at its source during the download" in outcome.sentence) == (15, True)


def test_a_certificate_of_an_unknown_authority_is_not_trusted(site: Site, tmp_path: Path) -> None:
    outcome = fetch(f"{site.proxy.url}/model.gguf", tmp_path / "model")
    assert outcome.code == 15
    assert "is not trusted" in outcome.sentence
    assert "Put the certificate of its authority into the Secret, as `ca.crt`." in outcome.sentence


@pytest.mark.parametrize(
    ("status", "code", "word"), [(404, 10, "nothing at"), (403, 11, "refuses requests without cred")]
)
def test_a_refusal_is_one_reason_and_a_remedy(site: Site, tmp_path: Path, status: int, code: int, word: str) -> None:
    site.proxy.fail("GET", answers(status))
    outcome = site.fetch("model.gguf", tmp_path / "model")
    assert (outcome.code, word in outcome.sentence) == (code, True)


# --- archives ---------------------------------------------------------------------------------------------------------


def tarred(*members: tuple[str, bytes | str]) -> bytes:
    """A link where the content is a string."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return output.getvalue()


def zipped(**members: bytes) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return output.getvalue()


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("model.tar.gz", tarred(("config.json", b"{}"), ("./weights/a.safetensors", CONTENT))),
        ("model.zip", zipped(**{"config.json": b"{}", "weights__a.safetensors": CONTENT})),
    ],
)
def test_an_archive_is_unpacked(site: Site, tmp_path: Path, name: str, archive: bytes) -> None:
    (site.folder / name).write_bytes(archive)
    assert site.fetch(name, tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == {"config.json": b"{}", "weights/a.safetensors": CONTENT}


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (tarred(("../../evil", b"x")), "which can't be a path in a folder"),
        (tarred(("link", "/etc/passwd")), "'link', which is neither a file nor a folder"),
        (tarred((".slipway/fetched.json", b"{}")), "which can't be a path in a folder"),
        (zipped(**{"..__evil": b"x"}), "which can't be a path in a folder"),
        (tarred(("a", CONTENT))[:5000], "can't be unpacked"),
        (b"no archive", "can't be unpacked"),
    ],
)
def test_an_archive_that_could_do_harm_is_refused(site: Site, tmp_path: Path, archive: bytes, says: str) -> None:
    (site.folder / "model.tar.gz").write_bytes(archive)
    outcome = site.fetch("model.tar.gz", tmp_path / "model")
    assert (outcome.code, says in outcome.sentence) == (12, True), outcome.sentence
    assert not (tmp_path / "model").exists()
    assert not list(tmp_path.rglob("evil"))
