"""The programs that a devcluster builds from source: one Go module each, pinned by `upstreams/NAME/go.mod`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.errors import Refusal

HERE = Path(__file__).parent
KUBERNETES_VERSIONS = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
HELMS_KUBERNETES = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")


@dataclass(frozen=True)
class Upstream:
    """One go.mod, and what is built from it."""

    name: str
    module: str
    binaries: tuple[str, ...]
    kept: tuple[str, ...] = ()  # folders and files of the module's source that are needed at run time
    stamps: Callable[[Upstream], str] | None = None  # linker flags for versions that the code does not know
    folder: Path | None = None  # of the go.mod, if it is not under upstreams/
    on_demand: bool = False  # not needed by every cluster; built when it is first used

    @property
    def go_folder(self) -> Path:
        return self.folder or HERE / "upstreams" / self.name

    @property
    def version(self) -> str:
        return required_version(self.module, (self.go_folder / "go.mod").read_text())

    @property
    def ldflags(self) -> str:
        return f"-s -w{self.stamps(self) if self.stamps else ''}"

    @property
    def target(self) -> str:
        """What `go build` builds: the main package in the folder, else the tools that the go.mod names."""
        return "." if any(self.go_folder.glob("*.go")) else "tool"


def kubernetes_stamps(kubernetes: Upstream) -> str:
    """Without them, Kubernetes reports v0.0.0."""
    version = kubernetes.version
    major, minor, _ = version.removeprefix("v").split(".", 2)
    return "".join(
        f" -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        for package in KUBERNETES_VERSIONS
    )


def helm_stamps(helm: Upstream) -> str:
    """With them, helm renders for the Kubernetes version of its own client where it has no cluster; else for 1.20."""
    client = required_version("k8s.io/client-go", (helm.go_folder / "go.mod").read_text())
    _, minor, _ = client.split(".", 2)
    kubernetes = "".join(
        f" -X {package}.k8sVersionMajor=1 -X {package}.k8sVersionMinor={minor}" for package in HELMS_KUBERNETES
    )
    return f" -X helm.sh/helm/v3/internal/version.version={helm.version}{kubernetes}"


KSERVE_SOURCE = ("charts/kserve-crd", "charts/kserve-resources", "config")
UPSTREAMS: Mapping[str, Upstream] = {
    upstream.name: upstream
    for upstream in (
        Upstream("node", "slipway.dev/devcluster/node", ("node",), folder=HERE / "node"),
        Upstream("etcd", "go.etcd.io/etcd/server/v3", ("etcd",)),
        Upstream("coredns", "github.com/coredns/coredns", ("coredns",)),
        Upstream("helm", "helm.sh/helm/v3", ("helm",), stamps=helm_stamps),
        Upstream("kserve", "github.com/kserve/kserve", ("manager",), kept=KSERVE_SOURCE),
        Upstream(
            "kubernetes",
            "k8s.io/kubernetes",
            ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"),
            stamps=kubernetes_stamps,
        ),
        Upstream("keda", "github.com/kedacore/keda/v2", ("adapter", "operator", "webhooks"), kept=("config",)),
        # From which the walk of its runbook upgrades.
        Upstream("older-kserve", "github.com/kserve/kserve", ("manager",), kept=KSERVE_SOURCE, on_demand=True),
        Upstream("kwok", "sigs.k8s.io/kwok", ("kwok",), kept=("kustomize",), on_demand=True),
        Upstream(
            "argocd",
            "github.com/argoproj/argo-cd/v3",
            ("argocd",),
            kept=("manifests/crds", "manifests/base/config", "hack/git-verify-wrapper.sh", "hack/gpg-wrapper.sh"),
            on_demand=True,
        ),
        Upstream(
            "http-add-on",
            "github.com/kedacore/http-add-on",
            ("interceptor", "operator", "scaler"),
            kept=("config",),
            on_demand=True,
        ),
        Upstream(
            "local-path",
            "github.com/rancher/local-path-provisioner",
            ("local-path-provisioner",),
            on_demand=True,
        ),
        Upstream("kubeconform", "github.com/yannh/kubeconform", ("kubeconform",), on_demand=True),
        Upstream("registry", "github.com/distribution/distribution/v3", ("registry",), on_demand=True),
        Upstream("versitygw", "github.com/versity/versitygw", ("versitygw",), on_demand=True),
        Upstream("fake-gcs-server", "github.com/fsouza/fake-gcs-server", ("fake-gcs-server",), on_demand=True),
        Upstream(
            "containerd",
            "github.com/containerd/containerd/v2",
            ("containerd", "containerd-shim-runc-v2", "ctr"),
            on_demand=True,
        ),
    )
}
OF_EVERY_CLUSTER = tuple(name for name, upstream in UPSTREAMS.items() if not upstream.on_demand)
OF_GPU_NODES = ("kwok",)
"""What a cluster with simulated GPU nodes needs as well."""
OF_VOLUMES = ("local-path",)
"""What a cluster that makes volumes needs as well."""
OF_IMAGE_VOLUMES = ("containerd",)
"""What a cluster whose pods mount images needs as well: Debian's containerd can't mount them."""


def upstream_named(name: str) -> Upstream:
    if name not in UPSTREAMS:
        raise Refusal(f"nothing called {name} is built here; there are {', '.join(UPSTREAMS)}.")
    return UPSTREAMS[name]


def required_version(module: str, go_mod: str) -> str:
    """The version of `module` that a go.mod requires; "local" where the go.mod is the module's own."""
    if re.search(rf"^module {re.escape(module)}$", go_mod, re.MULTILINE):
        return "local"
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise Refusal(f"{module} is not required by its go.mod; restore the file from the repository.")
    return found[1]
