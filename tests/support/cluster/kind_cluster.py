"""A cluster made by kind, where Docker runs, with the same KServe and KEDA as a devcluster; their images are pulled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from slipway_devcluster import pki, platform
from slipway_devcluster.builds import ensure_all
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

KIND_VERSION = "v0.30.0"
KUBERNETES_VERSION = "v1.34.0"
READY_TIMEOUT = 300


@contextmanager
def created(name: str, *, cache: Cache, steps: Steps, keep: bool) -> Iterator[Any]:
    """Yields pytest-kind's KindCluster, with KServe and KEDA Available."""
    _refuse_without_docker()
    os.environ.setdefault("KIND_VERSION", KIND_VERSION)  # pytest-kind reads them on import
    os.environ.setdefault("KUBECTL_VERSION", KUBERNETES_VERSION)
    from pytest_kind import KindCluster  # noqa: PLC0415

    kind = KindCluster(name, image=f"kindest/node:{KUBERNETES_VERSION}")
    kind.ensure_kubectl()
    kind.create(_configuration(Path(kind.path), cache))
    try:
        _install_platform(kind, cache, steps)
        yield kind
    finally:
        if not keep:
            kind.delete()


def _refuse_without_docker() -> None:
    try:
        answered = subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        answered = False
    if not answered:
        raise Refusal("`docker info` does not answer; start Docker, or use --cluster=embedded, which needs only root")


def _configuration(folder: Path, cache: Cache) -> Path:
    """Mounts this machine's model cache at the same path in kind's node."""
    cache.models.mkdir(parents=True, exist_ok=True)
    mount = {"hostPath": str(cache.models), "containerPath": str(cache.models), "readOnly": True}
    nodes = [{"role": "control-plane", "extraMounts": [mount]}]
    path = folder / "kind.yaml"
    path.write_text(yaml.safe_dump({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}))
    return path


def _install_platform(kind: Any, cache: Cache, steps: Steps) -> None:
    builds = ensure_all(["kubernetes", "helm", "kserve", "keda"], cache, steps)
    objects = platform.rendered(builds, cache)
    certificates = platform.issue_certificates(pki.Authority("slipway-tests"))

    def kubectl(arguments: list[str], stdin: bytes | None) -> str:
        command = [kind.kubectl_path, f"--kubeconfig={kind.kubeconfig_path}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise Refusal(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    with steps.step("KServe and KEDA in kind"):
        platform.install(platform.adapt(objects, certificates), kubectl)
        platform.wait_until_available(kubectl, timeout=READY_TIMEOUT)
