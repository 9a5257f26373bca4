"""`spec.pod.volumeMounts`: where a volume may lie, in CEL for the API server and the same in Python.

In a container of Slipway's engines that is a list of folders that no program looks into by itself: what isn't in it may
be where some package of the image finds its code, its settings, or what it compiled before. A ServingRuntime of
somebody else's has an image that nothing is known of: there only what belongs to any image, to the kernel and to KServe
is kept.
"""

from __future__ import annotations

import posixpath
import re

from slipway.api.schema import Rule, cel
from slipway.contract.flags import HARMLESS

PLACES = (
    *("/adapters", "/cache", "/certs", "/config", "/data", "/datasets", "/files", "/loras", "/models", "/scratch"),
    *("/secrets", "/srv", "/templates", "/etc/templates", "/mnt/*", "/run/secrets/*", "/var/run/secrets/*"),
    # Of TLS only the certificates that are trusted: the folders above have a file that names libraries to load.
    *("/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/ssl/certs", "/usr/local/share/ca-certificates"),
)
"""Each with all that is below it; `*` is any one name, so that what is there already isn't hidden."""

# What KServe, Kubernetes and Slipway put there themselves.
KEPT = (
    *("/mnt/adapters", "/mnt/draft", "/mnt/models"),
    *("/run/secrets/kubernetes.io", "/var/run/secrets/kubernetes.io"),
)
# Of any image's programs, and of the kernel.
TAKEN = (
    *(
        "/bin",
        "/boot",
        "/dev",
        "/lib",
        "/lib32",
        "/lib64",
        "/opt",
        "/proc",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
        "/var/run",
    ),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/slipway"),
)
ABOVE = ("/", "/etc", "/mnt", "/var")
"""Folders above all of these: a volume there hides them."""


def _within(*folders: str) -> str:
    """The pattern of all paths that begin there."""
    begins = "|".join(folder.replace(".", "[.]").replace("*", "[^/]+") for folder in folders)
    return f"^({begins})(/|$)"


_PLACES, _KEPT, _TAKEN, _ABOVE = _within(*PLACES), _within(*KEPT), _within(*KEPT, *TAKEN), f"^({'|'.join(ABOVE)})$"
_NOT_OURS = " is no place for a volume: mount it elsewhere, such as under /data"
_OURS = (
    " is no place for a volume in Slipway's engines: mount it under /data, /config or another folder of "
    "docs/reference/pod.md"
)

# --- in CEL ----------------------------------------------------------------------------------------------------------

_IS_OURS = f"self.engine.name in {cel(list(HARMLESS))}"
# What isn't written as a path from the root is refused as such.
_IS_FREE = (
    f"(!path.startsWith('/') || ({_IS_OURS} ? "
    f"path.matches({cel(_PLACES)}) && !path.matches({cel(_KEPT)}) : "
    f"!path.matches({cel(_TAKEN)}) && !path.matches({cel(_ABOVE)})))"
)
_PATHS = "self.pod.volumeMounts.map(mount, mount.mountPath)"
FREE_PLACES = Rule(
    rule=f"!has(self.pod) || !has(self.pod.volumeMounts) || {_PATHS}.all(path, {_IS_FREE})",
    message="a volume is mounted where none may be: mount it elsewhere, such as under /data",
    says=f"[{_PATHS}.filter(path, !{_IS_FREE})[0]].map(path, path + ({_IS_OURS} ? {cel(_OURS)} : {cel(_NOT_OURS)}))[0]",
    at=".pod.volumeMounts",
    why="FieldValueForbidden",
)

# --- in Python -------------------------------------------------------------------------------------------------------


def why_refused(engine: str, path: str) -> str | None:
    """The same sentence; None for where a volume may be."""
    meant = posixpath.normpath("/" + path.lstrip("/"))
    if engine in HARMLESS:
        return None if re.match(_PLACES, meant) and not re.match(_KEPT, meant) else path + _OURS
    return path + _NOT_OURS if re.match(_TAKEN, meant) or re.match(_ABOVE, meant) else None
