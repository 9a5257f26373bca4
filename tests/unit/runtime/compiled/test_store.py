"""A start reads the entry of its key, if it is complete and unchanged. Anything else in its place costs it nothing but
the compilation: no error, no wait, and nothing outside of its scratch folder is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from slipway_runtime.compiled.eviction import UNFINISHED
from slipway_runtime.compiled.manifest import LARGEST, Manifest
from slipway_runtime.compiled.publishing import Outcome, Request, publish
from slipway_runtime.compiled.reading import Reader, Reading, read
from slipway_runtime.compiled.scratch import Scratch
from slipway_runtime.compiled.store import name_of

KEY = {"engine": "vLLM 0.32.0", "device": "NVIDIA H200 9.0", "--max-model-len": "8192"}
AGES_AGO = 1_000_000_000


def compile_into(scratch: Scratch, content: str = "compiled", name: str = "vllm/artifact") -> Path:
    """Writes a file as an engine does it, long enough ago to be complete."""
    file = scratch.files / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    os.utime(file, (AGES_AGO, AGES_AGO))
    return file


def published(store: Path, scratch: Scratch, key: dict[str, str] = KEY) -> Outcome:
    return publish(
        Request(root=str(store), key=key, files=str(scratch.files), snapshot=str(scratch.snapshot), limit=1 << 30)
    )


def filled(store: Path, tmp_path: Path, key: dict[str, str] = KEY) -> Path:
    """Returns the folder of an entry that another pod has published."""
    other = Scratch.within(tmp_path / "other pod")
    compile_into(other)
    compile_into(other, "int main;", "inductor/a.cpp")
    assert published(store, other, key).published
    other.close()
    return store / name_of(key)


def content_in(entry: Path) -> Path:
    [content] = entry.glob("content-*.tar")
    return content


def files_in(scratch: Scratch) -> dict[str, str]:
    return {
        str(file.relative_to(scratch.files)): file.read_text() for file in scratch.files.rglob("*") if file.is_file()
    }


def test_what_one_start_has_published_the_next_one_has(store: Path, scratch: Scratch, tmp_path: Path) -> None:
    filled(store, tmp_path)
    found = read(store, KEY, scratch)
    assert (found.found, found.files) == (True, 2)
    assert files_in(scratch) == {"vllm/artifact": "compiled", "inductor/a.cpp": "int main;"}


def test_an_empty_store_has_nothing(store: Path, scratch: Scratch) -> None:
    assert read(store, KEY, scratch) == Reading(reason=f"The store {store} has no entry yet.")
    store.mkdir()
    (store / "lost+found").mkdir()
    assert read(store, KEY, scratch) == Reading(reason=f"The store {store} has no entry yet.")


def test_a_start_without_an_entry_is_told_what_differs_from_the_nearest_one(
    store: Path, scratch: Scratch, tmp_path: Path
) -> None:
    filled(store, tmp_path, {**KEY, "--max-model-len": "4096", "engine": "vLLM 0.31.0"})
    filled(store, tmp_path, {**KEY, "--dtype": "float16"})
    assert (
        read(store, KEY, scratch).reason == f"No entry of {store} fits this start: --dtype is not set, and was float16."
    )


def test_what_differs_cannot_forge_lines_of_the_log(store: Path, scratch: Scratch, tmp_path: Path) -> None:
    filled(store, tmp_path, {**KEY, "--x\nslipway-runtime: y": "\x1b[2J\nslipway-runtime: z", "--long": "x" * 5000})
    reason = read(store, KEY, scratch).reason
    assert reason.isprintable()
    assert len(reason) < 500


def test_many_differences_are_counted(store: Path, scratch: Scratch, tmp_path: Path) -> None:
    filled(store, tmp_path, {**KEY, **{f"--flag-{number:02}": "x" for number in range(20)}})
    assert read(store, KEY, scratch).reason.endswith("--flag-07 is not set, and was x; and 12 more.")


# --- entries that can't be used --------------------------------------------------------------------------------------

Damage = Callable[[Path], object]


def damage_manifest(text: str) -> Damage:
    return lambda entry: (entry / "manifest.json").write_text(text)


def change_manifest(**changes: object) -> Damage:
    def change(entry: Path) -> None:
        file = entry / "manifest.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def replace_by(make: Damage, which: Callable[[Path], Path]) -> Damage:
    def replace(entry: Path) -> None:
        place = which(entry)
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        make(place)

    return replace


def manifest_of(entry: Path) -> Path:
    return entry / "manifest.json"


def grow(file: Path, size: int) -> None:
    os.truncate(file, size)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no manifest": (lambda entry: manifest_of(entry).unlink(), "has no entry yet"),
    "an empty manifest": (damage_manifest(""), "its manifest.json is damaged"),
    "half a manifest": (damage_manifest('{"format": 2, "key": {'), "its manifest.json is damaged"),
    "a manifest of another form": (damage_manifest("[]"), "its manifest.json is damaged"),
    "a manifest of another version": (change_manifest(format=1), "its manifest.json is damaged"),
    "a manifest with more members": (change_manifest(more=1), "its manifest.json is damaged"),
    "a manifest with odd values": (change_manifest(size="1"), "its manifest.json is damaged"),
    "a manifest without a number": (
        change_manifest(filled={"startSeconds": float("nan")}),
        "its manifest.json is damaged",
    ),
    "a manifest that announces too much": (change_manifest(size=1 << 40), "its manifest.json is damaged"),
    "a manifest that announces too many files": (change_manifest(files=1 << 40), "its manifest.json is damaged"),
    "a manifest whose digest is a path": (change_manifest(digest="../" * 21 + "a"), "its manifest.json is damaged"),
    "a deep manifest": (damage_manifest("[" * 100_000), "its manifest.json is damaged"),
    "a huge manifest": (lambda entry: grow(manifest_of(entry), 1 << 30), "its manifest.json is damaged"),
    "a manifest at the limit": (lambda entry: grow(manifest_of(entry), LARGEST), "its manifest.json is damaged"),
    "a pipe as manifest": (replace_by(os.mkfifo, manifest_of), "its manifest.json is not a regular file"),
    "a folder as manifest": (replace_by(os.mkdir, manifest_of), "its manifest.json is not a regular file"),
    "a link as manifest": (replace_by(lambda p: p.symlink_to("/etc/passwd"), manifest_of), "a link or a file where"),
    "another key's manifest": (
        change_manifest(key={**KEY, "--dtype": "x"}),
        "something else: --dtype is not set, and was",
    ),
    "no content": (lambda entry: content_in(entry).unlink(), "its content is missing"),
    "less content": (lambda entry: grow(content_in(entry), 1000), "its content has 1000 bytes"),
    "more content": (lambda entry: grow(content_in(entry), 1 << 40), "its content has 1099511627776 bytes"),
    "another content": (
        lambda entry: content_in(entry).write_bytes(b"x" * content_in(entry).stat().st_size),
        "not a tar",
    ),
    "a pipe as content": (replace_by(os.mkfifo, content_in), "is not a regular file"),
    "a folder as content": (replace_by(os.mkdir, content_in), "is not a regular file"),
    "a link as content": (replace_by(lambda p: p.symlink_to("/dev/zero"), content_in), "a link or a file where"),
    "a file as entry": (replace_by(Path.touch, lambda entry: entry), "a link or a file where"),
    "a link as entry": (replace_by(lambda p: p.symlink_to("/"), lambda entry: entry), "a link or a file where"),
    "a pipe as entry": (replace_by(os.mkfifo, lambda entry: entry), "a link or a file where"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_entry_that_cannot_be_used_is_compiled_again_and_replaced(
    store: Path, scratch: Scratch, tmp_path: Path, damage: tuple[Damage, str]
) -> None:
    make, reason = damage
    make(filled(store, tmp_path))
    found = read(store, KEY, scratch)
    assert not found.found
    assert reason in found.reason
    assert files_in(scratch) == {}
    compile_into(scratch, "compiled again")
    assert published(store, scratch).published
    another = Scratch.within(tmp_path / "third pod")
    assert read(store, KEY, another).found
    assert files_in(another) == {"vllm/artifact": "compiled again"}
    another.close()


def test_an_entry_without_permission_is_not_used(store: Path, scratch: Scratch, tmp_path: Path) -> None:
    """Root may read everything, so a limit of open files stands for it there."""
    entry = filled(store, tmp_path)
    content_in(entry).chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    assert "can't be read: Permission denied" in read(store, KEY, scratch).reason


def test_a_start_that_reads_while_another_publishes_reads_the_old_entry_or_the_new_one(
    store: Path, scratch: Scratch, tmp_path: Path
) -> None:
    writer = Scratch.within(tmp_path / "writer")
    seen = set()
    pid = os.fork()
    if pid == 0:
        try:
            for number in range(60):
                compile_into(writer, f"{number}" * 1000)
                os.utime(writer.files / "vllm/artifact", (AGES_AGO + number, AGES_AGO + number))
                published(store, writer)
        finally:
            os._exit(0)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        found = read(store, KEY, scratch)
        if found.found:
            [text] = files_in(scratch).values()
            assert len(set(text[: len(text) // 1000])) >= 1
            assert text == text[: len(text) // 1000] * 1000
            seen.add(text)
        else:
            assert "has no entry yet" in found.reason
    assert seen
    writer.close()


# --- the process that reads ------------------------------------------------------------------------------------------


def test_the_process_reports_what_it_has_read(store: Path, scratch: Scratch, tmp_path: Path) -> None:
    filled(store, tmp_path)
    found = Reader(store, KEY, scratch).result()
    assert (found.found, found.files) == (True, 2)
    assert files_in(scratch)["vllm/artifact"] == "compiled"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_store_that_does_not_answer_delays_a_start_only_so_long(
    store: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("slipway_runtime.compiled.reading.read", lambda *_: os.kill(os.getpid(), number))
    found = Reader(store, KEY, scratch).result(patience=0.5)
    assert not found.found
    expected = "didn't answer within 0.5 s" if number == signal.SIGSTOP else "was killed"
    assert expected in found.reason
    assert files_in(scratch) == {}


def test_a_bug_in_the_process_costs_only_the_cache(
    store: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("slipway_runtime.compiled.reading.read", fails)
    assert "wasn't read: KeyError" in Reader(store, KEY, scratch).result().reason


# --- the scratch folder ----------------------------------------------------------------------------------------------


def test_what_an_earlier_container_has_left_is_not_used(tmp_path: Path) -> None:
    first = Scratch.within(tmp_path)
    compile_into(first, "half of it")
    os.close(first._lock)  # as if it was killed
    second = Scratch.within(tmp_path)
    assert second.folder == first.folder
    assert files_in(second) == {}
    second.close()


def test_two_pods_on_one_machine_have_folders_of_their_own(tmp_path: Path) -> None:
    first = Scratch.within(tmp_path)
    second = Scratch.within(tmp_path)
    compile_into(first)
    assert files_in(second) == {}
    second.close()
    assert files_in(first)
    first.close()
    assert not list(tmp_path.glob("compiled*/"))


def test_a_scratch_folder_without_space_costs_only_the_cache(
    store: Path, scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store, tmp_path)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slipway_runtime.compiled.reading.unpack", fails)
    found = read(store, KEY, scratch)
    assert not found.found
    assert "can't be unpacked into" in found.reason
    assert files_in(scratch) == {}


def test_an_unfinished_file_is_not_an_entry(store: Path, scratch: Scratch) -> None:
    entry = store / name_of(KEY)
    entry.mkdir(parents=True)
    (entry / f"{UNFINISHED}abc").write_text("half of it")
    assert "has no entry yet" in read(store, KEY, scratch).reason


def test_a_manifest_says_the_same_after_it_was_written() -> None:
    manifest = Manifest(key=KEY, digest="a" * 64, size=1, files=1, filled={"startSeconds": 1.5})
    assert Manifest.read(manifest.as_json()) == manifest
