"""The three kinds of cluster that tests can run on, and what each of them provides."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
from slipway_devcluster import images, model
from slipway_devcluster.cluster import Cluster, named
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Options
from slipway_devcluster.slipway import FETCHER_IMAGE, LLAMACPP_IMAGE, VLLM_CPU_IMAGE, OwnImage

from support.cluster import kind_cluster, shared_cluster
from support.cluster.access import FromTheNode, ServiceAccess, ThroughTheApiServer, kubectl_proxy
from support.cluster.host import Host
from support.cluster.kube import Kube
from support.cluster.tester import ReachableServer

OPTIONS = Options(gpu_nodes="h100:2,a100:1,l4:4", node_gpus=1, volumes=True)
NEEDED_DEFINITIONS = {"inferenceservices.serving.kserve.io": "KServe", "scaledobjects.keda.sh": "KEDA"}


@dataclass(frozen=True)
class Settings:
    """The cluster options of pytest's command line."""

    kind: str
    name: str
    keep: bool
    tester_address: str | None
    python_image: str
    cache: Cache
    steps: Steps


class AnyCluster(Protocol):
    """A cluster with KServe and KEDA. A test that needs what this kind doesn't provide is skipped, with the reason."""

    @property
    def kubectl(self) -> Path: ...

    @property
    def kubeconfig(self) -> Path | None: ...

    def access(self, kube: Kube) -> AbstractAsyncContextManager[ServiceAccess]: ...

    def tester(self) -> ReachableServer:
        """Returns the test process as a server that pods can reach."""
        ...

    def devcluster(self) -> Cluster:
        """Returns the node's programs, to stop and start them."""
        ...

    def python_image(self) -> str:
        """Returns the name of an image with Python."""
        ...

    def llamacpp_image(self) -> str:
        """Returns the name of the image of runtime-image/llamacpp.Containerfile."""
        ...

    def fetcher_image(self) -> str:
        """Returns the name of the image of fetcher/Containerfile."""
        ...

    def vllm_cpu_image(self) -> str:
        """Returns the name of the image of runtime-image/vllm-cpu.Containerfile."""
        ...

    def model_folder(self) -> Path:
        """Returns the folder of the demo model on the node."""
        ...

    def checkpoint_folder(self) -> Path:
        """Returns the folder of the same model as a checkpoint, which vLLM reads."""
        ...


@dataclass(frozen=True)
class EmbeddedCluster:
    """A devcluster on this machine."""

    cluster: Cluster
    settings: Settings

    @property
    def kubectl(self) -> Path:
        return self.cluster.kubectl

    @property
    def kubeconfig(self) -> Path:
        return self.cluster.kubeconfig

    @asynccontextmanager
    async def access(self, kube: Kube) -> AsyncGenerator[ServiceAccess]:
        yield FromTheNode(kube, self.cluster.entered)

    def tester(self) -> ReachableServer:
        return ReachableServer(self.cluster.node_ip, self.cluster.entered)

    def devcluster(self) -> Cluster:
        return self.cluster

    def python_image(self) -> str:
        self.cluster.load_image(images.ensure_base_image(self.settings.cache, self.settings.steps))
        return images.BASE_IMAGE

    def llamacpp_image(self) -> str:
        return self._loaded(LLAMACPP_IMAGE)

    def fetcher_image(self) -> str:
        return self._loaded(FETCHER_IMAGE)

    def vllm_cpu_image(self) -> str:
        return self._loaded(VLLM_CPU_IMAGE)

    def _loaded(self, image: OwnImage) -> str:
        image.loaded(self.cluster, self.settings.cache, self.settings.steps)
        return image.name

    def model_folder(self) -> Path:
        return model.ensure_gguf(self.settings.cache, self.settings.steps)

    def checkpoint_folder(self) -> Path:
        return model.ensure_hf(self.settings.cache, self.settings.steps)


@dataclass(frozen=True)
class ExistingCluster:
    """The cluster of $KUBECONFIG."""

    kubectl: Path
    kubeconfig: Path | None
    settings: Settings

    @asynccontextmanager
    async def access(self, kube: Kube) -> AsyncGenerator[ServiceAccess]:
        async with kubectl_proxy(kube) as proxy:
            yield ThroughTheApiServer(kube, proxy)

    def tester(self) -> ReachableServer:
        if not self.settings.tester_address:
            pytest.skip("pods must be able to reach this process: set --tester-address to an address of this machine")
        return ReachableServer(self.settings.tester_address, nullcontext)

    def devcluster(self) -> NoReturn:
        pytest.skip("only an embedded cluster lets a test stop and start the node's programs")

    def python_image(self) -> str:
        return self.settings.python_image

    def llamacpp_image(self) -> str:
        return self._loaded(LLAMACPP_IMAGE)

    def fetcher_image(self) -> str:
        return self._loaded(FETCHER_IMAGE)

    def vllm_cpu_image(self) -> str:
        return self._loaded(VLLM_CPU_IMAGE)

    def _loaded(self, image: OwnImage) -> str:
        pytest.skip(f"{image.name} is built for embedded and kind clusters only")

    def model_folder(self) -> Path:
        pytest.skip("the model is put into embedded and kind clusters only")

    def checkpoint_folder(self) -> Path:
        return self.model_folder()


@dataclass(frozen=True)
class KindCluster(ExistingCluster):
    """A cluster made by kind; Docker builds this repository's images, and kind loads them."""

    kind: Any

    def _loaded(self, image: OwnImage) -> str:
        file = image.containerfile
        subprocess.run(["docker", "build", f"--tag={image.name}", f"--file={file}", file.parent], check=True)
        self.kind.load_docker_image(image.name)
        return image.name

    def model_folder(self) -> Path:
        return model.ensure_gguf(self.settings.cache, self.settings.steps)

    def checkpoint_folder(self) -> Path:
        return model.ensure_hf(self.settings.cache, self.settings.steps)


@dataclass(frozen=True)
class Neighbour:
    """A second devcluster, and the state of the machine before it was started."""

    cluster: Cluster
    host_before: Host


def own_devcluster(cluster: AnyCluster, settings: Settings) -> Cluster:
    """Returns a devcluster for this caller alone, next to the session's; it is not up yet."""
    cluster.devcluster()  # skips the test where devclusters can't run
    return named(f"{settings.name[:13]}-{secrets.token_hex(3)}", settings.cache)


@contextmanager
def cluster_of_session(settings: Settings) -> Iterator[AnyCluster]:
    """Yields the cluster that the options ask for; it is removed at the end if this session created it."""
    try:
        match settings.kind:
            case "embedded":
                with shared_cluster.shared(
                    settings.name,
                    cache=settings.cache,
                    steps=settings.steps,
                    keep=settings.keep,
                    options=OPTIONS,
                ) as cluster:
                    yield EmbeddedCluster(cluster, settings)
            case "kind":
                with kind_cluster.created(
                    settings.name, cache=settings.cache, steps=settings.steps, keep=settings.keep
                ) as kind:
                    yield KindCluster(Path(kind.kubectl_path), Path(kind.kubeconfig_path), settings, kind)
            case "existing":
                yield existing_cluster(settings)
    except Refusal as refusal:
        pytest.exit(f"--cluster={settings.kind}: {refusal}", returncode=pytest.ExitCode.USAGE_ERROR)


def existing_cluster(settings: Settings) -> ExistingCluster:
    program = shutil.which("kubectl")
    if program is None:
        raise Refusal("kubectl is not on PATH, and tests on an existing cluster need it; install it")
    for definition, product in NEEDED_DEFINITIONS.items():
        command = [program, "get", "customresourcedefinition", definition, "--output=name"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode:
            where = os.environ.get("KUBECONFIG", "kubectl's default configuration")
            raise Refusal(
                f"the cluster of {where} must have {product} installed; kubectl get {definition} says: "
                f"{asked.stderr.strip().splitlines()[-1]}"
            )
    return ExistingCluster(Path(program), None, settings)
