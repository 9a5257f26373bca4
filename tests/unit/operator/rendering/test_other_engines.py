"""A third-party ServingRuntime: its annotations have an effect, and what doesn't work is reported."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from slipway.api.reasons import Reason
from slipway.objects.kinds import POD_MONITOR, Object
from slipway.operator.rendering import Desired, Unrenderable
from support.builders.rendering import arguments, deployment, desired, of_kind, plan, predictor, rendered, runtime
from support.charts.third_party_runtimes import BY_ENGINE
from support.repository import ROOT

THEIRS = {"name": "theirs"}
PORTS = [{"containerPort": 9000}, {"name": "numbers", "containerPort": 9002}]
IN_FLIGHT, PROGRESS = {"slipway.dev/in-flight": "busy queue{kind=real.one}"}, {"slipway.dev/progress": "done_total"}
AT = {"prometheus.kserve.io/port": "9002", "prometheus.kserve.io/path": "/v1/metrics"}
DRAINS = {"slipway.dev/drains-for": "24h"}
ALL = {**AT, **IN_FLIGHT, **PROGRESS, **DRAINS}


def third_party(annotations: dict[str, str], **container: Any) -> Object:
    found = runtime("theirs", **({"ports": PORTS} | container))
    found["spec"]["annotations"] = annotations
    return found


def child_of(kind: str, annotations: dict[str, str], *, container: dict[str, Any] | None = None, **spec: Any) -> Object:
    serving = third_party(annotations, **(container or {}))
    answer = desired(deployment(engine=THEIRS, **spec), serving_runtime=serving, kinds=frozenset({POD_MONITOR}))
    return of_kind(answer, kind)


# --- network access --------------------------------------------------------------------------------------------------


def ports(rule: Object) -> list[int]:
    return [each["port"] for each in rule["ports"]]


def test_clients_reach_the_engine_port_the_activator_all_its_ports_and_prometheus_the_metrics_port() -> None:
    probe = {"httpGet": {"path": "/ready", "port": 9003}}
    policy = child_of("NetworkPolicy", AT, container={"readinessProbe": probe})
    clients, activator, prometheus = policy["spec"]["ingress"]
    assert ports(clients) == [9000]
    assert ports(activator) == [9000, 8081, 9002, 9003]
    assert ports(prometheus) == [9002]


def test_a_probe_may_name_its_port() -> None:
    probe = {"httpGet": {"path": "/ready", "port": "numbers"}}
    policy = child_of("NetworkPolicy", {}, container={"readinessProbe": probe})
    assert ports(policy["spec"]["ingress"][1]) == [9000, 8081, 9002]


def test_without_annotations_the_metrics_are_at_the_engine_port() -> None:
    policy = child_of("NetworkPolicy", {})
    assert [ports(rule) for rule in policy["spec"]["ingress"]] == [[9000], [9000, 8081], [9000]]


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_the_pod_monitor_has_the_port_and_path_of_the_metrics() -> None:
    [place] = child_of("PodMonitor", AT)["spec"]["podMetricsEndpoints"]
    assert (place["portNumber"], place["path"]) == (9002, "/v1/metrics")


def test_its_metric_of_requests_has_a_second_name_for_autoscalers() -> None:
    plain, ours = child_of("PodMonitor", {**AT, **IN_FLIGHT})["spec"]["podMetricsEndpoints"]
    assert all(ours[key] == plain[key] for key in ("portNumber", "path", "interval"))
    assert ours["metricRelabelings"] == [
        {"sourceLabels": ["__name__"], "regex": "busy", "targetLabel": "engine_metric", "replacement": "busy"},
        {
            "sourceLabels": ["__name__", "kind"],
            "regex": r"queue;real\.one",
            "targetLabel": "engine_metric",
            "replacement": "queue",
        },
        {"action": "keep", "sourceLabels": ["engine_metric"], "regex": ".+"},
        {"targetLabel": "__name__", "replacement": "slipway_requests_in_flight"},
    ]
    assert ours["relabelings"] != plain["relabelings"], "otherwise both would report `up` for the same target"


def test_the_metrics_of_a_built_in_runtime_need_no_second_name() -> None:
    wanted = deployment(engine={"name": "llamacpp"})
    monitor = of_kind(desired(wanted, kinds=frozenset({POD_MONITOR})), "PodMonitor")
    [place] = monitor["spec"]["podMetricsEndpoints"]
    assert (place["portNumber"], place["path"]) == (8081, "/metrics")


def test_all_series_of_a_model_are_labelled_with_its_name_and_no_pod_can_replace_that() -> None:
    monitor = child_of("PodMonitor", {**AT, **IN_FLIGHT})["spec"]
    for place in monitor["podMetricsEndpoints"]:
        assert {"targetLabel": "llmdeployment", "replacement": "llama"} in place["relabelings"]
        assert not place.get("honorLabels")


def test_a_pod_cannot_give_prometheus_series_without_limit() -> None:
    monitor = child_of("PodMonitor", AT)["spec"]
    assert min(monitor[each] for each in ("sampleLimit", "labelLimit", "labelNameLengthLimit")) > 0
    assert monitor["labelValueLengthLimit"] > 0


# --- draining --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drains_for", "drain_timeout", "wait"),
    [("24h", "2m", 5), ("90s", "2m", 30), ("90s", "1m", 5), ("0s", "2m", 120), ("0s", "1500ms", 5)],
)
def test_a_pre_stop_hook_waits_for_requests_that_the_engine_does_not_drain(
    drains_for: str, drain_timeout: str, wait: int
) -> None:
    found = child_of(
        "InferenceService", {"slipway.dev/drains-for": drains_for}, rollout={"drainTimeout": drain_timeout}
    )["spec"]["predictor"]
    assert found["model"]["lifecycle"] == {"preStop": {"sleep": {"seconds": wait}}}
    assert found["terminationGracePeriodSeconds"] > wait


def test_without_an_annotation_it_ends_as_its_runtime_defines() -> None:
    assert "lifecycle" not in child_of("InferenceService", {})["spec"]["predictor"]["model"]


# --- its options -----------------------------------------------------------------------------------------------------

OPTIONS = """
    model.servedName=NAME engine.contextLength=--length engine.maxConcurrency=-n
    engine.parallelism.tensor=--tp engine.parallelism.pipeline=--pp
"""


def options_of(annotations: dict[str, str], **spec: Any) -> tuple[list[str], dict[str, str]]:
    """Returns the arguments and the variables."""
    wanted = deployment(**({"engine": THEIRS} | spec))
    model = predictor(wanted, serving_runtime=third_party(annotations))["model"]
    return model.get("args", []), {each["name"]: each["value"] for each in model.get("env", [])}


def test_fields_of_the_spec_become_the_options_that_the_runtime_names() -> None:
    engine = {**THEIRS, "contextLength": 4096, "maxConcurrency": 8, "parallelism": {"tensor": 2, "pipeline": 3}}
    options = options_of({"slipway.dev/options": OPTIONS}, engine={**engine, "extraArgs": ["--more"]})
    assert options == (["--length=4096", "-n=8", "--tp=2", "--pp=3", "--more"], {"NAME": "llama"})


def test_fields_that_the_spec_leaves_out_are_left_to_the_engine_except_its_name() -> None:
    assert options_of({"slipway.dev/options": OPTIONS}) == ([], {"NAME": "llama"})


def test_the_devices_and_the_length_of_the_plan_become_options_too() -> None:
    wanted = deployment(engine=THEIRS)
    made = replace(plan(wanted), tensor=4, pipeline=2, context_length=2048)
    answer = rendered(wanted, made, serving_runtime=third_party({"slipway.dev/options": OPTIONS}))
    assert isinstance(answer, Desired)
    model = of_kind(answer, "InferenceService")["spec"]["predictor"]["model"]
    assert model["args"] == ["--length=2048", "--tp=4", "--pp=2"]


def test_an_option_of_extra_args_replaces_ours_because_the_engine_may_refuse_it_twice() -> None:
    engine = {**THEIRS, "contextLength": 4096, "maxConcurrency": 8, "extraArgs": ["--length=1024"]}
    assert options_of({"slipway.dev/options": OPTIONS}, engine=engine)[0] == ["-n=8", "--length=1024"]
    wanted = deployment(engine=engine)
    answer = desired(wanted, serving_runtime=third_party({"slipway.dev/options": OPTIONS}))
    assert "engine.extraArgs: --length=1024 replaces --length=4096." in answer.remarks


def test_a_variable_of_the_spec_wins() -> None:
    options = options_of({"slipway.dev/options": OPTIONS}, pod={"env": [{"name": "NAME", "value": "mine"}]})
    assert options == ([], {"NAME": "mine"})


# --- remarks about it ------------------------------------------------------------------------------------------------

ASLEEP = {"minReplicas": 0, "maxReplicas": 2}


def remarks(annotations: dict[str, str], **spec: Any) -> list[str]:
    """Returns the remarks about its runtime."""
    given: dict[str, Any] = {"engine": THEIRS, "scaling": ASLEEP}
    wanted = deployment(**(given | spec))
    answer = desired(wanted, serving_runtime=third_party(annotations))
    return [each for each in answer.remarks if "ServingRuntime theirs" in each]


def test_a_runtime_with_all_annotations_has_no_remarks() -> None:
    assert remarks(ALL) == []


REMARKS: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({**AT, **DRAINS}, {}, "scaling: the ServingRuntime theirs doesn't say which metrics show its requests."),
    (
        {**AT, **DRAINS, **PROGRESS},
        {},
        "scaling.target: the ServingRuntime theirs names no metric of its running requests",
    ),
    (
        {**AT, **DRAINS, **IN_FLIGHT},
        {},
        "scaling.idleAfter: the ServingRuntime theirs names no metric of finished work",
    ),
    (
        {**AT, **IN_FLIGHT, **PROGRESS},
        {},
        "rollout.drainTimeout: the ServingRuntime theirs doesn't say whether it finishes",
    ),
    (
        {**ALL, "prometheus.kserve.io/port": "9999"},
        {},
        "observability.monitor: the container of the ServingRuntime theirs",
    ),
    (
        ALL,
        {"model": {"uri": "pvc://a/b", "servedName": "x"}},
        "model.servedName: the ServingRuntime theirs doesn't say by which option it takes this",
    ),
    (
        ALL,
        {"engine": {**THEIRS, "contextLength": 64}},
        "engine.contextLength: the ServingRuntime theirs doesn't say by which option it takes this",
    ),
    (
        ALL,
        {"engine": {**THEIRS, "kvCacheDtype": "FP8"}},
        "engine.kvCacheDtype: the ServingRuntime theirs doesn't say by which option it takes this",
    ),
    (
        ALL,
        {"engine": {**THEIRS, "parallelism": {"tensor": 2}}},
        "engine.parallelism.tensor: a replica gets devices for 2, but the ServingRuntime theirs doesn't say by which",
    ),
]


@pytest.mark.parametrize(("annotations", "spec", "says"), REMARKS, ids=[row[2].partition(":")[0] for row in REMARKS])
def test_features_that_do_not_work_with_it_are_reported(
    annotations: dict[str, str], spec: dict[str, Any], says: str
) -> None:
    [remark] = remarks(annotations, **spec)
    assert remark.startswith(says)


@pytest.mark.parametrize(
    "scaling", [{"autoscaler": "None", "minReplicas": 1}, {"minReplicas": 2, "maxReplicas": 2}], ids=["none", "fixed"]
)
def test_without_an_autoscaler_that_needs_metrics_there_is_no_remark_about_them(scaling: dict[str, Any]) -> None:
    assert remarks(DRAINS, scaling=scaling) == []


def test_unreadable_annotations_are_refused_with_the_remedy() -> None:
    wanted = deployment(engine=THEIRS)
    answer = rendered(wanted, plan(wanted), serving_runtime=third_party({"slipway.dev/in-flight": "sum(a)"}))
    assert isinstance(answer, Unrenderable)
    assert answer.reason is Reason.RUNTIME_MISSING
    assert answer.message.startswith(
        "What the ServingRuntime theirs says of its engine can't be read: slipway.dev/in-fl"
    )
    assert "write metrics with a space between them" in answer.message


def test_annotations_of_the_spec_override_those_of_the_runtime_as_in_the_pods() -> None:
    policy = child_of("NetworkPolicy", AT, pod={"annotations": {"prometheus.kserve.io/port": "9004"}})
    assert ports(policy["spec"]["ingress"][1]) == [9000, 8081, 9004]


def test_api_keys_are_refused_because_the_engine_does_not_check_them() -> None:
    wanted = deployment(engine=THEIRS, access={"apiKeysSecret": "keys"})
    answer = rendered(wanted, plan(wanted), serving_runtime=third_party(ALL))
    assert isinstance(answer, Unrenderable)
    assert "nothing in it checks API keys" in answer.message


# --- runtimes of the docs and of the chart ---------------------------------------------------------------------------


def test_the_example_of_the_docs_has_all_annotations() -> None:
    [text] = re.findall(r"```yaml\n# own-engine\.yaml\n(.*?)```", (ROOT / "docs/engines.md").read_text(), re.DOTALL)
    wanted = deployment(engine={"name": "own-engine", "contextLength": 4096}, scaling=ASLEEP)
    answer = desired(wanted, serving_runtime=yaml.safe_load(text))
    assert not [each for each in answer.remarks if "own-engine" in each]


@pytest.mark.parametrize("name", BY_ENGINE)
def test_a_missing_runtime_of_the_chart_is_reported_with_the_chart(name: str) -> None:
    wanted = deployment(engine={"name": f"slipway-{name}"}, accelerator={"profiles": ["cpu"]})
    answer = rendered(wanted, plan(wanted), serving_runtime=None)
    assert isinstance(answer, Unrenderable)
    assert f"let Slipway's chart install it, by its value runtimes.{name}.enabled" in answer.message


@pytest.mark.parametrize("name", BY_ENGINE)
def test_sleeping_scaling_and_draining_work_with_it(name: str) -> None:
    wanted = deployment(engine={"name": f"slipway-{name}"}, accelerator={"profiles": ["cpu"]}, scaling=ASLEEP)
    answer = desired(wanted, serving_runtime=BY_ENGINE[name])
    assert not [each for each in answer.remarks if f"slipway-{name}" in each]


def test_a_model_on_sglang_gets_all_fields_of_the_spec() -> None:
    engine = {"name": "slipway-sglang", "contextLength": 8192, "maxConcurrency": 32, "parallelism": {"tensor": 2}}
    wanted = deployment(engine=engine, accelerator={"profiles": ["h100"]})
    assert arguments(wanted, serving_runtime=BY_ENGINE["sglang"]) == [
        "--served-model-name=llama",
        "--context-length=8192",
        "--max-running-requests=32",
        "--tensor-parallel-size=2",
    ]
