"""The API server accepts valid objects, fills in defaults, and refuses invalid objects with a sentence."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import ACTIVATOR_GRPC_PORT
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support import repository
from support.builders.llmdeployments import acceleratorprofile, llmdeployment, merged
from support.cluster import AnyCluster, Kube, KubectlError, Object, admission, installation
from support.cluster.admission import LLMDEPLOYMENTS, ApiServer
from support.repository import rows

PROFILES = "/apis/slipway.dev/v1alpha1/acceleratorprofiles"
PATHS = {
    "LLMDeployment": LLMDEPLOYMENTS,
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects",
}


@pytest.fixture(scope="module")
def api(cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """A cluster that has our CRDs. Most tests are dry runs, so they need no namespace of their own."""
    kube = Kube(cluster.kubectl, cluster.kubeconfig, tmp_path_factory.getbasetemp() / "kubectl")
    asyncio.run(installation.install_types(kube))
    return kube


@pytest.fixture
def written(api: Kube, kube: Kube) -> Kube:
    """A namespace of the test's own, for objects that are really stored."""
    return api.within(kube.namespace)


@pytest.fixture(scope="module")
def server(api: Kube) -> Iterator[ApiServer]:
    with admission.api_server(api) as server:
        asyncio.run(admission.policies_in_force(api, server))
        yield server


def created(server: ApiServer, obj: Object) -> Object:
    """The object as it would be stored."""
    answer = server.would_create(LLMDEPLOYMENTS, obj)
    assert answer.accepted, answer.sentences
    return answer.body


def named_by(row: Any) -> str:
    return str(row["it"])


# --- invalid objects -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows("refused_llmdeployments"), ids=named_by)
def test_a_bad_llmdeployment_is_refused_with_a_sentence(server: ApiServer, row: Any) -> None:
    obj = llmdeployment(row.get("name", "model"), row.get("spec"))
    if "spec" in row and row["spec"] is None:
        del obj["spec"]
    answer = server.would_create(LLMDEPLOYMENTS, obj)
    assert not answer.accepted
    assert answer.sentences == row["says"]


@pytest.mark.parametrize("row", rows("refused_acceleratorprofiles"), ids=named_by)
def test_a_bad_accelerator_profile_is_refused_with_a_sentence(server: ApiServer, row: Any) -> None:
    answer = server.would_create(PROFILES, acceleratorprofile(spec=row["spec"]))
    assert not answer.accepted
    assert answer.sentences == row["says"]


def test_all_mistakes_are_named_at_once(server: ApiServer) -> None:
    invalid = llmdeployment(spec={"scaling": {"minReplicas": 3}, "engine": {"quantization": "GGUF"}})
    refused = server.would_create(LLMDEPLOYMENTS, invalid).sentences
    fields = {line.split(":")[0] for line in refused.splitlines()}
    assert fields == {"spec.scaling.minReplicas", "spec.engine.quantization"}


async def test_kubectl_shows_the_sentence(api: Kube) -> None:
    invalid = json.dumps(llmdeployment(spec={"engine": {"extraArgs": ["--port=9000"]}}))
    with pytest.raises(KubectlError, match="--port is set by Slipway, which depends on it: leave it out"):
        await api.run("create", "--dry-run=server", "--filename=-", stdin=invalid)


# --- warnings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows("warned"), ids=named_by)
def test_an_anti_pattern_is_accepted_with_a_warning(server: ApiServer, row: Any) -> None:
    obj = row.get("object") or llmdeployment(spec=row["spec"])
    policy = f"{row['policy']}.slipway.dev"
    warning = f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{policy}': {row['says']}"
    answer = server.would_create(PATHS[obj["kind"]], obj)
    assert answer.accepted
    assert answer.warnings == [warning]


# --- restricted namespaces -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def restricted(api: Kube, server: ApiServer) -> Iterator[str]:
    """The API path of LLMDeployments in a namespace with the label."""
    name = f"restricted-{secrets.token_hex(4)}"
    labels = {"slipway.dev/restricted": "true"}
    asyncio.run(api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
    yield LLMDEPLOYMENTS.replace("/default/", f"/{name}/")
    asyncio.run(api.delete("namespace", name))


@pytest.mark.parametrize("row", rows("denied"), ids=named_by)
def test_a_restricted_namespace_denies_what_is_allowed_elsewhere(server: ApiServer, restricted: str, row: Any) -> None:
    answer = server.would_create(restricted, llmdeployment(spec=row["spec"]))
    assert not answer.accepted
    assert answer.sentences.endswith(f"denied request: {row['says']}")
    assert server.would_create(LLMDEPLOYMENTS, llmdeployment(spec=row["spec"])).accepted


def test_a_restricted_namespace_accepts_deployments_that_refer_to_nothing_of_others(
    server: ApiServer, restricted: str
) -> None:
    spec = {"model": {"credentialsSecret": "bucket", "uri": "s3://models/llama"}, "access": {"apiKeysSecret": "keys"}}
    assert server.would_create(restricted, llmdeployment(spec=spec)).accepted


SCALER = f"slipway-activator.{SLIPWAY_NAMESPACE}:{ACTIVATOR_GRPC_PORT}"
OTHER_SCALERS: list[Object] = [
    {"metadata": {"scalerAddress": SCALER.capitalize()}},
    {"metadata": {"scalerAddress": f"dns:///{SCALER}"}},
    {"metadata": {"scalerAddress": "10.96.0.10:9090"}},
    {"metadata": {"scalerAddress": SCALER, "enableTLS": "true"}},
    {"metadata": {"scalerAddress": SCALER}, "authenticationRef": {"name": "mine"}},
    {"metadata": {"scalerAddressFromEnv": "MINE"}},
]


def scaled_by(trigger: Object) -> Object:
    """A ScaledObject with Slipway's scaler and this one."""
    triggers = [{"type": "external-push", "metadata": {"scalerAddress": SCALER}}, {"type": "external", **trigger}]
    spec = {"scaleTargetRef": {"name": "model-predictor"}, "triggers": triggers}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "model"}, "spec": spec}


@pytest.mark.parametrize("trigger", OTHER_SCALERS, ids=str)
def test_a_restricted_namespace_allows_only_slipways_scaler_by_its_one_address(
    server: ApiServer, restricted: str, trigger: Object
) -> None:
    path = PATHS["ScaledObject"].replace("/default/", f"/{restricted.split('/')[-2]}/")
    answer = server.would_create(path, scaled_by(trigger))
    assert not answer.accepted
    assert "in this namespace KEDA may call only Slipway's external scaler" in answer.sentences
    assert server.would_create(PATHS["ScaledObject"], scaled_by(trigger)).accepted
    assert server.would_create(path, scaled_by({"metadata": {"scalerAddress": SCALER}})).accepted


# --- valid objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", repository.samples(), ids=lambda path: path.stem)
def test_a_sample_is_accepted_without_a_warning(server: ApiServer, sample: Path) -> None:
    answer = server.would_create(LLMDEPLOYMENTS, yaml.safe_load(sample.read_text()))
    assert answer.accepted, answer.sentences
    assert answer.warnings == []


def test_the_autoscaler_that_slipway_creates_is_accepted_without_a_warning(server: ApiServer) -> None:
    [by_cpu] = [row for row in rows("warned") if row["policy"] == "cpu-autoscaling-hpa"]
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "LLMDeployment", "name": "model", "uid": "1"}
    ours = merged(by_cpu["object"], {"metadata": {"ownerReferences": [owner]}})
    answer = server.would_create(PATHS[ours["kind"]], ours)
    assert answer.accepted
    assert answer.warnings == []


def test_the_smallest_llmdeployment_gets_the_defaults_of_the_python_types(server: ApiServer) -> None:
    stored = created(server, llmdeployment())
    of_the_types = LLMDeployment.model_validate(llmdeployment())
    assert LLMDeployment.model_validate(stored).spec == of_the_types.spec


def test_a_stored_object_shows_the_defaults(server: ApiServer) -> None:
    stored = created(server, llmdeployment())
    assert stored["spec"]["scaling"] == {
        "minReplicas": 0,
        "maxReplicas": 1,
        "autoscaler": "KEDA",
        "idleAfter": "10m",
        "hold": {"maxRequests": 256, "maxBytes": "64Mi", "timeout": "Auto", "heartbeat": "Auto"},
    }


def test_what_is_left_to_the_operator_is_not_stored(server: ApiServer) -> None:
    """So that an older operator, which doesn't know these fields, doesn't find them in every object."""
    spec = created(server, llmdeployment())["spec"]
    assert spec["model"] == llmdeployment()["spec"]["model"]
    assert not {"toolCalls", "reasoning"} & spec["engine"].keys()


@pytest.mark.parametrize("cache", [{"size": "20Gi"}, {"storageClassName": "fast"}], ids=str)
def test_a_volume_may_be_described_without_a_kind(server: ApiServer, cache: Object) -> None:
    assert created(server, llmdeployment(spec={"model": {"cache": cache}}))["spec"]["model"]["cache"] == cache


def test_setting_a_part_of_hold_keeps_the_other_defaults(server: ApiServer) -> None:
    stored = created(server, llmdeployment(spec={"scaling": {"hold": {"maxRequests": 8}}}))
    assert stored["spec"]["scaling"]["hold"]["maxBytes"] == "64Mi"


def test_quantities_may_be_plain_numbers(server: ApiServer) -> None:
    stored = created(server, llmdeployment(spec={"scaling": {"hold": {"maxBytes": 1048576}}}))
    assert LLMDeployment.model_validate(stored).spec.scaling.hold.max_bytes == "1048576"


def test_the_metrics_of_a_third_party_engine_may_be_configured(server: ApiServer) -> None:
    annotations = {"prometheus.kserve.io/port": "9002"}
    stored = created(server, llmdeployment(spec={"engine": {"name": "sglang"}, "pod": {"annotations": annotations}}))
    assert stored["spec"]["pod"]["annotations"] == annotations


def test_the_longest_name_that_kserve_can_work_with_is_accepted(server: ApiServer) -> None:
    created(server, llmdeployment("l" * 53))


async def test_an_unknown_field_is_dropped_where_validation_is_off(written: Kube) -> None:
    text = json.dumps(llmdeployment(spec={"minReplica": 1}))
    await written.run("create", "--validate=ignore", "--filename=-", stdin=text)
    assert "minReplica" not in (await written.get("llm", "model"))["spec"]


# --- changes that are refused ----------------------------------------------------------------------------------------

PVC = {"model": {"cache": {"kind": "PVC", "size": "20Gi", "storageClassName": "fast"}}}
TO_ANOTHER_CLASS = (
    "spec.model.cache.storageClassName: Forbidden: Kubernetes can't move a volume to another storage class: set kind "
    "to None first, which removes the volume, then to PVC with the new class"
)
SMALLER = (
    "spec.model.cache.size: Forbidden: Kubernetes can't shrink a volume: keep the size, or set kind to None first, "
    "which removes the volume"
)
INITIAL = (
    "spec.scaling.initialReplicas: Forbidden: initialReplicas only has an effect when the object is created: "
    "leave it unchanged or remove it, and change minReplicas"
)
REFUSED_CHANGES = [
    pytest.param(PVC, {"model": {"cache": {"storageClassName": "slow"}}}, TO_ANOTHER_CLASS, id="another storage class"),
    pytest.param(PVC, {"model": {"cache": {"storageClassName": None}}}, TO_ANOTHER_CLASS, id="no storage class"),
    pytest.param(PVC, {"model": {"cache": {"size": "10Gi"}}}, SMALLER, id="a smaller cache"),
    pytest.param(
        {"scaling": {"initialReplicas": 1}}, {"scaling": {"initialReplicas": 0}}, INITIAL, id="initial changed"
    ),
    pytest.param({}, {"scaling": {"initialReplicas": 1}}, INITIAL, id="initial added"),
]
ACCEPTED_CHANGES = [
    pytest.param(PVC, {"model": {"cache": {"size": "40Gi"}}}, id="a larger cache"),
    pytest.param(PVC, {"model": {"cache": {"kind": "None", "size": None, "storageClassName": None}}}, id="no cache"),
    pytest.param(PVC, {"model": {"cache": {"kind": None, "size": "10Gi"}}}, id="a cache left to the operator"),
    pytest.param({"model": {"cache": {"size": "20Gi"}}}, PVC, id="a cache of a kind"),
    pytest.param({"scaling": {"initialReplicas": 1}}, {"scaling": {"initialReplicas": None}}, id="initial left out"),
    pytest.param({}, {"engine": {"name": "llamacpp"}, "model": {"uri": "pvc://other/"}}, id="all else"),
]


@pytest.mark.parametrize(("spec", "change", "sentence"), REFUSED_CHANGES)
async def test_a_change_that_cannot_be_carried_out_is_refused(
    written: Kube, spec: Object, change: Object, sentence: str
) -> None:
    await written.apply(llmdeployment(spec=spec))
    with pytest.raises(KubectlError) as refused:
        await written.patch("llm", "model", {"spec": change})
    assert sentence in str(refused.value)


@pytest.mark.parametrize(("spec", "change"), ACCEPTED_CHANGES)
async def test_a_change_that_can_be_carried_out_is_accepted(written: Kube, spec: Object, change: Object) -> None:
    await written.apply(llmdeployment(spec=spec))
    await written.patch("llm", "model", {"spec": change})


# --- output of kubectl -----------------------------------------------------------------------------------------------


async def test_explain_shows_what_a_field_means(api: Kube) -> None:
    shown = " ".join((await api.run("explain", "llm.spec.scaling.hold")).split())
    assert "Limits for requests that are held while no replica is ready." in shown
    assert "maxRequests <integer> Maximum number of requests that are held at a time." in shown


async def test_the_columns_show_the_state_of_a_deployment(written: Kube) -> None:
    await written.apply(llmdeployment())
    status = {
        "state": "Serving",
        "url": "http://model",
        "replicas": {"ready": 2},
        "plan": {"accelerator": "l4", "why": ["it is the cheapest that fits"]},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    await written.patch("llm", "model", {"status": status}, subresource="status")
    names, values = (await written.run("get", "llms", "--output=wide")).splitlines()
    assert names.split() == [
        "NAME",
        "MODEL",
        "ACCELERATOR",
        "READY",
        "STATE",
        "REPLICAS",
        "URL",
        "REASON",
        "PLAN",
        "COST/H",
        "UPDATE",
        "AGE",
    ]
    assert " ".join(values.split()).startswith(
        "model pvc://models/llama l4 True Serving 2 http://model Serving it is the cheapest that fits"
    )


async def test_the_category_ai_lists_deployments(written: Kube) -> None:
    await written.apply(llmdeployment())
    assert "llmdeployment.slipway.dev/model" in await written.run("get", "ai", "--output=name")


async def test_deployments_can_be_selected_by_their_state(written: Kube) -> None:
    await written.apply(llmdeployment("asleep"), llmdeployment("awake"))
    await written.patch("llm", "asleep", {"status": {"state": "Idle"}}, subresource="status")
    assert (await written.run("get", "llm", "--field-selector=status.state=Idle", "--output=name")).split() == [
        "llmdeployment.slipway.dev/asleep"
    ]


async def test_a_spec_cannot_be_written_through_the_status(written: Kube) -> None:
    await written.apply(llmdeployment())
    await written.patch("llm", "model", {"spec": {"scaling": {"maxReplicas": 9}}}, subresource="status")
    assert (await written.get("llm", "model"))["spec"]["scaling"]["maxReplicas"] == 1


async def test_only_the_autoscaler_scales_a_deployment(written: Kube) -> None:
    await written.apply(llmdeployment())
    with pytest.raises(KubectlError, match="NotFound"):
        await written.scale("llm", "model", 3)


async def test_two_managers_can_each_own_an_adapter(written: Kube) -> None:
    for manager in ("one", "two"):
        adapter = {"engine": {"adapters": [{"name": manager, "uri": f"pvc://loras/{manager}"}]}}
        text = json.dumps(llmdeployment(spec=adapter))
        await written.run("apply", "--server-side", f"--field-manager={manager}", "--filename=-", stdin=text)
    stored = await written.get("llm", "model")
    assert [adapter["name"] for adapter in stored["spec"]["engine"]["adapters"]] == ["one", "two"]


async def test_installing_the_definitions_again_changes_nothing(api: Kube) -> None:
    before = [await api.get("customresourcedefinition", name) for name in installation.DEFINITIONS]
    await installation.install_types(api)
    after = [await api.get("customresourcedefinition", name) for name in installation.DEFINITIONS]
    assert [obj["metadata"]["resourceVersion"] for obj in after] == [
        obj["metadata"]["resourceVersion"] for obj in before
    ]


async def test_every_rule_of_the_policies_compiles_against_the_types(api: Kube) -> None:
    for policy in await api.select("validatingadmissionpolicy"):
        if policy["metadata"]["name"].endswith(".slipway.dev"):
            checked = await api.wait_for(
                "validatingadmissionpolicy",
                policy["metadata"]["name"],
                lambda seen: seen.get("status", {}).get("observedGeneration") == seen["metadata"]["generation"],
            )
            assert checked["status"].get("typeChecking", {}) == {}
