"""Volumes of a devcluster: which classes there are, and where their folders are."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from slipway_devcluster import volumes
from slipway_devcluster.components import Layout
from slipway_devcluster.images import PLATFORM_IMAGES
from slipway_devcluster.lifecycle import refuse_other_options
from slipway_devcluster.record import Record

LAYOUT = Layout(Path("/state"))


def test_a_class_is_the_default_one_only_where_that_was_requested() -> None:
    for is_default in (True, False):
        classes = {each["metadata"]["name"]: each for each in volumes.storage_classes(is_default=is_default)}
        defaults = [name for name, each in classes.items() if each["metadata"]["annotations"].get(volumes.DEFAULT)]
        assert classes.keys() == {volumes.STORAGE_CLASS, volumes.SHARED_CLASS}
        assert defaults == ([volumes.STORAGE_CLASS] if is_default else [])


def test_all_folders_are_in_that_of_the_cluster_so_that_they_go_with_it() -> None:
    classes = json.loads(volumes.configuration(LAYOUT))["storageClassConfigs"]
    [of_nodes] = classes[volumes.STORAGE_CLASS]["nodePathMap"]
    for folder in (*of_nodes["paths"], classes[volumes.SHARED_CLASS]["sharedFileSystemPath"]):
        assert folder.startswith("/state/volumes/")


def test_the_pods_that_make_folders_run_an_image_that_every_node_has() -> None:
    [pause] = [each for each in PLATFORM_IMAGES if each.name == volumes.IMAGE]
    assert pause.path == volumes.PROGRAM
    pod = json.loads(volumes.helper_pod())
    assert pod["spec"]["containers"][0]["image"] == pause.name


def test_on_simulated_nodes_such_pods_end_at_once() -> None:
    stage = yaml.safe_load(volumes.kwok_stage())
    assert stage["spec"]["selector"]["matchLabels"] == json.loads(volumes.helper_pod())["metadata"]["labels"]


def test_what_needs_no_volumes_runs_on_a_cluster_that_has_them() -> None:
    refuse_other_options(Record("dev", 16443, "c", volumes=True), Record("dev", 0, "c"))
