"""The programs of the cluster, built from the Go modules that `upstreams/*/go.mod` pin, once per version and flags.

Every finished build is one folder of the cache: `bin/` (programs), `source/` (manifests and charts of the module, where
they are needed) and `manifest.json` (what belongs there). A folder with its final name is complete: it is made beside
it and renamed. An interrupted build resumes, because Go's own caches lie in the cache as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.entries import find_damage, unfinished, write_manifest
from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.go_toolchain import Go, ensure_go, find_go
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Step, Steps

HERE = Path(__file__).parent
KUBERNETES_VERSIONS = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
HELMS_KUBERNETES = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")


# --- what is built ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upstream:
    """One go.mod, and what is wanted from it."""

    name: str
    module: str
    binaries: tuple[str, ...]
    kept: tuple[str, ...] = ()  # folders and files of the module's source that are needed at run time
    stamps: Callable[[Upstream], str] | None = None  # of versions, which the code doesn't know by itself
    folder: Path | None = None  # of the go.mod, if it isn't under upstreams/
    on_demand: bool = False  # no cluster needs it; it is built when something asks for it

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
    def is_ours(self) -> bool:
        """Whether its source lies in this repository: then the go.mod names the module itself and requires nothing."""
        return self.folder is not None


def kubernetes_stamps(kubernetes: Upstream) -> str:
    """It reports v0.0.0 without them."""
    version = kubernetes.version
    major, minor, _ = version.removeprefix("v").split(".", 2)
    return "".join(
        f" -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        for package in KUBERNETES_VERSIONS
    )


def helm_stamps(helm: Upstream) -> str:
    """Without them, it renders for Kubernetes 1.20 where it asks no cluster; with them, for that of its own client."""
    client = required_version("k8s.io/client-go", (helm.go_folder / "go.mod").read_text())
    _, minor, _ = client.split(".", 2)
    kubernetes = "".join(
        f" -X {package}.k8sVersionMajor=1 -X {package}.k8sVersionMinor={minor}" for package in HELMS_KUBERNETES
    )
    return f" -X helm.sh/helm/v3/internal/version.version={helm.version}{kubernetes}"


UPSTREAMS: Mapping[str, Upstream] = {
    upstream.name: upstream
    for upstream in (
        Upstream("node", "slipway.dev/devcluster/node", ("node",), folder=HERE / "node"),
        Upstream("etcd", "go.etcd.io/etcd/server/v3", ("etcd",)),
        Upstream("coredns", "github.com/coredns/coredns", ("coredns",)),
        Upstream("helm", "helm.sh/helm/v3", ("helm",), stamps=helm_stamps),
        Upstream("kwok", "sigs.k8s.io/kwok", ("kwok",), kept=("kustomize",)),
        Upstream(
            "kserve",
            "github.com/kserve/kserve",
            ("manager",),
            kept=("charts/kserve-crd", "charts/kserve-resources", "config"),
        ),
        Upstream(
            "kubernetes",
            "k8s.io/kubernetes",
            ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"),
            stamps=kubernetes_stamps,
        ),
        Upstream("keda", "github.com/kedacore/keda/v2", ("adapter", "operator", "webhooks"), kept=("config",)),
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
        Upstream("kubeconform", "github.com/yannh/kubeconform", ("kubeconform",), on_demand=True),
        Upstream("registry", "github.com/distribution/distribution/v3", ("registry",), on_demand=True),
    )
}
OF_EVERY_CLUSTER = tuple(name for name, upstream in UPSTREAMS.items() if not upstream.on_demand)


def required_version(module: str, go_mod: str) -> str:
    """The version of `module` that a go.mod requires; "local" where the go.mod is the module's own."""
    if re.search(rf"^module {re.escape(module)}$", go_mod, re.MULTILINE):
        return "local"
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise Refusal(f"{module} is not required by its go.mod; restore the file from the repository.")
    return found[1]


@dataclass(frozen=True)
class Build:
    """A finished build in the cache."""

    upstream: Upstream
    folder: Path

    @property
    def version(self) -> str:
        return self.upstream.version

    @property
    def source(self) -> Path:
        """The folders of the module's source that were kept, under their own paths."""
        return self.folder / "source"

    def binary(self, name: str) -> Path:
        if name not in self.upstream.binaries:
            raise KeyError(f"{self.upstream.name} has no program {name}, only {', '.join(self.upstream.binaries)}")
        return self.folder / "bin" / name


# --- building --------------------------------------------------------------------------------------------------------


def ensure_built(name: str, cache: Cache, steps: Steps) -> Build:
    """The finished build of an upstream, made now if it isn't there or is broken."""
    upstream = upstream_named(name)
    go = ensure_go(cache, steps)
    build = expected_build(upstream, go, cache)
    with locked(_lock(name, cache), say=steps.say):
        if build.folder.exists() and (damage := find_damage(build.folder)):
            steps.say(f"the cached build of {name} is broken ({damage}), so it is built again")
            shutil.rmtree(build.folder)
        if not build.folder.exists():
            _make(build, go, cache, steps)
    return build


def ensure_on_demand(name: str, cache: Cache, steps: Steps) -> Build:
    """The same for one that no cluster needs; what Go keeps for building it again goes at once."""
    absent = missing([name], cache)
    build = ensure_built(name, cache, steps)
    if absent:
        discard_go_caches(cache)
    return build


def ensure_all(names: Iterable[str], cache: Cache, steps: Steps) -> dict[str, Build]:
    """One after another: each of Go's builds keeps every core busy by itself."""
    return {name: ensure_built(name, cache, steps) for name in names}


def missing(names: Iterable[str], cache: Cache) -> list[str]:
    """Which of the upstreams would have to be built; nothing is fetched or changed to find out."""
    go = find_go(cache)
    return [name for name in names if not go or not expected_build(upstream_named(name), go, cache).folder.exists()]


def discard_go_caches(cache: Cache) -> None:
    """Give back the space of Go's module and build caches (10 GB); finished builds don't need them."""
    with contextlib.ExitStack() as builders:
        for name in UPSTREAMS:
            builders.enter_context(locked(_lock(name, cache)))
        shutil.rmtree(cache.go, ignore_errors=True)


def upstream_named(name: str) -> Upstream:
    if name not in UPSTREAMS:
        raise Refusal(f"nothing called {name} is built here; there are {', '.join(UPSTREAMS)}.")
    return UPSTREAMS[name]


def expected_build(upstream: Upstream, go: Go, cache: Cache) -> Build:
    key = build_key(upstream, go)[:12]
    return Build(upstream, cache.builds / f"{upstream.name}-{upstream.version}-{key}")


def build_key(upstream: Upstream, go: Go) -> str:
    """Changes with everything that the build depends on."""
    files = sorted(path for path in upstream.go_folder.iterdir() if path.suffix in {".mod", ".sum", ".go"})
    parts = [upstream.ldflags, go.version, go.arch, *upstream.kept, *upstream.binaries]
    parts += [f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _lock(name: str, cache: Cache) -> Path:
    return cache.locks / f"build-{name}"


def _make(build: Build, go: Go, cache: Cache, steps: Steps) -> None:
    upstream = build.upstream
    with steps.step(f"building {upstream.name} {upstream.version}") as step, unfinished(build.folder) as folder:
        programs, scratch = folder / "bin", folder / "scratch"
        for each in (programs, scratch):
            each.mkdir()
        environment = go.environment(cache, scratch)
        target = "." if upstream.is_ours else "tool"
        command: list[str | Path] = [
            go.program,
            "build",
            "-trimpath",
            "-ldflags",
            upstream.ldflags,
            "-o",
            f"{programs}/",
            target,
        ]
        try:
            step.run(command, env=environment, cwd=upstream.go_folder)
        except StepFailed as failure:
            raise explained(failure, upstream) from failure
        name_programs(programs, upstream.binaries)
        for kept in upstream.kept:
            keep_source(_module_folder(upstream, go, environment, step) / kept, folder / "source" / kept)
        shutil.rmtree(scratch)
        write_manifest(folder)


# What Go says of a version that no release has, or that nobody has written into go.sum.
UNKNOWN_VERSION = re.compile(
    r"unknown revision|version \S+ invalid|404 Not Found|missing go\.sum entry|updates to go\.mod needed"
)


def explained(failure: StepFailed, upstream: Upstream) -> Refusal:
    if not UNKNOWN_VERSION.search(str(failure)):
        return failure
    go_mod = upstream.go_folder / "go.mod"
    return Refusal(
        f"{upstream.module} {upstream.version} is no version that can be built here; name a released one in {go_mod} "
        f"and run `go mod tidy` there ({failure})"
    )


def name_programs(folder: Path, binaries: tuple[str, ...]) -> None:
    """Go names a program after its package (etcd's is `server`); an only program gets the name that it is known by."""
    made = sorted(path.name for path in folder.iterdir())
    if len(made) == len(binaries) == 1:
        (folder / made[0]).rename(folder / binaries[0])
    elif made != sorted(binaries):
        raise Refusal(f"the build made {', '.join(made)} instead of {', '.join(binaries)}; restore its go.mod.")


def _module_folder(upstream: Upstream, go: Go, environment: Mapping[str, str], step: Step) -> Path:
    listed = subprocess.run(
        [go.program, "list", "-m", "-f", "{{.Dir}}", upstream.module],
        env={**os.environ, **environment},
        cwd=upstream.go_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise StepFailed(
            f"{step.name} failed: Go does not find the source of {upstream.module}: {listed.stderr.strip()}"
        )
    return Path(listed.stdout.strip())


def keep_source(origin: Path, copy: Path) -> None:
    """Copy a folder of a module, without its Go code and its tests; or a single file."""
    if origin.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, copy)
        return
    shutil.copytree(origin, copy, ignore=shutil.ignore_patterns("*.go", "testdata"), copy_function=shutil.copyfile)
