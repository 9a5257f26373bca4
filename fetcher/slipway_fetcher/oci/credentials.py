# Generated from runtime-image/slipway_runtime/oci/credentials.py by `make generate`; do not edit.
"""Credentials for a registry: from a docker config.json, as a Secret of type kubernetes.io/dockerconfigjson has it."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_fetcher.oci.problem import RegistryError

FILES = (".dockerconfigjson", "config.json")
AUTHORITY = "ca.crt"  # in the same Secret
LARGEST = 1 << 20  # bytes; no Secret is larger
HUB = "docker.io"
NAMES_OF_HUB = (HUB, "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Credentials:
    """A user with a password, or a token that is exchanged for others."""

    user: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:  # never in a log or a traceback
        return "Credentials(…)"

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def has_credentials(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILES)


def from_folder(folder: Path, registry: str, repository: str) -> Credentials:
    """Those for the repository, from a mounted Secret."""
    for name in FILES:
        if (file := folder / name).is_file():
            return credentials_for(_read(file), registry, repository)
    raise RegistryError(
        f"{folder} has no {FILES[0]}, which must have the credentials for {registry}.",
        "Create the Secret with `kubectl create secret docker-registry`.",
    )


def credentials_for(text: str, registry: str, repository: str) -> Credentials:
    """The entry with the longest path counts, as for the kubelet."""
    try:
        config = json.loads(text)
        entries: dict[str, Any] = dict(config.get("auths") or {})
        fitting = {name: each for name, each in entries.items() if _fits(name, registry, repository)}
        if fitting:
            return _entry(fitting[max(fitting, key=_exactness)])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise RegistryError(
            "The docker config.json with the registry's credentials is not valid.",
            "Create the Secret with `kubectl create secret docker-registry`.",
        ) from error
    helper = config.get("credHelpers") or config.get("credsStore")
    helped = " It names a credential helper, a program that isn't here." if helper else ""
    others = f"has {len(entries)} for others" if entries else "has none at all"  # not which: all may read it
    raise RegistryError(
        f"The docker config.json has no credentials for {registry}/{repository}; it {others}.{helped}",
        f"Create the Secret with `kubectl create secret docker-registry --docker-server={registry}`.",
    )


def _fits(name: str, registry: str, repository: str) -> bool:
    """`name`: a host, with a scheme and a path or not, and with patterns in parts of the host."""
    host, _, path = name.partition("://")[2].partition("/") if "://" in name else name.partition("/")
    path = path.strip("/")
    if host in NAMES_OF_HUB:
        return registry in NAMES_OF_HUB and path in ("", "v1", "v2")
    if path in ("v1", "v2") and "://" in name:  # how docker wrote them
        path = ""
    return _host_fits(host, registry) and (not path or f"{repository}/".startswith(f"{path}/"))


def _host_fits(pattern: str, host: str) -> bool:
    parts, patterns = host.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def _exactness(name: str) -> tuple[int, bool, int]:
    bare = name.partition("://")[2] if "://" in name else name
    return bare.strip("/").count("/"), "*" not in bare, len(bare)


def _entry(entry: Mapping[str, Any]) -> Credentials:
    token = str(entry.get("identitytoken") or "")
    if entry.get("auth"):
        user, _, password = _decoded(str(entry["auth"])).partition(":")
        return Credentials(user, password.strip("\0"), token)
    return Credentials(str(entry.get("username") or ""), str(entry.get("password") or ""), token)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("auth") from error


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST).decode(errors="replace")
    except OSError as error:
        raise RegistryError(f"{file} can't be read: {error.strerror}.", "Mount the Secret readable.") from error
