"""The registries of a node are reachable only from where they are for, and store nothing outside of their cluster."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from slipway_devcluster import registry
from slipway_devcluster.addresses import NODE_IP


def test_no_other_machine_can_reach_it(tmp_path: Path) -> None:
    host, _, port = registry.configuration(tmp_path)["http"]["addr"].partition(":")
    assert ipaddress.ip_address(host).is_loopback
    assert int(port) > 1023


def test_that_of_the_pods_has_the_address_of_the_node_tls_and_passwords(tmp_path: Path) -> None:
    config = registry.configuration_for_pods(tmp_path)
    assert config["http"]["addr"].partition(":")[0] == NODE_IP
    assert config["http"]["tls"] == {"certificate": f"{tmp_path}/registry.crt", "key": f"{tmp_path}/registry.key"}
    assert config["auth"]["htpasswd"]["path"] == f"{tmp_path}/htpasswd"


def test_pushed_images_are_stored_in_the_folder_of_the_cluster(tmp_path: Path) -> None:
    for config in (registry.configuration(tmp_path), registry.configuration_for_pods(tmp_path)):
        assert config["storage"]["filesystem"] == {"rootdirectory": f"{tmp_path}/blobs"}


def test_it_logs_each_request_with_its_client(tmp_path: Path) -> None:
    assert registry.configuration(tmp_path)["log"]["accesslog"] == {"disabled": False}
