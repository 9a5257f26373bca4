"""A support bundle: files with masked content, what is missing in it, and the archive that is made of it. Pure."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api.names import OWNER_LABEL
from slipway.objects.kinds import Object

from slipway_cli.cluster.masking import Masker
from slipway_cli.cluster.programs import PROGRAMS, program

FOLDER = "slipway-support"  # in which all files of the archive are
LARGEST = 32 << 20  # bytes of all files together, before they are compressed
LARGEST_FILE = 4 << 20
DATE = 1580601600  # 2020-02-02, of all files, so that the same content makes the same archive
OF_NODES = ("metadata", "spec", "status.conditions", "status.capacity", "status.allocatable", "status.nodeInfo")
"""What is kept of a node: not its addresses, and not its list of images."""


@dataclass(frozen=True)
class File:
    """`masked`: how many credentials were removed from it."""

    path: str
    content: bytes
    masked: int


class Bundle:
    """Grows file by file, up to LARGEST; whatever goes into it passes the masker."""

    def __init__(self) -> None:
        self.masker = Masker()
        self.gaps: list[str] = []
        self._files: dict[str, File] = {}
        self._size = 0

    @property
    def files(self) -> list[File]:
        return [self._files[path] for path in sorted(self._files)]

    @property
    def size(self) -> int:
        return self._size

    def lacks(self, text: str) -> None:
        self.gaps.append(self.masker.text(text))

    def add_document(self, place: Sequence[str], members: Mapping[str, Any]) -> None:
        before = self._masked()
        content = _json(self.masker.thing(members))
        self._add(place, content, self._masked() - before)

    def add_objects(self, place: Sequence[str], things: Sequence[Object]) -> None:
        """The last of them, as far as they fit; nothing, if there are none."""
        before, size = self._masked(), 0
        kept: list[Object] = []
        for each in reversed(things):
            masked = self.masker.thing(each)
            size += len(_json(masked))
            if size > LARGEST_FILE:
                self.lacks(
                    f"{'/'.join(place)} has the last {len(kept)} of {len(things)} objects: it would be too large."
                )
                break
            kept.append(masked)
        if kept:
            self._add(place, _json(kept[::-1]), self._masked() - before)

    def add_log(self, place: Sequence[str], text: str) -> None:
        """The end of it, as far as it fits."""
        before = self._masked()
        content = self.masker.log(text).encode()
        if len(content) > LARGEST_FILE // 4:
            content = content[-LARGEST_FILE // 4 :].partition(b"\n")[2]
            self.lacks(f"{'/'.join(place)} has the end of the log: it would be too large.")
        if content:
            self._add(place, content, self._masked() - before)

    def add_text(self, place: Sequence[str], text: str) -> None:
        """Text of this program, which is in it in any case."""
        self._add(place, text.encode(), 0, needed=True)

    def _add(self, place: Sequence[str], content: bytes, masked: int, *, needed: bool = False) -> None:
        *folders, name = (safe_name(self.masker.text(part)) for part in place)
        path = free_path("/".join([*folders, name]), self._files)
        if self._size + len(content) > LARGEST and not needed:
            self.gaps.append(f"{path} is left out: the bundle would be larger than {LARGEST >> 20} MiB.")
            return
        self._files[path] = File(path, content, masked)
        self._size += len(content)

    def _masked(self) -> int:
        return self.masker.found.total()


def safe_name(name: str) -> str:
    """A name that is one part of a path on each system, whatever an API server calls its objects."""
    found = re.sub(r"[^A-Za-z0-9.-]", "_", name)[:120].rstrip(".")
    found = re.sub(r"^\.+", "_", found) or "_"
    is_device = re.fullmatch(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", found, re.IGNORECASE)
    return f"_{found}" if is_device else found


def free_path(path: str, taken: Mapping[str, Any]) -> str:
    """The path, with a number if two names became the same; also where a system ignores the case."""
    used = {each.lower() for each in taken}
    stem, dot, ending = path.rpartition(".")
    number, found = 1, path
    while found.lower() in used:
        number += 1
        found = f"{stem}-{number}{dot}{ending}" if dot else f"{path}-{number}"
    return found


def archive_of(files: Sequence[File]) -> bytes:
    """A tar.gz that is the same for the same files."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for file in files:
            entry = tarfile.TarInfo(f"{FOLDER}/{file.path}")
            entry.size, entry.mtime, entry.mode = len(file.content), DATE, 0o644
            tar.addfile(entry, io.BytesIO(file.content))
    return packed.getvalue()


# --- what is taken of objects ----------------------------------------------------------------------------------------


def parts_of(deployments: Sequence[Object]) -> list[Object]:
    """The programs of Slipway, KServe and KEDA, and what belongs to them in the same namespaces."""
    found = [each for each in deployments if not is_of_model(each)]
    homes = {each["metadata"].get("namespace") for name in PROGRAMS for each in program(found, name)}
    return [each for each in found if each["metadata"].get("namespace") in homes and _is_part(each)]


def _is_part(deployment: Object) -> bool:
    metadata = deployment["metadata"]
    is_ours = (metadata.get("labels") or {}).get("app.kubernetes.io/part-of") == "slipway"
    return is_ours or metadata["name"] in PROGRAMS or str(metadata["name"]).startswith(("kserve-", "keda-"))


def is_of_model(deployment: Object) -> bool:
    return OWNER_LABEL in (deployment["metadata"].get("labels") or {})


def installation_of(parts: Sequence[Object]) -> list[Object]:
    """How each program runs: its version, image and flags, as the chart's values made them. helm keeps the values
    themselves in a Secret, which is not read."""
    return [
        {
            "name": each["metadata"]["name"],
            "namespace": each["metadata"].get("namespace"),
            "version": (each["metadata"].get("labels") or {}).get("app.kubernetes.io/version"),
            "chart": (each["metadata"].get("labels") or {}).get("helm.sh/chart"),
            "replicas": (each.get("spec") or {}).get("replicas"),
            "ready": (each.get("status") or {}).get("readyReplicas", 0),
            "containers": list(_containers(each)),
        }
        for each in parts
    ]


def _containers(deployment: Object) -> Iterator[Object]:
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    for each in pod.get("containers") or []:
        yield {name: each[name] for name in ("name", "image", "command", "args", "env", "resources") if name in each}


def trimmed_node(node: Object) -> Object:
    found: Object = {}
    for path in OF_NODES:
        section, _, member = path.partition(".")
        there = node.get(section) or {}
        if not member:
            found[section] = there
        elif member in there:
            found.setdefault(section, {})[member] = there[member]
    return found


def _json(value: Any) -> bytes:
    return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode()
