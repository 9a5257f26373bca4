"""The command lines contain the flags that the cluster depends on."""

import json
from pathlib import Path

import pytest
from slipway_devcluster import components
from slipway_devcluster.components import Layout

LAYOUT = Layout(Path("/state"))


@pytest.mark.parametrize("name", components.KUBERNETES)
def test_every_command_line_starts_with_the_program_of_its_component(name: str) -> None:
    component = components.KUBERNETES[name](LAYOUT, Path("/bin") / name)

    assert component.name == name
    assert component.argv[0] == f"/bin/{name}"


@pytest.mark.parametrize("name", components.KUBERNETES)
def test_no_flag_is_given_twice(name: str) -> None:
    flags = [word.split("=")[0] for word in components.KUBERNETES[name](LAYOUT, Path("/bin/x")).argv[1:]]

    assert len(flags) == len(set(flags))


def test_every_file_of_a_cluster_is_in_its_state_folder() -> None:
    assert all(folder.is_relative_to("/state") for folder in LAYOUT.folders())


def test_pods_are_in_the_control_group_of_the_cluster() -> None:
    config = json.loads(components.kubelet_config(LAYOUT, cgroup="slipway-x"))

    assert config["cgroupRoot"] == "/slipway-x"


def test_the_kubelet_never_removes_images_because_none_can_be_pulled() -> None:
    config = json.loads(components.kubelet_config(LAYOUT, cgroup="slipway-x"))

    assert config["imageGCHighThresholdPercent"] == 100


def test_the_pod_network_does_not_masquerade() -> None:
    plugins = json.loads(components.cni_config())["plugins"]

    assert [plugin["type"] for plugin in plugins] == ["ptp", "portmap"]
    assert plugins[0]["ipMasq"] is False


def test_the_audit_log_has_only_requests_of_slipway_and_no_bodies() -> None:
    [ours, others] = json.loads(components.audit_policy())["rules"]

    assert ours == {"level": "Metadata", "userGroups": ["system:serviceaccounts:slipway-system"]}
    assert others == {"level": "None"}
