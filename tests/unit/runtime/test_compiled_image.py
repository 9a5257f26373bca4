"""What `warm --push` has compiled is an image, which is mounted as the store of other pods."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.compiled.publishing import Request, publish
from slipway_runtime.compiled.store import entries, name_of, opened_entry
from slipway_runtime.compiled_image import Push
from slipway_runtime.contract.pod import PUSHED_START
from slipway_runtime.engines.engine import StartRefusedError
from support.fakes.oci_registry import Registry, answers, registry

KEY = {"engine": "vLLM 0.32", "device": "h100"}
PUSH_FAILED = 60


@pytest.fixture
def server() -> Iterator[Registry]:
    with registry() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """One with an entry, as a start leaves it."""
    files, store = tmp_path / "files", tmp_path / "store"
    files.mkdir()
    (files / "kernel.so").write_bytes(b"compiled" * 1000)
    os.utime(files / "kernel.so", (1, 1))
    request = Request(root=str(store), key=KEY, files=str(files), snapshot=str(tmp_path / "snapshot"), limit=1 << 30)
    assert publish(request).published
    return store


def arguments(server: Registry, store: Path, **others: object) -> argparse.Namespace:
    given = {
        "only_warm": True,
        "push": f"{server.address}/team/caches:llama",
        "push_secret": None,
        "push_plain_http": False,
        "cache": store,
        "termination_log": store.parent / "termination-log",
    }
    return argparse.Namespace(**{**given, **others})


def wanted(server: Registry, store: Path) -> Push:
    push = Push.wanted(arguments(server, store))
    assert push
    return push


def layer_of(server: Registry) -> tarfile.TarFile:
    digest = json.loads(server.manifests["llama"])["layers"][0]["digest"]
    return tarfile.open(fileobj=io.BytesIO(server.blobs[digest]), mode="r:")


def test_the_image_is_a_store_with_the_entry(server: Registry, store: Path, tmp_path: Path) -> None:
    assert wanted(server, store).carry_out(name_of(KEY), lambda _: None) is None
    with layer_of(server) as layer:
        layer.extractall(tmp_path / "mounted", filter="data")
    assert entries(tmp_path / "mounted") == [name_of(KEY)]
    with opened_entry(tmp_path / "mounted", KEY) as (_, manifest, content):
        assert os.fstat(content).st_size == manifest.size


def test_only_the_entry_of_this_start_is_in_the_image(server: Registry, store: Path) -> None:
    (store / ("0" * 32)).mkdir()
    (store / ("0" * 32) / "manifest.json").write_text("{}")
    (store / name_of(KEY) / ".unfinished-1").write_text("of a writer that was killed")
    wanted(server, store).carry_out(name_of(KEY), lambda _: None)
    with layer_of(server) as layer:
        names = layer.getnames()
    assert names[0] == name_of(KEY)
    assert [Path(name).name.partition("-")[0] for name in names[1:]] == ["content", "manifest.json"]


def test_the_termination_message_names_the_image_by_its_digest(server: Registry, store: Path) -> None:
    push = wanted(server, store)
    push.carry_out(name_of(KEY), lambda _: None)
    start, _, reported = push.report.read_text().partition(":")
    assert f"{start}:" == PUSHED_START
    content = json.loads(reported)
    assert content["image"].startswith(f"{server.address}/team/caches@sha256:")
    assert content["image"].partition("@")[2] in server.manifests
    assert content["key"] == name_of(KEY)


def test_without_an_entry_nothing_is_pushed(server: Registry, store: Path) -> None:
    failure = wanted(server, store).carry_out("1" * 32, lambda _: None)
    assert failure
    assert failure.reason.exit_code == PUSH_FAILED
    assert "no entry" in failure.message
    assert not server.blobs


def test_a_registry_that_refuses_is_found_before_the_engine_starts(server: Registry, store: Path) -> None:
    server.faults.append(answers(401))
    with pytest.raises(StartRefusedError) as raised:
        Push.wanted(arguments(server, store))
    assert raised.value.failure.reason.exit_code == PUSH_FAILED
    assert "requires credentials" in raised.value.failure.message


def test_the_first_check_leaves_no_upload_behind(server: Registry, store: Path) -> None:
    wanted(server, store)
    assert [each.split()[0] for each in server.requests] == ["POST", "DELETE"]


def test_nothing_is_pushed_where_nobody_asked_for_it(server: Registry, store: Path) -> None:
    assert Push.wanted(arguments(server, store, push=None)) is None
    assert Push.wanted(argparse.Namespace(only_warm=False)) is None
    assert not server.requests


def test_a_failure_is_the_exit_code_and_the_termination_message(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    options = [f"--cache={tmp_path}", "--push=caches:llama", f"--termination-log={log}"]
    ended = subprocess.run(
        [sys.executable, "-m", "slipway_runtime", "warm", "vllm", *options],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == PUSH_FAILED
    assert json.loads(log.read_text())["reason"] == "PushFailed"
    assert "REGISTRY/REPOSITORY:TAG" in json.loads(log.read_text())["remedy"]
