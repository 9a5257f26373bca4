"""Complete objects, for an LLMDeployment as users write it, with the profiles and runtimes of Slipway."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import PLAN_ANNOTATION
from slipway.api.reasons import Reason
from slipway.objects.kinds import POD_MONITOR, RESOURCE_CLAIM_TEMPLATE, Object, ObjectKey
from slipway.operator.planning import Plan, make_plan
from slipway.operator.rendering import Desired, Unrenderable, hash_of
from support.builders.plans import KNOWN
from support.builders.rendering import (
    arguments,
    deployment,
    desired,
    manifests,
    of_kind,
    on_h100,
    plan,
    predictor,
    rendered,
    runtime,
    shipped_profiles,
)
from support.repository import RUNTIMES as RUNTIME_FILES
from support.repository import documents

GOLDEN = Path(__file__).parent / "golden"
MONITORING = frozenset({POD_MONITOR})
CLAIMS = frozenset({RESOURCE_CLAIM_TEMPLATE})
RUNTIMES = {obj["metadata"]["name"]: obj for obj in documents(RUNTIME_FILES)}


def with_chart(wanted: LLMDeployment) -> Desired:
    result = make_plan(wanted.spec, shipped_profiles(), name=wanted.metadata.name)
    assert isinstance(result, Plan), result
    answer = rendered(wanted, result, serving_runtime=RUNTIMES[result.runtime], kinds=MONITORING)
    assert isinstance(answer, Desired), answer
    return answer


@pytest.mark.parametrize("name", ["vllm-on-two-gpus", "gemma-on-a-cpu"])
def test_an_llmdeployment_is_rendered_to_exactly_these_objects(name: str) -> None:
    wanted = LLMDeployment.model_validate(yaml.safe_load((GOLDEN / f"{name}.in.yaml").read_text()))
    assert without_digest(with_chart(wanted)) == list(yaml.safe_load_all((GOLDEN / f"{name}.out.yaml").read_text()))


def without_digest(answer: Desired) -> list[Object]:
    """The key of the plan is also of the chart's runtimes."""
    of_kind(answer, "InferenceService")["spec"]["predictor"]["annotations"][PLAN_ANNOTATION] = "a digest"
    return manifests(answer)


def test_pods_of_our_engines_carry_the_key_of_their_plan() -> None:
    answer = desired(on_h100())
    assert answer.plan
    annotations = of_kind(answer, "InferenceService")["spec"]["predictor"]["annotations"]
    assert annotations == {PLAN_ANNOTATION: answer.plan.key}


def test_an_engine_of_others_reports_nothing_so_its_pods_carry_no_key_and_the_operator_does_not_reach_them() -> None:
    wanted = deployment(engine={"name": "sglang"})
    answer = desired(wanted, serving_runtime=runtime("sglang"))
    assert "annotations" not in of_kind(answer, "InferenceService")["spec"]["predictor"]
    assert "slipway-operator" not in str(ingress(wanted, serving_runtime=runtime("sglang")))


def in_full() -> Desired:
    """With everything that a plan may set."""
    wanted = on_h100(model={"uri": "pvc://weights/llama"})
    terms = ({"nvidia.com/gpu.product": "NVIDIA-H200"}, {"cloud.google.com/gke-accelerator": "nvidia-h200-141gb"})
    planned = replace(
        KNOWN,
        tensor=2,
        gpus_per_replica=2,
        node_terms=terms,
        node_selector={"zone": "a"},
        device_class="gpu.nvidia.com",
        shared_memory=12 << 30,
        start_limit=2700.0,
    )
    answer = rendered(wanted, planned, serving_runtime=RUNTIMES[planned.runtime], kinds=CLAIMS)
    assert isinstance(answer, Desired), answer
    return answer


def test_a_complete_plan_is_rendered_to_exactly_these_objects() -> None:
    assert without_digest(in_full()) == list(yaml.safe_load_all((GOLDEN / "planned-in-full.out.yaml").read_text()))


def test_the_same_input_makes_the_same_objects_byte_for_byte() -> None:
    first, second = (yaml.safe_dump_all(manifests(desired(on_h100())), sort_keys=False) for _ in range(2))
    assert first == second


def test_a_hash_depends_on_the_objects_and_not_on_their_order() -> None:
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": [1, 2], "a": 1})
    assert hash_of({"b": [1, 2]}) != hash_of({"b": [2, 1]})


def test_rendering_does_not_change_its_input() -> None:
    theirs, wanted = runtime("slipway-vllm-cuda"), on_h100()
    before = hash_of(theirs), wanted.model_dump_json()
    desired(wanted, serving_runtime=theirs)
    assert (hash_of(theirs), wanted.model_dump_json()) == before


def test_every_object_is_owned_by_the_deployment_and_deleted_with_it() -> None:
    for obj in manifests(desired(on_h100(), kinds=MONITORING)):
        [owner] = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("LLMDeployment", "4711", True)
        assert (obj["metadata"]["name"], obj["metadata"]["namespace"]) == ("llama", "chat")
        assert obj["metadata"]["labels"]["slipway.dev/llmdeployment"] == "llama"


def test_labels_of_the_spec_cannot_assign_pods_to_another_deployment() -> None:
    labels = {"slipway.dev/llmdeployment": "other", "team": "blue"}
    assert predictor(on_h100(pod={"labels": labels}))["labels"] == {
        "slipway.dev/llmdeployment": "llama",
        "app.kubernetes.io/managed-by": "slipway",
        "team": "blue",
    }


def test_no_object_has_the_labels_by_which_kserve_deletes_unknown_objects() -> None:
    for obj in manifests(desired(on_h100(), kinds=MONITORING)):
        assert not {"serving.kserve.io/inferenceservice", "component"} & set(obj["metadata"]["labels"])


def test_no_annotation_of_the_service_assigns_a_port() -> None:
    service = of_kind(desired(on_h100(), activator_port=20007), "Service")
    assert "annotations" not in service["metadata"]


# --- monitoring ------------------------------------------------------------------------------------------------------


def test_without_its_crd_there_is_no_podmonitor() -> None:
    assert "PodMonitor" not in {obj["kind"] for obj in manifests(desired(on_h100()))}


def test_a_podmonitor_that_is_no_longer_wanted_is_deleted() -> None:
    answer = desired(on_h100(observability={"monitor": False}), kinds=MONITORING)
    assert ObjectKey(POD_MONITOR, "chat", "llama") in answer.delete
    assert "PodMonitor" not in {obj["kind"] for obj in manifests(answer)}


# --- access ----------------------------------------------------------------------------------------------------------


def ingress(wanted: LLMDeployment, **world: Any) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = of_kind(desired(wanted, **world), "NetworkPolicy")["spec"]["ingress"]
    return rules


def clients(wanted: LLMDeployment) -> list[dict[str, Any]]:
    """Returns the rules of the NetworkPolicy except those for the activator, the operator and Prometheus."""
    return ingress(wanted)[:-3]


def ports_of(rule: dict[str, Any]) -> list[int]:
    return [each["port"] for each in rule["ports"]]


def test_by_default_every_client_reaches_the_engine_port_and_no_other() -> None:
    assert clients(on_h100()) == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]


def test_with_an_empty_list_no_client_reaches_the_engine() -> None:
    assert clients(on_h100(access={"allowFrom": []})) == []


def test_all_namespaces_may_be_admitted() -> None:
    [rule] = clients(on_h100(access={"allowFrom": [{"namespaceSelector": {}}]}))
    assert rule["from"] == [{"namespaceSelector": {}}]


def test_prometheus_in_the_named_namespaces_reaches_the_metrics_and_not_the_engine() -> None:
    *_, rule = ingress(on_h100(), prometheus_namespaces=("monitoring", "observability"))
    assert ports_of(rule) == [8081]
    [peer] = rule["from"]
    [among] = peer["namespaceSelector"]["matchExpressions"]
    assert (among["key"], among["values"]) == ("kubernetes.io/metadata.name", ["monitoring", "observability"])


def test_no_pod_is_admitted_by_its_labels_alone() -> None:
    """A tenant may give a pod any label; the platform assigns the names of namespaces."""
    for rule in ingress(on_h100(access={"allowFrom": []})):
        for peer in rule["from"]:
            assert "kubernetes.io/metadata.name" in str(peer["namespaceSelector"])


def test_without_a_named_namespace_only_the_activator_reads_metrics() -> None:
    rule, of_operator = ingress(on_h100(access={"allowFrom": []}), prometheus_namespaces=())
    assert ports_of(of_operator) == [8081]
    assert rule["from"][0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "slipway-activator"}}
    assert ports_of(rule) == [8080, 8081]


def test_an_engine_that_serves_its_metrics_itself_is_reached_for_them() -> None:
    wanted = deployment(engine={"name": "sglang"})
    *_, rule = ingress(wanted, serving_runtime=runtime("sglang"))
    assert ports_of(rule) == [8080]


WITH_KEYS = {"apiKeysSecret": "keys"}


def test_a_model_that_may_be_woken_without_a_valid_key_says_so_and_what_to_do() -> None:
    wanted, activator = on_h100(access=WITH_KEYS), ("10.0.0.9",)
    service = "slipway-activator-2"
    [remark] = desired(wanted, activator=activator, activator_service=service, activator_reads_keys=False).remarks
    assert remark == (
        "access.apiKeysSecret: waking takes no valid key, because the activator may not read the Secret keys: "
        "apply manifests/samples/keys-at-zero.yaml with its name, for the ServiceAccount slipway-activator-2."
    )


@pytest.mark.parametrize("reads", [True, None])
def test_there_is_no_remark_if_keys_are_checked_at_zero_or_that_is_unknown(reads: bool | None) -> None:
    assert not desired(on_h100(access=WITH_KEYS), activator=("10.0.0.9",), activator_reads_keys=reads).remarks


@pytest.mark.parametrize(
    "wanted", [on_h100(access=WITH_KEYS), deployment(engine={"name": "llamacpp"}, access=WITH_KEYS)]
)
def test_the_keys_are_mounted_and_the_runtime_gets_their_path(wanted: LLMDeployment) -> None:
    result = predictor(wanted)
    [mount] = result["model"]["volumeMounts"]
    assert mount["readOnly"]
    assert {"name": mount["name"], "secret": {"secretName": "keys"}} in result["volumes"]
    assert f"--api-keys={mount['mountPath']}" in runtime_flags(arguments(wanted))


def test_the_runtime_gets_the_rate_limits_of_keys() -> None:
    limits = {"requestsPerMinute": 60, "tokensPerMinute": 9}
    wanted = on_h100(access={**WITH_KEYS, "rateLimit": limits})
    assert {"--requests-per-minute=60", "--tokens-per-minute=9"} < set(runtime_flags(arguments(wanted)))


def test_a_model_with_keys_never_serves_without_them() -> None:
    wanted = deployment(engine={"name": "sglang"}, access=WITH_KEYS)
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("sglang"))
    assert isinstance(answer, Unrenderable)
    assert answer.reason == Reason.INVALID_SPEC


def runtime_flags(flags: list[str]) -> list[str]:
    return flags[: flags.index("--")] if "--" in flags else flags


# --- rollout ---------------------------------------------------------------------------------------------------------

SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
ONE_LESS = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
RECREATE = {"type": "Recreate"}

SEVERAL = {"maxReplicas": 3}
NEXT_TO_OLD = "rollout.strategy: the new replica starts next to the old one."
IN_PLACE = "rollout.strategy: there is no room for one more replica, so an old one is stopped first; "

ROLLOUTS: dict[str, tuple[LLMDeployment, Any, Any, str]] = {
    "nothing is rolled out": (on_h100(), {}, SURGE, ""),
    "a rollout starts": (on_h100(), {"is_updating": True, "has_missing": True}, SURGE, NEXT_TO_OLD),
    "a single replica has no room next to it": (
        on_h100(),
        {"is_updating": True, "has_missing": True, "lacks_room": True},
        RECREATE,
        f"{IN_PLACE}requests are held meanwhile.",
    ),
    "several replicas have no room next to them": (
        on_h100(scaling=SEVERAL),
        {"is_updating": True, "has_missing": True, "lacks_room": True},
        ONE_LESS,
        f"{IN_PLACE}the others continue to serve.",
    ),
    "strategy Surge, without room": (
        on_h100(rollout={"strategy": "Surge"}),
        {"is_updating": True, "has_missing": True, "lacks_room": True},
        SURGE,
        "",
    ),
    "strategy Recreate": (on_h100(rollout={"strategy": "Recreate"}, scaling=SEVERAL), {}, RECREATE, ""),
}


@pytest.mark.parametrize(("wanted", "world", "strategy", "expected"), ROLLOUTS.values(), ids=ROLLOUTS)
def test_an_old_replica_is_removed_first_only_if_there_is_no_room_next_to_it(
    wanted: LLMDeployment, world: Any, strategy: object, expected: str
) -> None:
    answer = desired(wanted, **world)
    assert of_kind(answer, "InferenceService")["spec"]["predictor"]["deploymentStrategy"] == strategy
    assert [sentence for sentence in answer.remarks if sentence.startswith("rollout.strategy")] == [expected] * bool(
        expected
    )


@pytest.mark.parametrize("chosen", [RECREATE, ONE_LESS])
@pytest.mark.parametrize(("has_missing", "keeps"), [(True, True), (False, False)])
def test_the_strategy_of_a_rollout_is_chosen_once_and_reset_when_it_is_over(
    chosen: object, has_missing: bool, keeps: bool
) -> None:
    live = {"metadata": {}, "spec": {"predictor": {"deploymentStrategy": chosen}}}
    found = predictor(on_h100(), inference_service=live, has_missing=has_missing)["deploymentStrategy"]
    assert found == (RECREATE if keeps else SURGE)


def test_the_grace_period_is_longer_than_the_drain_timeout() -> None:
    assert predictor(on_h100(rollout={"drainTimeout": "90s"}))["terminationGracePeriodSeconds"] == 105


# --- where the model comes from --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "uri"),
    [
        ({"uri": "hf://org/model"}, "hf://org/model"),
        ({"uri": "hf://org/model", "revision": "abc"}, "hf://org/model:abc"),
        ({"uri": "s3://bucket/model"}, "s3://bucket/model"),
        ({"uri": "az://account/container/a/b"}, "https://account.blob.core.windows.net/container/a/b"),
        ({"uri": "pvc://claim/a"}, "pvc://claim/a"),
    ],
)
def test_sources_are_rendered_as_storage_uris_of_kserve(model: dict[str, str], uri: str) -> None:
    assert predictor(on_h100(model=model))["model"]["storageUri"] == uri


def test_with_adapters_each_source_has_a_folder() -> None:
    engine = {"adapters": [{"name": "sql", "uri": "s3://b/sql"}]}
    result = predictor(on_h100(engine=engine))
    assert result["storageUris"] == [
        {"uri": "hf://org/model", "mountPath": "/mnt/models"},
        {"uri": "s3://b/sql", "mountPath": "/mnt/adapters/sql"},
    ]
    assert "storageUri" not in result["model"]


def test_an_unsupported_source_is_refused() -> None:
    wanted = on_h100(model={"uri": "mlflow://models:/a/1"})
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-vllm-cuda"))
    assert isinstance(answer, Unrenderable)


def test_credentials_go_to_the_storage_initializer() -> None:
    wanted = on_h100(model={"uri": "hf://org/model", "credentialsSecret": "token"})
    annotations = of_kind(desired(wanted), "InferenceService")["metadata"]["annotations"]
    assert annotations["serving.kserve.io/storageSecretName"] == "token"
    assert annotations["serving.kserve.io/secretName"] == "token"


def test_credentials_of_a_model_in_a_registry_are_image_pull_secrets() -> None:
    wanted = on_h100(
        model={"uri": "oci://r.example/m:1", "credentialsSecret": "pull"}, pod={"imagePullSecrets": [{"name": "own"}]}
    )
    assert predictor(wanted)["imagePullSecrets"] == [{"name": "own"}, {"name": "pull"}]


# --- the rest of the pod ---------------------------------------------------------------------------------------------


def test_a_variable_of_the_spec_overrides_one_of_ours() -> None:
    tracing = {"tracing": {"endpoint": "http://otel:4318"}}
    env = [{"name": "OTEL_SERVICE_NAME", "value": "mine"}]
    variables = predictor(on_h100(observability=tracing, pod={"env": env}))["model"]["env"]
    assert [each["value"] for each in variables if each["name"] == "OTEL_SERVICE_NAME"] == ["mine"]


def test_a_queue_is_a_label_of_the_pods() -> None:
    assert predictor(on_h100(pod={"queueName": "gpus"}))["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


def test_fields_without_an_effect_yet_are_named() -> None:
    canary = {"strategy": "Canary", "canary": {"steps": [{"weight": 5}]}}
    wanted = on_h100(rollout=canary, scaling={"autoscaler": "None"})
    assert desired(wanted).remarks == ("rollout.strategy: Canary is treated as Surge so far.",)


@pytest.mark.parametrize("name", ["prometheus.kserve.io/port", "prometheus.kserve.io/path"])
def test_annotations_that_send_the_activator_elsewhere_for_metrics_are_refused(name: str) -> None:
    """They may be stored since before the types refused them."""
    wanted = on_h100(pod={"annotations": {"team": "chat", name: "9999"}})
    planned = plan(wanted)
    answer = rendered(wanted, planned, serving_runtime=runtime(planned.runtime))
    assert isinstance(answer, Unrenderable)
    assert answer.message.startswith(f"pod.annotations: {name} says where an engine's metrics are")
