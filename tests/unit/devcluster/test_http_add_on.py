"""The HTTP add-on is installed with upstream's manifests, and with images that need no registry."""

from typing import Any

from slipway_devcluster.http_add_on import adapted


def deployment(image: str) -> dict[str, Any]:
    container = {"name": "scaler", "image": image, "resources": {"limits": {"cpu": "1", "memory": "1000Mi"}}}
    return {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [container]}}}}


def adapted_container(image: str) -> dict[str, Any]:
    [after] = adapted([deployment(image)], "v0.15.0")
    found: dict[str, Any] = after["spec"]["template"]["spec"]["containers"][0]
    return found


def test_its_programs_run_from_the_images_that_the_devcluster_builds() -> None:
    container = adapted_container("ko://github.com/kedacore/http-add-on/scaler")

    assert container["image"] == "ghcr.io/kedacore/http-add-on-scaler:0.15.0"
    assert container["imagePullPolicy"] == "IfNotPresent"


def test_it_may_use_as_much_cpu_as_keda() -> None:
    assert adapted_container("ko://github.com/kedacore/http-add-on/scaler")["resources"]["limits"] == {
        "memory": "1000Mi"
    }


def test_manifests_without_a_program_are_unchanged() -> None:
    scaled = {"kind": "ScaledObject", "spec": {"minReplicaCount": 1}}

    assert adapted([dict(scaled)], "v0.15.0") == [scaled]
