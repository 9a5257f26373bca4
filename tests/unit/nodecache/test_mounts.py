"""What the kernel says of mounts, whose paths tenants choose."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from slipway.nodecache.mounts import Mount, mounted, parsed, where


def line(target: str, root: str = "/a", device: str = "8:1") -> bytes:
    return f"36 35 {device} {root} {target} rw,noatime master:1 - ext4 /dev/vda rw\n".encode()


@pytest.mark.parametrize("between", ["\r", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028", "\u00a0"])
def test_no_name_that_a_tenant_chooses_ends_a_field_or_a_line(between: str) -> None:
    forged = f"/x{between}36{between}35{between}8:1{between}/namespaces/u{between}/target"
    found = parsed(line("/first", forged) + line("/second"))
    assert [(each.root, each.target) for each in found] == [(forged, Path("/first")), ("/a", Path("/second"))]


def test_what_the_kernel_escapes_is_read_as_it_is() -> None:
    [found] = parsed(line(r"/a\040b\134c\012d\011e"))
    assert found.target == Path("/a b\\c\nd\te")


def test_names_that_are_no_text_and_lines_that_are_cut_stop_nothing() -> None:
    first, second = parsed(b"36 35 8:1 /\xff /\xfe rw\n36 35\n" + line("/second"))
    assert bytes(first.target) == b"/\xfe"
    assert second.target == Path("/second")


def test_the_mounts_of_this_process_are_read() -> None:
    assert where(Path("/proc/self"), mounted())[1] == PurePosixPath("/self")


def test_a_path_is_where_the_nearest_and_last_mount_above_it_is() -> None:
    seen = [Mount("8:1", "/", Path("/")), Mount("8:2", "/old", Path("/var")), Mount("8:3", "/data", Path("/var"))]
    assert where(Path("/var/lib/models"), seen) == ("8:3", PurePosixPath("/data/lib/models"))
    assert where(Path("/variable"), seen) == ("8:1", PurePosixPath("/variable"))


def test_a_path_in_no_mount_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="/var/lib/models"):
        where(Path("/var/lib/models"), [])
