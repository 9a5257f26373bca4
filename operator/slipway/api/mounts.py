"""`spec.pod.volumeMounts`: where a volume may be mounted, as CEL for the API server and as the same check in Python.

In a container of Slipway's engines, a volume may be mounted only in folders of an allow list, from which no program
loads anything on its own: in another folder, a package of the image may find its code, its settings or compiled files.
The image of a user's own ServingRuntime is unknown: there, only the folders of the kernel, of KServe and of every image
are refused.
"""

from __future__ import annotations

import posixpath
import re

from slipway.api.schema import Rule, cel
from slipway.contract.flags import HARMLESS

PLACES = (
    *("/adapters", "/cache", "/certs", "/config", "/data", "/datasets", "/files", "/loras", "/models", "/scratch"),
    *("/secrets", "/srv", "/templates", "/etc/templates", "/mnt/*", "/run/secrets/*", "/var/run/secrets/*"),
    # Of TLS only the trusted certificates: their parent folders have a file that names libraries to load.
    *("/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/ssl/certs", "/usr/local/share/ca-certificates"),
)
"""Each with everything below it. `*` is any single name, so that a mount doesn't hide what is there already."""

# Used by KServe, Kubernetes and Slipway.
KEPT = (
    *("/mnt/adapters", "/mnt/draft", "/mnt/models"),
    *("/run/secrets/kubernetes.io", "/var/run/secrets/kubernetes.io"),
)
# Used by the programs of every image, and by the kernel.
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
"""Parents of all of these: a volume there would hide them."""


def _within(*folders: str) -> str:
    """The pattern of all paths in these folders."""
    begins = "|".join(folder.replace(".", "[.]").replace("*", "[^/]+") for folder in folders)
    return f"^({begins})(/|$)"


_PLACES, _KEPT, _TAKEN, _ABOVE = _within(*PLACES), _within(*KEPT), _within(*KEPT, *TAKEN), f"^({'|'.join(ABOVE)})$"
_NOT_OURS = " is not a place for a volume: mount it elsewhere, such as under /data"
_OURS = (
    " is not a place for a volume in Slipway's engines: mount it under /data, /config or another folder of "
    "docs/reference/pod.md"
)

# --- in CEL ----------------------------------------------------------------------------------------------------------

_IS_OURS = f"self.engine.name in {cel(list(HARMLESS))}"
# A relative path is refused by another rule.
_IS_FREE = (
    f"(!path.startsWith('/') || ({_IS_OURS} ? "
    f"path.matches({cel(_PLACES)}) && !path.matches({cel(_KEPT)}) : "
    f"!path.matches({cel(_TAKEN)}) && !path.matches({cel(_ABOVE)})))"
)
_PATHS = "self.pod.volumeMounts.map(mount, mount.mountPath)"
FREE_PLACES = Rule(
    rule=f"!has(self.pod) || !has(self.pod.volumeMounts) || {_PATHS}.all(path, {_IS_FREE})",
    message="a volume is mounted in a reserved folder: mount it elsewhere, such as under /data",
    says=f"[{_PATHS}.filter(path, !{_IS_FREE})[0]].map(path, path + ({_IS_OURS} ? {cel(_OURS)} : {cel(_NOT_OURS)}))[0]",
    at=".pod.volumeMounts",
    why="FieldValueForbidden",
)

# --- in Python -------------------------------------------------------------------------------------------------------


def why_refused(engine: str, path: str) -> str | None:
    """Returns the same sentence, or None for a path that is allowed."""
    meant = posixpath.normpath("/" + path.lstrip("/"))
    if engine in HARMLESS:
        return None if re.match(_PLACES, meant) and not re.match(_KEPT, meant) else path + _OURS
    return path + _NOT_OURS if re.match(_TAKEN, meant) or re.match(_ABOVE, meant) else None
