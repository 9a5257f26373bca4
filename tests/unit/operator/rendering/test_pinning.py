"""Which changes reach the pods of an older Slipway, and which wait for a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from slipway.api.names import PLAN_ANNOTATION
from slipway.objects.kinds import Object
from slipway.operator.rendering import Desired, normal_form
from slipway.operator.rendering.pinning import PLANNED_BEFORE, changes, of_pods, pinned
from support.builders.plans import MEMORY, SPEED
from support.builders.rendering import deployment, desired, of_kind, plan, profile, rendered, runtime, snapshot_with
from support.fakes.api_server import fields_of
from support.repository import CRDS

OLD, NEW = "slipway-vllm-cuda-1-aa", "slipway-vllm-cuda-2-bb"
GOLDEN_PLAIN = "cb4cd0ff6bd0cc209620191c371bae00"
GOLDEN_SPEC = "593497cd360402ac7a5a0861418b8988"
FULL_SPEC: Object = {
    "accelerator": {"profiles": ["h100"]},
    "engine": {"contextLength": 2048, "extraArgs": ["--seed=1"]},
    "pod": {
        "env": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}],
        "labels": {"team": "b"},
        "resources": {"requests": {"cpu": "1.5"}},
    },
    "access": {"apiKeysSecret": "keys"},
    "rollout": {"drainTimeout": "5m"},
}
SPEC: Object = {"accelerator": {"profiles": ["h100"]}}


def first_version(*, version: str = "1", spec: Object = SPEC, annotations: dict[str, str] | None = None) -> Desired:
    return desired(deployment(annotations=annotations, **spec), version=version, serving_runtime=runtime(OLD))


def live_service(answer: Desired) -> Object:
    """The InferenceService as the API server has it."""
    applied = of_kind(answer, "InferenceService")
    entry = {"manager": "slipway", "operation": "Apply", "fieldsV1": fields_of(applied)}
    return {**applied, "metadata": {**applied["metadata"], "managedFields": [entry]}}


def status_of(answer: Desired) -> Object:
    assert answer.plan is not None
    plan = {
        "accelerator": answer.plan.profile,
        "gpusPerReplica": answer.plan.gpus_per_replica,
        "maxConcurrency": answer.plan.max_concurrency,
        "tensor": answer.plan.tensor,
        "pipeline": answer.plan.pipeline,
    }
    return {"observedGeneration": 0, "made": answer.made, "plan": plan}


def next_version(
    before: Desired, *, spec: Object = SPEC, annotations: dict[str, str] | None = None, **world: Any
) -> Desired:
    """Renders with the next version."""
    given: Object = {
        "version": "2",
        "serving_runtime": runtime(NEW),
        "inference_service": live_service(before),
        "pods_runtime": runtime(OLD),
        "status": status_of(before),
    }
    return desired(deployment(annotations=annotations, **spec), **(given | world))


def pods(answer: Desired) -> Object:
    return of_pods(of_kind(answer, "InferenceService"))


def test_the_recorded_input_of_the_pods_has_no_defaults_for_the_api_server_to_fill_in() -> None:
    """Otherwise each reconcile would find a different status than it had written, and write it again."""
    [crd] = [yaml.safe_load(file.read_text()) for file in CRDS.glob("*llmdeployments*.yaml")]
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    filled_in = {name for name, field in status["made"]["properties"].items() if "default" in field}
    on_cpus = desired(deployment(engine={"name": "llamacpp"}))
    assert filled_in <= (on_cpus.made or {}).keys()


# --- restarts --------------------------------------------------------------------------------------------------------


def restarted(at: str = "2026-11-30T18:00:00Z") -> dict[str, str]:
    return {"slipway.dev/restart": at}


def time_of_restart(answer: Desired) -> str | None:
    found: str | None = pods(answer)["predictor"]["annotations"].get("slipway.dev/restart")
    return found


def test_a_restart_changes_the_pods_and_nothing_of_how_they_are_made() -> None:
    before = first_version()
    after = next_version(before, version="1", annotations=restarted(), serving_runtime=runtime(OLD))
    assert time_of_restart(after) == "2026-11-30T18:00:00Z"
    assert pods(after)["predictor"]["model"] == pods(before)["predictor"]["model"]
    assert after.made == before.made
    assert after.update is None


def test_a_restart_under_another_version_brings_no_update() -> None:
    before = first_version()
    after = next_version(before, annotations=restarted())
    assert time_of_restart(after) == "2026-11-30T18:00:00Z"
    assert of_kind(after, "InferenceService")["spec"]["predictor"]["model"]["runtime"] == OLD
    assert after.made == before.made
    assert after.update == next_version(before).update


def test_a_restart_is_carried_out_once_and_stays_without_its_annotation() -> None:
    before = next_version(first_version(), annotations=restarted())
    assert pods(next_version(before, annotations=restarted())) == pods(before)
    assert pods(next_version(before)) == pods(before)
    assert (
        time_of_restart(next_version(before, annotations=restarted("2026-11-30T19:00:00Z"))) == "2026-11-30T19:00:00Z"
    )


def test_an_earlier_time_restarts_nothing_and_is_reported() -> None:
    """As by a sync with Git, which has the time of the restart before."""
    before = next_version(first_version(), annotations=restarted("2026-11-30T19:00:00Z"))
    after = next_version(before, annotations=restarted("2026-11-30T18:00:00Z"))
    assert pods(after) == pods(before)
    [remark] = [each for each in after.remarks if each.startswith("slipway.dev/restart: ")]
    assert "2026-11-30T18:00:00Z is before 2026-11-30T19:00:00Z, the time of the last restart" in remark
    same = next_version(before, annotations=restarted("2026-11-30T20:00:00+01:00"))
    assert pods(same) == pods(before)
    assert "slipway.dev/restart" not in " ".join(same.remarks)


def test_a_restart_of_pods_that_are_otherwise_kept_replaces_them() -> None:
    """So that what else waits for other pods, such as another place for compiled code, comes with them."""
    before = first_version()
    wanted = deployment(annotations=restarted(), **SPEC)
    planned = plan(wanted, [profile("h100", nodeLabels={"gpu": "hopper"})])
    shown = snapshot_with(
        wanted.metadata.name,
        planned.runtime,
        serving_runtime=runtime(OLD),
        inference_service=live_service(before),
        status=status_of(before),
        has_pods=True,
    )
    service = of_kind(with_another_profile(before, has_pods=False), "InferenceService")
    found = pinned(service, wanted, planned, runtime(OLD), shown, version="1")
    assert (found.is_kept, found.is_replaced) == (True, True)


def test_a_change_of_the_spec_keeps_the_time_of_the_restart() -> None:
    before = next_version(first_version(), annotations=restarted())
    spec = {**SPEC, "engine": {"contextLength": 2048}}
    assert time_of_restart(next_version(before, spec=spec)) == "2026-11-30T18:00:00Z"


def test_a_restart_at_something_that_is_no_time_has_no_effect_and_is_reported() -> None:
    before = first_version()
    after = next_version(before, annotations=restarted("now"))
    assert pods(after) == pods(before)
    assert "slipway.dev/restart: 'now' is not a time, so it has no effect" in " ".join(after.remarks)


# --- unchanged pods --------------------------------------------------------------------------------------------------


def test_another_version_with_another_runtime_changes_no_pod_and_reports_what_it_would_change() -> None:
    before = first_version()
    after = next_version(before)
    assert pods(after) == pods(before)
    assert after.made == before.made
    assert after.update == {"version": "2", "changes": [f"predictor.model.runtime: {OLD} → {NEW}"]}


def test_the_same_version_with_another_runtime_changes_no_pod() -> None:
    before = first_version()
    assert pods(next_version(before, version="1")) == pods(before)


def test_the_same_version_follows_the_spec() -> None:
    before = first_version()
    spec = {"accelerator": {"profiles": ["h100"]}, "engine": {"contextLength": 2048}}
    after = next_version(before, spec=spec, version="1", serving_runtime=runtime(OLD))
    assert pods(after) != pods(before)
    assert after.update is None


def with_another_profile(before: Desired, **world: Any) -> Desired:
    """Profiles with one of the same name whose nodes have another label."""
    wanted = deployment(**SPEC)
    planned = plan(wanted, [profile("h100", nodeLabels={"gpu": "hopper"})])
    answer = rendered(
        wanted,
        planned,
        version="1",
        serving_runtime=runtime(OLD),
        pods_runtime=runtime(OLD),
        inference_service=live_service(before),
        status=status_of(before),
        **world,
    )
    assert isinstance(answer, Desired)
    return answer


def test_a_changed_profile_changes_no_scheduled_pod_and_is_reported() -> None:
    before = first_version()
    after = with_another_profile(before, has_pods=True)
    assert pods(after) == pods(before)
    assert after.update is not None
    assert "predictor.nodeSelector.gpu: h100 → hopper" in after.update["changes"]


def test_a_changed_profile_is_followed_if_no_pod_exists() -> None:
    before = first_version()
    assert pods(with_another_profile(before, has_pods=False)) != pods(before)


def with_another_plan(before: Desired, **world: Any) -> tuple[Object, Desired]:
    """The same pods by a plan with another key; also returns the annotations that its pods would have."""
    service = live_service(before)
    annotations = service["spec"]["predictor"]["annotations"]
    now = dict(annotations)
    annotations[PLAN_ANNOTATION] = "0123456789abcdef"
    return now, next_version(before, version="1", serving_runtime=runtime(OLD), inference_service=service, **world)


def test_another_key_of_the_plan_alone_replaces_no_pod_and_is_no_update() -> None:
    before = first_version()
    _, after = with_another_plan(before, has_pods=True)
    assert pods(after)["predictor"]["annotations"] == {PLAN_ANNOTATION: "0123456789abcdef"}
    assert (after.made, after.update) == (before.made, None)


def test_pods_that_were_made_before_plans_had_keys_stay_without_one() -> None:
    before = first_version()
    service = live_service(before)
    del service["spec"]["predictor"]["annotations"]
    world: Object = {"version": "1", "serving_runtime": runtime(OLD), "inference_service": service, "has_pods": True}
    after = next_version(before, **world)
    assert "annotations" not in pods(after)["predictor"]
    assert after.update is None


def test_without_a_pod_the_next_ones_get_the_new_key() -> None:
    before = first_version()
    now, after = with_another_plan(before, has_pods=False)
    assert pods(after)["predictor"]["annotations"] == now


NORMALIZED = [
    pytest.param({"requests": {"cpu": "0.5"}}, {"requests": {"cpu": "500m"}}, id="another unit"),
    pytest.param({"requests": {"cpu": 2}}, {"requests": {"cpu": "2"}}, id="a number"),
    pytest.param({"limits": {"memory": "1024Mi"}}, {"limits": {"memory": "1Gi"}}, id="another suffix"),
]


@pytest.mark.parametrize(("written", "there"), NORMALIZED)
def test_values_that_the_api_server_normalizes_are_the_same(written: Object, there: Object) -> None:
    spec = {**SPEC, "pod": {"resources": written}}
    before = first_version(spec=spec)
    service = live_service(before)
    [(kind, amounts)] = there.items()
    service["spec"]["predictor"]["model"]["resources"][kind] |= amounts
    after = next_version(before, spec=spec, inference_service=service)
    assert pods(after)["predictor"]["model"]["runtime"] == OLD
    assert after.update == {"version": "2", "changes": [f"predictor.model.runtime: {OLD} → {NEW}"]}


def test_an_empty_variable_that_the_api_server_leaves_out_is_the_same() -> None:
    spec = {**SPEC, "pod": {"env": [{"name": "VLLM_LOGGING_PREFIX", "value": ""}]}}
    before = first_version(spec=spec)
    service = live_service(before)
    for variable in service["spec"]["predictor"]["model"]["env"]:
        if variable["name"] == "VLLM_LOGGING_PREFIX":
            variable.pop("value")
    after = next_version(before, spec=spec, inference_service=service)
    assert pods(after)["predictor"]["model"]["runtime"] == OLD


def test_digests_are_stable() -> None:
    """With another way to compute them, every pod of an upgraded cluster would count as changed."""
    assert normal_form.digest({"b": [1, "x"], "a": {"requests": {"cpu": "0.5"}, "empty": ""}}) == GOLDEN_PLAIN
    assert (first_version(spec=FULL_SPEC).made or {})["spec"] == GOLDEN_SPEC


def test_an_identical_manifest_of_a_newer_version_belongs_to_that_version() -> None:
    after = next_version(first_version(), serving_runtime=runtime(OLD))
    assert after.made is not None
    assert after.made["version"] == "2"
    assert after.update is None


def test_an_update_that_waits_keeps_waiting_over_further_versions() -> None:
    before = first_version()
    second = next_version(before)
    third = next_version(second, version="3", inference_service=live_service(second), status=status_of(second))
    assert pods(third) == pods(before)
    assert third.update is not None
    assert third.update["version"] == "3"


NOT_OF_PODS: dict[str, Object] = {
    "scaling": {"minReplicas": 2, "maxReplicas": 3, "idleAfter": "1h", "target": {"inFlight": 7}},
    "rollout": {"strategy": "Recreate"},
    "access": {"allowFrom": [{"podSelector": {"matchLabels": {"app": "web"}}}]},
    "observability": {"monitor": False},
}


@pytest.mark.parametrize("changed", NOT_OF_PODS.values(), ids=NOT_OF_PODS.keys())
def test_a_change_that_concerns_no_pod_rolls_out_no_update(changed: Object, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    before = first_version()
    assert pods(next_version(before, spec={**SPEC, name: changed})) == pods(before)


@pytest.mark.parametrize("changed", NOT_OF_PODS.values(), ids=NOT_OF_PODS.keys())
def test_fields_listed_as_not_concerning_pods_change_no_pod(changed: Object, request: pytest.FixtureRequest) -> None:
    assert pods(first_version(spec={**SPEC, request.node.callspec.id: changed})) == pods(first_version())


def test_replicas_strategy_and_autoscaler_follow_the_new_version_immediately() -> None:
    after = next_version(
        first_version(), spec={**SPEC, "scaling": {"minReplicas": 2, "maxReplicas": 3, "autoscaler": "HPA"}}
    )
    service = of_kind(after, "InferenceService")
    assert service["spec"]["predictor"]["minReplicas"] == 2
    assert after.update is not None


# --- what rolls out an update ----------------------------------------------------------------------------------------

OF_PODS: dict[str, Object] = {
    "engine": {"contextLength": 2048},
    "pod": {"env": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}]},
    "rollout": {"drainTimeout": "5m"},
    "access": {"apiKeysSecret": "keys", "rateLimit": {"requestsPerMinute": 3}},
    "observability": {"tracing": {"endpoint": "http://otel:4318"}},
}


@pytest.mark.parametrize("name", OF_PODS)
def test_a_change_that_concerns_the_pods_rolls_out_the_update(name: str) -> None:
    before = first_version()
    after = next_version(before, spec={**SPEC, name: OF_PODS[name]})
    assert pods(after)["predictor"]["model"]["runtime"] == NEW
    assert after.update is None
    assert after.made is not None
    assert after.made["version"] == "2"


@pytest.mark.parametrize(
    ("first", "second"), [({}, {"slipway.dev/sync": "now"}), ({"slipway.dev/sync": "a"}, {"slipway.dev/sync": "b"})]
)
def test_the_annotation_requests_the_update(first: dict[str, str], second: dict[str, str]) -> None:
    after = next_version(first_version(annotations=first), annotations=second)
    assert pods(after)["predictor"]["model"]["runtime"] == NEW


def test_removing_the_annotation_requests_nothing() -> None:
    before = first_version(annotations={"slipway.dev/sync": "a"})
    after = next_version(before)
    assert pods(after) == pods(before)
    assert after.made == before.made


def test_an_annotation_that_was_followed_requests_nothing_more() -> None:
    sync = {"slipway.dev/sync": "a"}
    before = first_version(annotations=sync)
    assert pods(next_version(before, annotations=sync)) == pods(before)


def test_manual_changes_are_overwritten() -> None:
    there = live_service(first_version())
    there["spec"]["predictor"]["model"]["args"] = ["--by-hand"]
    del there["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:predictor"]["f:model"]["f:args"]
    after = next_version(first_version(), inference_service=there)
    assert pods(after)["predictor"]["model"]["runtime"] == NEW


# --- runtimes --------------------------------------------------------------------------------------------------------


def test_a_runtime_that_made_the_pods_and_is_gone_is_reported() -> None:
    after = next_version(first_version(), pods_runtime=None)
    [record] = [remark for remark in after.remarks if OLD in remark]
    assert NEW in record
    assert "slipway.dev/sync" in record


def test_if_a_release_has_no_runtime_for_the_engine_the_rest_is_still_updated() -> None:
    before = first_version()
    spec = {**SPEC, "access": {"allowFrom": []}}
    after = next_version(before, spec=spec, serving_runtime=None)
    assert pods(after) == pods(before)
    assert of_kind(after, "NetworkPolicy") != of_kind(before, "NetworkPolicy")
    assert any(OLD in remark for remark in after.remarks)


def test_service_policy_and_monitor_have_the_ports_of_the_existing_pods() -> None:
    spec = {**SPEC, "engine": {"name": "slipway-sglang"}}
    old, new = (
        runtime("slipway-sglang-1", ports=[{"containerPort": 8080}]),
        runtime("slipway-sglang-2", ports=[{"containerPort": 30000}]),
    )
    before = desired(deployment(**spec), version="1", serving_runtime=old)
    after = next_version(before, spec=spec, serving_runtime=new, pods_runtime=old)
    for kind in ("Service", "NetworkPolicy"):
        assert of_kind(after, kind) == of_kind(before, kind)


def test_a_user_defined_runtime_is_followed_because_kserve_follows_it() -> None:
    spec = {**SPEC, "engine": {"name": "theirs"}}
    before = desired(deployment(**spec), version="1", serving_runtime=runtime("theirs"))
    changed = runtime("theirs", image="another")
    after = next_version(before, spec=spec, version="2", serving_runtime=changed, pods_runtime=changed)
    assert after.update is None
    assert (after.made or {})["version"] == "2"


# --- without a record ------------------------------------------------------------------------------------------------


def test_objects_of_a_version_that_recorded_nothing_are_kept() -> None:
    before = first_version()
    status = {**status_of(before), "made": None}
    after = next_version(before, status=status)
    assert pods(after) == pods(before)
    assert after.made == {**(before.made or {}), "version": "an older version"}


def test_without_a_record_a_spec_that_was_not_applied_yet_is_followed() -> None:
    before = first_version()
    after = next_version(before, status={**status_of(before), "made": None, "observedGeneration": 7})
    assert pods(after)["predictor"]["model"]["runtime"] == NEW


@pytest.mark.parametrize("record", ["x", 1, [], {"version": 1}, {"version": {"a": "b"}}])
def test_an_invalid_record_in_the_status_is_ignored(record: Any) -> None:
    before = first_version()
    assert next_version(before, status={**status_of(before), "made": record}).apply


def test_an_object_without_managed_fields_is_written_again() -> None:
    there = live_service(first_version())
    del there["metadata"]["managedFields"]
    assert pods(next_version(first_version(), inference_service=there))["predictor"]["model"]["runtime"] == NEW


# --- with a record whose digest of the spec has compileCache, too -----------------------------------------------------

BEFORE: Object = {
    "version": "1",
    "pods": "8a4484208adce4d538dc28cad76e6949",
    "sync": "",
    "accelerator": "h100",
    "gpusPerReplica": 1,
    "maxConcurrency": 256,
    "tensor": 1,
    "pipeline": 1,
}
"""As the version before wrote it, without `spec`."""
CACHE: Object = {"kind": "PVC", "size": "20Gi"}
CACHE_BEFORE, NONE_BEFORE = "9f3e9243d55d172d59e8d2aded933be3", "d26e75d51ca5377c61e38bca31b5b212"
"""What it computed of these specs."""


def with_cache(cache: Object, **engine: Any) -> Object:
    return {**SPEC, "engine": {"compileCache": cache, **engine}}


def upgraded(record: str, spec: Object, **world: Any) -> tuple[Desired, Desired]:
    before = first_version(spec=with_cache(CACHE) if record == CACHE_BEFORE else SPEC)
    status = {**status_of(before), "made": {**BEFORE, "spec": record}}
    return before, next_version(before, spec=spec, has_pods=True, status=status, **world)


@pytest.mark.parametrize(("record", "spec"), [(CACHE_BEFORE, with_cache(CACHE)), (NONE_BEFORE, SPEC)])
def test_pods_of_an_older_record_stay_and_are_recorded_in_the_new_form(record: str, spec: Object) -> None:
    before, after = upgraded(record, spec)
    assert pods(after) == pods(before)
    assert after.made == before.made
    assert after.update is not None


MODEL_CACHE_BEFORE = "ad4647e5265fce1be835a723773dfbc0"
"""What it computed of a spec with this `model.cache`, which had no effect."""


def test_a_cache_of_weights_that_had_no_effect_restarts_nothing_when_it_gets_one() -> None:
    kept: Object = {**SPEC, "model": {"uri": "hf://org/model", "cache": {"kind": "PVC", "size": "20Gi"}}}
    before = first_version(spec=kept)
    status = {**status_of(before), "made": {**BEFORE, "spec": MODEL_CACHE_BEFORE}}
    after = next_version(before, spec=kept, has_pods=True, status=status)
    assert pods(after) == pods(before)
    assert after.made == before.made


@pytest.mark.parametrize(
    ("record", "spec"),
    [
        (CACHE_BEFORE, with_cache(CACHE, contextLength=2048)),
        (NONE_BEFORE, {**SPEC, "engine": {"contextLength": 2048}}),
        ("another", with_cache(CACHE)),
    ],
)
def test_a_spec_that_is_not_the_one_of_an_older_record_is_followed(record: str, spec: Object) -> None:
    _, after = upgraded(record, spec)
    assert pods(after)["predictor"]["model"]["runtime"] == NEW


# --- the plan --------------------------------------------------------------------------------------------------------


def test_the_reported_plan_is_the_one_of_the_existing_pods() -> None:
    before = first_version()
    status = status_of(before)
    status["made"] |= {"accelerator": "a100", "gpusPerReplica": 4, "maxConcurrency": 9}
    plan = next_version(before, status=status).plan
    assert plan is not None
    assert (plan.profile, plan.gpus_per_replica, plan.max_concurrency) == ("a100", 4, 9)
    [why] = plan.why
    assert "status.update" in why


MORE_IS_KNOWN: Object = {
    "context_length": 8192,
    "kv_cache_bytes": MEMORY.kv_cache,
    "weights_bytes": MEMORY.weights,
    "memory": MEMORY,
    "speed": SPEED,
    "kv_tokens": 919_824,
    "concurrent_at_full_length": 112.3,
    "start_limit": 3600.0,
    "warnings": ("scaling.target.tpotP95: it will take longer.",),
}


def with_known_facts(before: Desired | None = None, *, version: str = "2", **world: Any) -> Desired:
    """Rendered when more is known of the model than when its pods were made."""
    wanted = deployment(**SPEC)
    live = {"inference_service": live_service(before), "status": status_of(before)} if before else {}
    new = {"serving_runtime": runtime(NEW, startupProbe={"periodSeconds": 1, "failureThreshold": 1800})}
    planned = replace(plan(wanted), **MORE_IS_KNOWN)
    answer = rendered(wanted, planned, version=version, pods_runtime=runtime(OLD), **(new | live | world))
    assert isinstance(answer, Desired)
    return answer


def test_numbers_that_become_known_restart_no_pod_of_an_older_version_and_are_shown_as_an_update() -> None:
    before = first_version()
    after = with_known_facts(before)
    assert pods(after) == pods(before)
    assert after.update is not None
    assert {
        f"predictor.model.args: --kv-cache-bytes={MEMORY.kv_cache} comes",
        f"predictor.model.args: --weights-bytes={MEMORY.weights} comes",
        "predictor.model.args: --max-model-len=8192 comes",
        "predictor.model.args: --start-timeout=3600 comes",
        'predictor.model.startupProbe: nothing → {"failureThreshold":3660}',
    } <= set(after.update["changes"])


def test_numbers_that_become_known_restart_no_scheduled_pod_of_the_same_version() -> None:
    before = first_version()
    assert pods(with_known_facts(before, version="1", has_pods=True)) == pods(before)


def test_what_is_planned_now_is_not_reported_of_pods_that_were_made_by_another_plan() -> None:
    kept = with_known_facts(first_version()).plan
    assert kept is not None
    assert (kept.memory, kept.speed, kept.kv_tokens, kept.context_length, kept.start_limit) == (None,) * 5
    assert (kept.warnings, kept.rejected, kept.why) == ((), (), (PLANNED_BEFORE,))


def test_the_whole_plan_is_reported_of_kept_pods_that_were_made_by_the_same_plan() -> None:
    before = with_known_facts()
    another = with_known_facts(before, version="3", serving_runtime=runtime("slipway-vllm-cuda-3-cc"))
    assert another.update is not None
    assert another.plan is not None
    assert {name: getattr(another.plan, name) for name in MORE_IS_KNOWN} == MORE_IS_KNOWN


def test_a_record_of_a_version_that_knew_no_parallelism_has_that_of_the_spec() -> None:
    spec = {**SPEC, "engine": {"parallelism": {"tensor": 2}, "contextLength": 4096}}
    before = first_version(spec=spec)
    status = status_of(before)
    status["made"] = {name: each for name, each in status["made"].items() if name not in ("tensor", "pipeline")}
    found = next_version(before, spec=spec, status=status).plan
    assert found is not None
    assert (found.tensor, found.pipeline, found.context_length) == (2, 1, 4096)


# --- for people ------------------------------------------------------------------------------------------------------

CHANGES = [
    ({"a": 1}, {"a": 2}, ["a: 1 → 2"]),
    ({"a": {"b": "x"}}, {"a": {}}, ["a.b: x → nothing"]),
    ({"args": ["--a", "--b"]}, {"args": ["--a", "--c"]}, ["args: --b goes", "args: --c comes"]),
    (
        {"env": [{"name": "A", "value": "secret"}, {"name": "B"}]},
        {"env": [{"name": "A", "value": "other"}, {"name": "C"}]},
        ["env A changes", "env B goes", "env C comes"],
    ),
    ({}, {"env": [{"name": "A", "value": "secret"}]}, ["env A comes"]),
    ({"a": "x" * 100}, {"a": "y"}, [f"a: {'x' * 80}… → y"]),
]


@pytest.mark.parametrize(("before", "after", "record"), CHANGES)
def test_changes_are_reported_by_path_and_without_the_values_of_variables(
    before: Object, after: Object, record: list[str]
) -> None:
    assert changes(before, after) == record


def test_of_many_changes_the_first_are_reported() -> None:
    record = changes({}, {str(number): number for number in range(40)})
    assert len(record) == 16
    assert record[-1] == "and 25 more"
