"""The registry of a node is reachable only from the node, and stores nothing outside of its cluster."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from slipway_devcluster import registry


def test_no_other_machine_can_reach_it(tmp_path: Path) -> None:
    config = json.loads(registry.configuration(tmp_path))
    host, _, port = config["http"]["addr"].partition(":")
    assert ipaddress.ip_address(host).is_loopback
    assert int(port) > 1023


def test_pushed_images_are_stored_in_the_folder_of_the_cluster(tmp_path: Path) -> None:
    config = json.loads(registry.configuration(tmp_path))
    assert config["storage"]["filesystem"] == {"rootdirectory": str(tmp_path)}


def test_it_logs_each_request_with_its_client(tmp_path: Path) -> None:
    assert json.loads(registry.configuration(tmp_path))["log"]["accesslog"] == {"disabled": False}
