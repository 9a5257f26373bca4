"""The command lines contain the flags that the cluster depends on."""

import ipaddress
import json
import tomllib
from pathlib import Path

import pytest
from slipway_devcluster import components
from slipway_devcluster.addresses import ALL_PODS, FIRST, MOST_NODES, POD_RANGE, Node, further_nodes
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


def test_a_further_node_shares_no_file_with_the_first_one_but_descriptions_of_registries() -> None:
    second = LAYOUT.of(Node(2))

    assert not set(second.folders()) & set(LAYOUT.folders())
    assert second.registries == LAYOUT.registries


def test_a_further_node_has_a_name_an_address_and_credentials_of_its_own() -> None:
    first, second = (components.kubelet(LAYOUT.of(node), Path("/bin/kubelet")).argv for node in (FIRST, Node(2)))

    assert {"--hostname-override=slipway-2", "--node-ip=198.51.100.3"} < set(second)
    assert not set(first[1:]) & set(second[1:])


def test_pods_of_all_nodes_have_addresses_of_one_range_and_no_two_nodes_the_same() -> None:
    nodes = [FIRST, *further_nodes(MOST_NODES)]
    ranges = [ipaddress.IPv4Network(node.pod_range) for node in nodes]

    assert len(set(ranges)) == len({node.ip for node in nodes}) == MOST_NODES
    assert all(each.subnet_of(ipaddress.IPv4Network(ALL_PODS)) for each in ranges)


def test_a_further_node_takes_no_pods_while_the_cluster_starts() -> None:
    first, second = (
        json.loads(components.kubelet_config(LAYOUT.of(node), cgroup="slipway-x")) for node in (FIRST, Node(2))
    )

    assert "registerWithTaints" not in first
    assert second["registerWithTaints"] == [{"key": components.STARTING, "effect": "NoSchedule"}]


def test_the_kubelet_never_removes_images_because_none_can_be_pulled() -> None:
    config = json.loads(components.kubelet_config(LAYOUT, cgroup="slipway-x"))

    assert config["imageGCHighThresholdPercent"] == 100


def test_volumes_of_images_are_on_where_they_are_wanted_and_nowhere_else() -> None:
    api_server = components.api_server(LAYOUT, Path("/bin/x"))
    with_them = json.loads(components.kubelet_config(LAYOUT, cgroup="slipway-x", image_volumes=True))

    assert components.with_image_volumes(api_server).argv == [*api_server.argv, "--feature-gates=ImageVolume=true"]
    assert with_them["featureGates"] == {"ImageVolume": True}
    assert "featureGates" not in json.loads(components.kubelet_config(LAYOUT, cgroup="slipway-x"))


def test_both_versions_of_containerd_have_the_same_folders_and_socket() -> None:
    old = tomllib.loads(components.containerd_config(LAYOUT, cni_plugins=Path("/cni")))
    new = tomllib.loads(components.containerd_2_config(LAYOUT, cni_plugins=Path("/cni")))

    assert (old["version"], new["version"]) == (2, 3)
    assert {name: old[name] for name in ("root", "state", "grpc")} == {
        name: new[name] for name in ("root", "state", "grpc")
    }


def test_containerd_finds_the_shim_of_its_own_version_first() -> None:
    component = components.containerd(LAYOUT, Path("/builds/containerd/bin/containerd"))

    assert component.env["PATH"].split(":")[0] == "/builds/containerd/bin"


def test_the_pod_network_does_not_masquerade() -> None:
    plugins = json.loads(components.cni_config(POD_RANGE))["plugins"]

    assert [plugin["type"] for plugin in plugins] == ["ptp", "portmap"]
    assert plugins[0]["ipMasq"] is False


def test_the_audit_log_has_only_requests_of_slipway_and_no_bodies() -> None:
    [ours, others] = json.loads(components.audit_policy())["rules"]

    assert ours == {"level": "Metadata", "userGroups": ["system:serviceaccounts:slipway-system"]}
    assert others == {"level": "None"}
