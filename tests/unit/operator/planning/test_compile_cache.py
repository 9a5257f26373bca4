"""Where compiled code can outlive a pod: which spec and which storage classes get which volume."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.objects.kinds import STORAGE_CLASS, Object
from slipway.operator.planning.compile_cache import where
from slipway.operator.planning.volumes import Claim, Nowhere, SiteStorage, StorageClass
from support.builders.llmdeployments import llmdeployment, merged
from support.builders.stored import kube_object

SITE = SiteStorage()
ALONE: Object = {"scaling": {"minReplicas": 0, "maxReplicas": 1}}
SEVERAL: Object = {"scaling": {"minReplicas": 0, "maxReplicas": 3}}


def storage_class(name: str, provisioner: str = "ebs.csi.aws.com", **fields: Any) -> StorageClass:
    raw = kube_object(STORAGE_CLASS, name, provisioner=provisioner, **fields)
    return StorageClass.of(raw)


def default(name: str = "standard", created: str = "2026-01-01T00:00:00Z", **fields: Any) -> StorageClass:
    notes = {"storageclass.kubernetes.io/is-default-class": "true"}
    return storage_class(name, metadata={"annotations": notes, "creationTimestamp": created}, **fields)


def annotated(name: str, modes: str, **fields: Any) -> StorageClass:
    return storage_class(name, metadata={"annotations": {"slipway.dev/access-modes": modes}}, **fields)


def spec(**given: Any) -> LLMDeploymentSpec:
    wanted = llmdeployment(spec=merged({"engine": {"name": "vllm"}}, given))
    return LLMDeployment.model_validate(wanted).spec


def cached(base: Object, **compile_cache: Any) -> LLMDeploymentSpec:
    return spec(**merged(base, {"engine": {"compileCache": compile_cache}}))


def claim(storage_class: str, access_mode: Any, size: str = "10Gi") -> Claim:
    return Claim(storage_class=storage_class, access_mode=access_mode, size=size)


# --- automatically ---------------------------------------------------------------------------------------------------


def test_a_model_with_one_replica_gets_a_volume_of_the_default_class_for_one_pod() -> None:
    assert where(spec(**ALONE), [storage_class("fast"), default()], SITE) == claim("standard", "ReadWriteOncePod")


@pytest.mark.parametrize(
    "shared",
    [
        storage_class("nfs", "nfs.csi.k8s.io"),
        storage_class("nfs", "rook-ceph.cephfs.csi.ceph.com"),
        annotated("nfs", "ReadWriteMany"),
        annotated("nfs", "ReadWriteOnce, ReadWriteMany"),
    ],
)
@pytest.mark.parametrize("scaling", [ALONE, SEVERAL, {"scaling": {"minReplicas": 2, "maxReplicas": 9}}])
def test_a_class_that_is_known_for_sharing_serves_any_number_of_replicas(shared: StorageClass, scaling: Object) -> None:
    assert where(spec(**scaling), [default(), shared], SITE) == claim("nfs", "ReadWriteMany")


def test_the_annotation_of_a_class_wins_over_what_its_provisioner_is_known_for() -> None:
    not_shared = annotated("nfs", "ReadWriteOnce", provisioner="nfs.csi.k8s.io")
    assert isinstance(where(spec(**SEVERAL), [not_shared], SITE), Nowhere)


def test_a_provisioner_with_a_similar_name_is_not_taken_for_a_known_one() -> None:
    for provisioner in ("xnfs.csi.k8s.io", "nfs.csi.k8s.io.example.com", "cephfs.csi.ceph.com.evil"):
        assert isinstance(where(spec(**SEVERAL), [storage_class("nfs", provisioner)], SITE), Nowhere), provisioner


def test_what_the_installation_names_wins_over_what_the_cluster_offers() -> None:
    classes = [default(), storage_class("nfs", "nfs.csi.k8s.io"), storage_class("slow")]
    one = SiteStorage(size="5Gi", storage_class="slow")
    assert where(spec(**ALONE), [default(), storage_class("slow")], one) == claim("slow", "ReadWriteOncePod", "5Gi")
    assert where(spec(**SEVERAL), classes, SiteStorage(shared_class="mine")) == claim("mine", "ReadWriteMany")


def test_of_several_defaults_the_newest_is_taken_as_kubernetes_does() -> None:
    older, newer = default("older"), default("newer", created="2026-02-01T00:00:00Z")
    for classes in ([older, newer], [newer, older]):
        assert where(spec(**ALONE), classes, SITE) == claim("newer", "ReadWriteOncePod")


def test_the_order_in_which_classes_are_listed_changes_nothing() -> None:
    classes = [storage_class(name, "nfs.csi.k8s.io") for name in "cab"]
    assert where(spec(**SEVERAL), classes, SITE) == where(spec(**SEVERAL), classes[::-1], SITE)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (SEVERAL, "scaling.maxReplicas is 3"),
        ({"scaling": {"minReplicas": 1, "maxReplicas": 1}}, "scaling.minReplicas is 1"),
        ({**ALONE, "rollout": {"strategy": "Surge"}}, "rollout.strategy Surge"),
        ({**ALONE, "rollout": {"strategy": "Canary", "canary": {"steps": [{"weight": 5}]}}}, "rollout.strategy Canary"),
    ],
)
def test_where_a_volume_for_one_pod_could_be_in_the_way_there_is_none(given: Object, why: str) -> None:
    found = where(spec(**given), [default()], SITE)
    assert isinstance(found, Nowhere)
    assert why in found.why
    assert "slipway.dev/access-modes" in found.remedy


@pytest.mark.parametrize("strategy", ["Auto", "Recreate"])
def test_strategies_that_can_stop_the_old_replica_first_get_one(strategy: str) -> None:
    assert isinstance(where(spec(**ALONE, rollout={"strategy": strategy}), [default()], SITE), Claim)


def test_a_class_whose_volumes_are_made_by_hand_is_not_taken() -> None:
    assert isinstance(where(spec(**ALONE), [default(provisioner="kubernetes.io/no-provisioner")], SITE), Nowhere)


def test_without_the_right_to_read_classes_only_named_ones_are_used() -> None:
    found = where(spec(**ALONE), None, SITE)
    assert isinstance(found, Nowhere)
    assert "may not read StorageClasses" in found.why
    assert where(spec(**ALONE), None, SiteStorage(storage_class="a")) == claim("a", "ReadWriteOncePod")
    assert where(cached(ALONE, storageClassName="b"), None, SITE) == claim("b", "ReadWriteOncePod")


@pytest.mark.parametrize("kind", ["Auto", "PVC"])
def test_an_installation_can_do_without_volumes(kind: str) -> None:
    found = where(cached(ALONE, kind=kind), [default()], SiteStorage(size="0"))
    assert isinstance(found, Nowhere)
    assert "compileCache.claims" in found.remedy


# --- as the spec says ------------------------------------------------------------------------------------------------


def test_an_engine_that_compiles_nothing_gets_nothing_and_says_nothing() -> None:
    for name in ("llamacpp", "my-own-runtime"):
        assert where(spec(engine={"name": name}), [default()], SITE) is None


def test_none_is_none() -> None:
    assert isinstance(where(cached(ALONE, kind="None"), [default()], SITE), Nowhere)


def test_a_requested_volume_is_claimed_for_a_model_that_never_sleeps_too() -> None:
    asked = cached({"scaling": {"minReplicas": 1}}, kind="PVC", size="5Gi")
    assert where(asked, [default()], SITE) == claim("standard", "ReadWriteOncePod", "5Gi")


def test_a_requested_access_mode_is_believed() -> None:
    asked = cached(SEVERAL, kind="PVC", accessMode="ReadWriteMany", storageClassName="mine")
    assert where(asked, [default()], SITE) == claim("mine", "ReadWriteMany")


def test_a_requested_volume_for_one_pod_is_not_claimed_for_several_replicas() -> None:
    found = where(cached(SEVERAL, kind="PVC"), [default()], SITE)
    assert isinstance(found, Nowhere)
    assert "scaling.maxReplicas is 3" in found.why


def test_without_the_right_to_read_classes_a_requested_volume_has_the_default_of_the_cluster() -> None:
    assert where(cached(ALONE, kind="PVC"), None, SITE) == claim("", "ReadWriteOncePod")


def test_without_any_class_a_requested_volume_would_never_be_bound() -> None:
    assert isinstance(where(cached(ALONE, kind="PVC"), [], SITE), Nowhere)
