"""An archive is unpacked as it was packed, and one from elsewhere creates nothing but regular files in its folder."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway_runtime.compiled import snapshot
from slipway_runtime.compiled.archive import DamagedError, pack, unpack
from slipway_runtime.compiled.manifest import Manifest

FILES = {
    "vllm/torch_compile_cache/a/model": b"\0" * 5000,
    "triton/x/kernel.so": b"code",
    "empty": b"",
    f"inductor/{'n' * 200}/{'m' * 200}.cpp": b"int main;",
    "names/ä b\n": b"odd",
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed(folder: Path, to: Path) -> Manifest:
    with to.open("wb") as file:
        done = pack(folder, snapshot.taken(folder), file)
    return Manifest(key={}, digest=done.digest, size=done.size, files=done.files)


def unpacked(archive: Path, into: Path, manifest: Manifest) -> Path:
    into.mkdir()
    file = os.open(archive, os.O_RDONLY)
    try:
        unpack(file, into, manifest)
    finally:
        os.close(file)
    return into


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_files_are_as_they_were(tmp_path: Path) -> None:
    source = write(tmp_path / "source", FILES)
    (source / "triton/x/kernel.so").chmod(0o700)
    os.utime(source / "empty", (1, 1))
    target = unpacked(tmp_path / "a", tmp_path / "target", packed(source, tmp_path / "a"))
    assert contents(target) == FILES
    assert os.access(target / "triton/x/kernel.so", os.X_OK)
    assert not (target / "empty").stat().st_mode & 0o111
    assert (target / "empty").stat().st_mtime == 1


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    manifests = []
    for name in ("one", "two"):
        source = write(tmp_path / name, FILES)
        for path in source.rglob("*"):
            os.utime(path, (5, 5))
        manifests.append(packed(source, tmp_path / f"{name}.tar"))
    assert manifests[0] == manifests[1]


def test_python_reads_it_as_a_tar_archive(tmp_path: Path) -> None:
    packed(write(tmp_path / "source", FILES), tmp_path / "a")
    with tarfile.open(tmp_path / "a") as archive:
        assert set(archive.getnames()) == set(FILES)


# --- archives from elsewhere -----------------------------------------------------------------------------------------


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"x", **more: object) -> Callable[..., None]:
    def add(archive: tarfile.TarFile) -> None:
        about = tarfile.TarInfo(name)
        about.type, about.size = kind, len(content)
        for key, value in more.items():
            setattr(about, key, value)
        archive.addfile(about, io.BytesIO(content))

    return add


def hostile(file: Path, *members: Callable[[tarfile.TarFile], None], form: int = tarfile.GNU_FORMAT) -> Manifest:
    """Writes an archive with these members, and returns the manifest by which it would be right."""
    with tarfile.open(file, "w", format=form) as archive:
        for add in members:
            add(archive)
    return announced(file, len(members))


def announced(file: Path, files: int) -> Manifest:
    text = file.read_bytes()
    return Manifest(key={}, digest=hashlib.sha256(text).hexdigest(), size=len(text), files=files)


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside")],
        [member("/outside")],
        [member("a/../../outside")],
        [member("a/./b")],
        [member("a//b")],
        [member(".")],
        [member("x" * 1025)],
        [member("a", tarfile.SYMTYPE, b"", linkname="/etc")],
        [member("a", tarfile.SYMTYPE, b"", linkname=".."), member("a/outside")],
        [member("b"), member("a", tarfile.LNKTYPE, b"", linkname="b")],
        [member("a", tarfile.LNKTYPE, b"", linkname="/etc/passwd")],
        [member("a", tarfile.CHRTYPE, b"", devmajor=1, devminor=5)],
        [member("a", tarfile.BLKTYPE, b"")],
        [member("a", tarfile.FIFOTYPE, b"")],
        [member("a", tarfile.DIRTYPE, b"")],
        [member("a", tarfile.GNUTYPE_SPARSE)],
        [member("a", b"9")],
        [member("a"), member("a")],
        [member("a"), member("a/b")],
        [member("a/b"), member("a")],
    ],
)
def test_a_member_that_is_not_a_new_regular_file_in_the_folder_is_refused(
    tmp_path: Path, members: list[Callable[[tarfile.TarFile], None]]
) -> None:
    manifest = hostile(tmp_path / "a", *members)
    with pytest.raises(DamagedError):
        unpacked(tmp_path / "a", tmp_path / "target", manifest)
    assert set(os.listdir(tmp_path)) == {"a", "target"}  # noqa: PTH208 - only names are needed
    assert not [path for path in (tmp_path / "target").rglob("*") if path.is_symlink()]


def test_other_formats_of_tar_are_refused(tmp_path: Path) -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        manifest = hostile(tmp_path / f"a{form}", member("a"), form=form)
        with pytest.raises(DamagedError, match="not a tar archive"):
            unpacked(tmp_path / f"a{form}", tmp_path / f"target{form}", manifest)


def test_an_archive_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    manifest = packed(write(tmp_path / "source", FILES), tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    for number, size in enumerate(range(0, len(whole), 777)):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(DamagedError, match="shorter"):
            unpacked(tmp_path / "cut", tmp_path / f"target{number}", manifest)


def test_other_content_of_the_same_size_is_refused(tmp_path: Path) -> None:
    manifest = packed(write(tmp_path / "source", FILES), tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole.replace(b"int main", b"int mine"))
    with pytest.raises(DamagedError, match="another digest"):
        unpacked(tmp_path / "a", tmp_path / "target", manifest)


def test_more_files_than_announced_are_not_written(tmp_path: Path) -> None:
    manifest = hostile(tmp_path / "a", *(member(f"f{number}") for number in range(20)))
    few = Manifest(key={}, digest=manifest.digest, size=manifest.size, files=10)
    with pytest.raises(DamagedError, match="more than the 10 files"):
        unpacked(tmp_path / "a", tmp_path / "target", few)
    assert len(contents(tmp_path / "target")) == 10


def test_folders_without_end_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_runtime.compiled.archive.MOST_FOLDERS", 100)
    manifest = hostile(tmp_path / "a", member("/".join("a" * 200)))
    with pytest.raises(DamagedError, match="more than 100 folders"):
        unpacked(tmp_path / "a", tmp_path / "target", manifest)
    assert len(list((tmp_path / "target").rglob("*"))) == 100


def test_a_huge_file_of_nothing_is_refused_without_reading_it(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 1 << 40)
    with pytest.raises(DamagedError, match="ends long before"):
        unpacked(tmp_path / "a", tmp_path / "target", Manifest(key={}, digest="0" * 64, size=1 << 40, files=1))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_bytes_are_changed_nothing_is_created_outside_the_folder(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / os.urandom(8).hex()
    folder.mkdir()
    packed(write(folder / "source", {"a/b": b"x" * 600, "c": b"y"}), folder / "a")
    text = bytearray((folder / "a").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(text), 3000) - 1))
        text[at] = data.draw(st.integers(0, 255))
    for start in (0, 512 + 1024):  # with headers that are valid again, so that more than the checksum is tried
        text[start + 148 : start + 156] = b"%06o\0 " % (
            sum(text[start : start + 148]) + sum(text[start + 156 : start + 512]) + 256
        )
    (folder / "a").write_bytes(text)
    with suppress(DamagedError):
        unpacked(folder / "a", folder / "target", announced(folder / "a", 2))
    assert set(os.listdir(folder)) == {"source", "a", "target"}  # noqa: PTH208 - only names are needed
    assert all(path.is_file() or path.is_dir() for path in (folder / "target").rglob("*"))
