"""Every command looks in the namespace that kubectl itself would use. What kubectl 1.34 takes was seen in a mount
namespace with a service account's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_cli.cluster import kubectl as kubectls
from slipway_cli.cluster.kubectl import ApiError, Place
from support.fakes.kubectl import FakeKubectl

NO_KUBECONFIG = {"config view": "error: current-context must exist in order to minify"}


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    return FakeKubectl(tmp_path)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a pod in namespace team-a; the program runs in it."""
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("team-a\n")
    monkeypatch.setattr(kubectls, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    return tmp_path


@pytest.mark.usefixtures("pod")
def test_inside_of_a_pod_it_is_the_pods(kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl.failures = NO_KUBECONFIG
    assert kubectl.inside()().place() == Place((), "team-a")
    monkeypatch.setenv("POD_NAMESPACE", "team-b")
    assert kubectl.inside()().place().namespace == "team-b"
    assert kubectl.inside()(namespace="mine").place().namespace == "mine"


@pytest.mark.usefixtures("pod")
def test_in_a_pod_with_a_kubeconfig_it_is_the_kubeconfigs_if_that_names_one(kubectl: FakeKubectl) -> None:
    assert kubectl.inside()().place().namespace == "chat"
    kubectl.namespace = ""
    assert kubectl.inside()().place().namespace == "team-a"


@pytest.mark.parametrize("lacks", ["token", "namespace", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"])
def test_without_one_of_what_makes_a_pod_it_is_default(
    kubectl: FakeKubectl, pod: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    kubectl.failures = NO_KUBECONFIG
    if lacks.isupper():
        monkeypatch.setenv(lacks, "")
    else:
        (pod / lacks).unlink()
    assert kubectl.inside()().place().namespace == "default"


@pytest.mark.parametrize("said", ["kubectl: killed", "Unable to connect to the server: i/o timeout"])
def test_a_kubeconfig_that_can_not_be_read_is_never_taken_for_one_without_a_namespace(
    kubectl: FakeKubectl, said: str
) -> None:
    kubectl.failures = {"config view": said}
    with pytest.raises(ApiError):
        kubectl.inside()().place()
