"""Where a model's files can outlive a pod. Which storage class it is: test_compile_cache.py, by the same rules."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.objects.kinds import STORAGE_CLASS, Object
from slipway.operator.planning.compile_cache import Pulled
from slipway.operator.planning.model_cache import where as where_in
from slipway.operator.planning.volumes import Claim, Nowhere, OnNode, SiteStorage, StorageClass
from support.builders.llmdeployments import llmdeployment, merged
from support.builders.stored import kube_object

SITE = SiteStorage(size="100Gi")
GIB = 1 << 30
IS_DEFAULT = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
DISKS = StorageClass.of(kube_object(STORAGE_CLASS, "disks", provisioner="ebs.csi.aws.com", metadata=IS_DEFAULT))
SHARED = StorageClass.of(kube_object(STORAGE_CLASS, "nfs", provisioner="nfs.csi.k8s.io"))
ALONE: Object = {"scaling": {"minReplicas": 0, "maxReplicas": 1}}
DRAFT: Object = {"engine": {"name": "vllm", "speculative": {"method": "draft", "model": "hf://org/draft", "tokens": 3}}}


def where(*given: Any, has_node_plugin: bool = False) -> Claim | Pulled | OnNode | Nowhere:
    return where_in(*given, has_node_plugin=has_node_plugin)


def spec(*given: Object, **cache: Any) -> LLMDeploymentSpec:
    wanted: Object = {"model": {"uri": "hf://org/model", "cache": cache}}
    for each in given:
        wanted = merged(wanted, each)
    return LLMDeployment.model_validate(llmdeployment(spec=wanted)).spec


@pytest.mark.parametrize(("files", "size"), [(16 * GIB, "20Gi"), (1, "2Gi"), (140 * 10**9, "151Gi"), (None, "100Gi")])
def test_a_volume_has_room_for_the_model_and_what_isnt_known_takes_what_the_site_says(
    files: int | None, size: str
) -> None:
    assert where(spec(ALONE), files, [DISKS], SITE) == Claim(
        storage_class="disks", access_mode="ReadWriteOncePod", size=size
    )


def test_the_size_of_the_spec_comes_first() -> None:
    found = where(spec(ALONE, size="30Gi"), 16 * GIB, [DISKS], SITE)
    assert isinstance(found, Claim)
    assert found.size == "30Gi"


def test_with_a_draft_model_the_size_isnt_known() -> None:
    found = where(spec(ALONE, DRAFT), 16 * GIB, [DISKS], SITE)
    assert isinstance(found, Claim)
    assert found.size == "100Gi"


def test_a_volume_that_replicas_share_has_room_for_the_version_before_too() -> None:
    found = where(spec({"scaling": {"maxReplicas": 4}}), 16 * GIB, [SHARED], SITE)
    assert isinstance(found, Claim)
    assert found.size == "38Gi"


def test_several_replicas_share_a_volume_where_a_class_can() -> None:
    several: Object = {"scaling": {"maxReplicas": 4}}
    assert where(spec(several), GIB, [DISKS, SHARED], SITE) == Claim(
        storage_class="nfs", access_mode="ReadWriteMany", size="4Gi"
    )
    found = where(spec(several), GIB, [DISKS], SITE)
    assert isinstance(found, Nowhere)
    assert "scaling.maxReplicas is 4" in found.why


def test_a_model_that_never_sleeps_gets_a_volume_for_one_pod_only_if_it_asks() -> None:
    awake: Object = {"scaling": {"minReplicas": 1, "maxReplicas": 1}}
    found = where(spec(awake), GIB, [DISKS], SITE)
    assert isinstance(found, Nowhere)
    assert "model.cache.kind to PVC" in found.remedy
    assert isinstance(where(spec(awake, kind="PVC"), GIB, [DISKS], SITE), Claim)


def test_nothing_is_claimed_where_the_spec_or_the_site_says_so() -> None:
    assert where(spec(ALONE, kind="None"), GIB, [DISKS], SITE) == Nowhere("model.cache.kind is None")
    found = where(spec(ALONE, kind="PVC"), GIB, [DISKS], SiteStorage(size="0"))
    assert isinstance(found, Nowhere)
    assert "modelCache.claims" in found.remedy


def test_without_a_class_the_remedy_names_the_fields_of_this_cache() -> None:
    unread, none = where(spec(ALONE), GIB, None, SITE), where(spec(ALONE), GIB, [], SITE)
    assert isinstance(unread, Nowhere)
    assert isinstance(none, Nowhere)
    assert "modelCache.storageClassName" in unread.remedy
    assert "model.cache.storageClassName" in none.remedy


@pytest.mark.parametrize("kind", ["Auto", "Node"])
def test_where_the_cluster_has_the_node_plugin_files_are_kept_on_nodes(kind: str) -> None:
    assert where(spec(ALONE, kind=kind), GIB, [DISKS, SHARED], SITE, has_node_plugin=True) == OnNode()


def test_without_it_kind_node_is_nowhere_and_says_what_would_change_that() -> None:
    found = where(spec(ALONE, kind="Node"), GIB, [DISKS, SHARED], SITE)
    assert isinstance(found, Nowhere)
    assert "modelCache.node.enabled" in found.remedy


@pytest.mark.parametrize("kind", ["PVC", "None"])
def test_other_kinds_stay_what_they_are(kind: str) -> None:
    found = where(spec(ALONE, kind=kind), GIB, [DISKS], SITE, has_node_plugin=True)
    assert isinstance(found, Claim if kind == "PVC" else Nowhere)
