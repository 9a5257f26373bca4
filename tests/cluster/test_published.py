"""A release that was pushed to a registry is installed from there, by kubectl and by helm, and serves a model.

It uses the commands of docs/quickstart.md, and helm from the registry as in docs/install.md. The images are those that
this checkout builds for devclusters: tests/release covers the steps before a push.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from slipway_devcluster import demo, lifecycle, registry, requirements
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.containerfiles import build_image
from slipway_devcluster.slipway import ACTIVATOR, LLAMACPP_IMAGE, OPERATOR, OPERATOR_IMAGE
from slipway_release import making, publishing
from slipway_release.source import Release, look
from support.cluster import AnyCluster, Settings
from support.cluster.clusters import own_devcluster
from support.repository import QUICKSTART, ROOT, commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]

RELEASE_COMMAND = Path(sys.executable).parent / "slipway-release"
IMAGES = {"slipway-operator": OPERATOR_IMAGE, "slipway-llamacpp": LLAMACPP_IMAGE}


@pytest.fixture(scope="module")
def fresh(cluster: AnyCluster, settings: Settings) -> Iterator[Cluster]:
    """A cluster in which Slipway was never installed, with a registry."""
    fresh = own_devcluster(cluster, settings)
    lifecycle.up(fresh.name, cache=settings.cache, steps=settings.steps)
    try:
        registry.start(fresh, cache=settings.cache, steps=settings.steps)
        yield fresh
    finally:
        lifecycle.down(fresh.name, cache=settings.cache, steps=settings.steps)


@pytest.fixture(scope="module")
def release(fresh: Cluster) -> Release:
    return Release(f"{registry.ADDRESS}/llm", look())


@pytest.fixture(scope="module")
def dist(fresh: Cluster, release: Release, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the release, after it was pushed to the registry."""
    folder, archives = tmp_path_factory.mktemp("checkout") / "dist", {}
    folder.mkdir()
    (folder.parent / "manifests").symlink_to(ROOT / "manifests")
    for repository, image in IMAGES.items():
        built = build_image(image.containerfile, name=image.name, cache=settings.cache, steps=settings.steps)
        archives[repository] = folder / f"{repository}-{release.source.version}.oci.tar"
        archives[repository].symlink_to(built)
    requirements.ensure_packages(settings.steps, publishing.PACKAGES)  # the node can't download them
    making.describe(release, archives, folder, cache=settings.cache, steps=settings.steps)
    on_node(fresh, RELEASE_COMMAND, "publish", f"--registry={release.registry}", f"--dist={folder}")
    return folder


def on_node(cluster: Cluster, *command: str | Path) -> str:
    """Runs commands as a user does in `devcluster shell`."""
    helm = {f"HELM_{kind}_HOME": str(cluster.layout.state / "helm") for kind in ("CACHE", "CONFIG", "DATA")}
    tools = os.pathsep.join([str(cluster.kubectl.parent), str(cluster.helm.parent), os.environ["PATH"]])
    environment = {**os.environ, **helm, "PATH": tools, "KUBECONFIG": str(cluster.kubeconfig_on_node)}
    entered = [*cluster.namespaces.enter_command(), *map(str, command)]
    done = subprocess.run(entered, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_written(cluster: Cluster, lines: list[str], dist: Path) -> list[str]:
    """Runs the commands in a checkout that has `dist`, and returns the output of each."""
    return [on_node(cluster, "env", f"--chdir={dist.parent}", "bash", "-c", line) for line in lines]


def delete(cluster: Cluster, manifest: Path) -> None:
    cluster.run_kubectl(["delete", "--ignore-not-found", "--cascade=foreground", "-f", str(manifest)])


def digests(dist: Path) -> dict[str, str]:
    lines = (dist / "images.txt").read_text().splitlines()
    return {name.rpartition("/")[2].partition(":")[0]: digest for name, digest in (line.split("@") for line in lines)}


def until_available(cluster: Cluster) -> None:
    for name in (OPERATOR, ACTIVATOR):
        cluster.run_kubectl(["rollout", "status", "-n", SLIPWAY_NAMESPACE, f"deployment/{name}", "--timeout=120s"])


def images_of_pods(cluster: Cluster, namespace: str) -> set[str]:
    pods = json.loads(cluster.run_kubectl(["get", "pods", "-n", namespace, "-o", "json"]))["items"]
    return {container["image"] for pod in pods for container in pod["spec"]["containers"]}


def pulled(cluster: Cluster) -> set[str]:
    """The digests that nodes have requested from the registry."""
    log = (cluster.layout.logs / "registry.log").read_text()
    return set(re.findall(r"GET /v2/llm/([\w-]+/manifests/sha256:[0-9a-f]{64})", log))


def test_kubectl_installs_the_release_by_the_commands_of_the_quickstart(
    fresh: Cluster, dist: Path, release: Release
) -> None:
    try:
        as_written(fresh, commands(QUICKSTART, after="By kubectl"), dist)
        until_available(fresh)
        name = f"{release.registry}/slipway-operator@{digests(dist)['slipway-operator']}"
        assert images_of_pods(fresh, SLIPWAY_NAMESPACE) == {name}
        assert f"slipway-operator/manifests/{digests(dist)['slipway-operator']}" in pulled(fresh)
    finally:
        for file in ("install.yaml", "install-crds.yaml"):
            delete(fresh, dist / file)


def test_helm_installs_the_release_by_the_commands_of_the_quickstart_and_a_model_is_planned(
    fresh: Cluster, dist: Path
) -> None:
    try:
        *_, tested = as_written(fresh, commands(QUICKSTART, after="By helm:"), dist)
        assert "All works together." in tested
        [command] = commands(QUICKSTART, after="Then ask for a model")
        ask, watch = command.split(" && ")
        as_written(fresh, [ask, watch.replace("--watch", "--no-headers")], dist)
        fresh.run_kubectl(["wait", "llm", "--all", "--for=jsonpath={.status.state}", "--timeout=60s"])
    finally:
        fresh.run_kubectl(["delete", "llm", "--all", "--timeout=60s"])
        for name in ("slipway", "slipway-crds"):
            fresh.run_helm(["uninstall", name, f"--namespace={SLIPWAY_NAMESPACE}", "--wait"])
        fresh.run_kubectl(
            ["delete", "--ignore-not-found", "--cascade=foreground", "-f", str(dist / "install-crds.yaml")]
        )


def test_helm_installs_the_release_from_the_registry_and_a_model_is_served(
    fresh: Cluster, dist: Path, release: Release, settings: Settings
) -> None:
    charts = f"oci://{release.registry}/charts"
    install: list[str | Path] = [fresh.helm, "install", "--plain-http", "--version", release.source.version, "--wait"]
    home = ["--namespace", SLIPWAY_NAMESPACE, "--create-namespace"]
    on_node(fresh, *install, "slipway-crds", f"{charts}/slipway-crds", *home)
    on_node(fresh, *install, "slipway", f"{charts}/slipway", *home)
    until_available(fresh)

    with redirect_stdout(io.StringIO()):
        demo.apply(fresh, settings.cache, settings.steps)
        assert demo.ask(fresh, demo.PROMPT).tokens

    [image] = images_of_pods(fresh, demo.NAMESPACE)
    assert image == f"{release.registry}/slipway-llamacpp@{digests(dist)['slipway-llamacpp']}"
    assert f"slipway-llamacpp/manifests/{digests(dist)['slipway-llamacpp']}" in pulled(fresh)


def test_the_registry_has_exactly_what_was_built(fresh: Cluster, dist: Path, release: Release) -> None:
    for repository, digest in digests(dist).items():
        name = f"docker://{release.registry}/{repository}:{release.source.version}"
        arguments = ["skopeo", "inspect", "--tls-verify=false", "--format={{.Digest}}", name]
        assert on_node(fresh, *arguments).strip() == digest
