"""Slipway's own runtimes and profiles match each other, and follow the rules."""

from __future__ import annotations

import pytest
from slipway.api.units import amount
from slipway.objects.kinds import Object
from slipway.operator.planning.engines import RUNTIMES
from slipway.operator.rendering.engines import ENGINES
from slipway.operator.rendering.inferenceservice import UNTIL_GONE
from slipway_devcluster.gpu_nodes import MODELS
from slipway_runtime import cli
from slipway_runtime.supervisor.timeouts import Timeouts
from support.builders.rendering import shipped_profiles
from support.charts.third_party_runtimes import is_of_others
from support.repository import RUNTIMES as RUNTIME_FILES
from support.repository import documents

RUNTIME_OBJECTS = [each for each in documents(RUNTIME_FILES) if not is_of_others(each)]
PROFILES = shipped_profiles()


def container(runtime: Object) -> Object:
    [only] = runtime["spec"]["containers"]
    found: Object = only
    return found


def names(objects: list[Object]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


each_runtime = pytest.mark.parametrize("runtime", RUNTIME_OBJECTS, ids=names(RUNTIME_OBJECTS))


def test_there_is_a_runtime_for_every_possible_plan_and_no_other() -> None:
    assert sorted(names(RUNTIME_OBJECTS)) == sorted(name for each in RUNTIMES.values() for name in each.values())


@pytest.mark.parametrize("engine", RUNTIMES)
def test_a_runtime_takes_the_format_that_its_engine_is_rendered_with(engine: str) -> None:
    for runtime in RUNTIME_OBJECTS:
        if runtime["metadata"]["name"] in RUNTIMES[engine].values():
            formats = [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
            assert formats == [ENGINES[engine].model_format]


@each_runtime
def test_a_runtime_is_never_selected_automatically(runtime: Object) -> None:
    assert not any(each["autoSelect"] for each in runtime["spec"]["supportedModelFormats"])


@each_runtime
def test_a_runtime_serves_on_the_engine_port_and_has_a_port_of_its_own(runtime: Object) -> None:
    assert [port["containerPort"] for port in container(runtime)["ports"]] == [8080, 8081]
    assert "--port=8080" in container(runtime)["args"]


@each_runtime
def test_a_runtime_has_all_probes_and_half_an_hour_to_start(runtime: Object) -> None:
    startup = container(runtime)["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 1800
    assert Timeouts().start < 1800, "the pod must report the reason before the kubelet ends it"
    paths = [container(runtime)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert paths == [{"path": f"/{path}", "port": "management"} for path in ("startupz", "readyz", "livez")]


@each_runtime
def test_a_runtimes_command_line_is_understood_by_our_image(runtime: Object) -> None:
    cli.parser().parse_args(container(runtime)["args"])  # it would exit on an unknown option


def test_a_drain_fits_into_the_grace_period_whatever_its_timeout() -> None:
    patience, stop = Timeouts(), 5
    longest = max(patience.endpoints, *(endpoints_delay(runtime) for runtime in RUNTIME_OBJECTS))
    assert longest + patience.cut + stop < UNTIL_GONE


def endpoints_delay(runtime: Object) -> float:
    delay: float = cli.parser().parse_args(container(runtime)["args"]).endpoints_delay
    return delay


@each_runtime
def test_the_termination_message_is_the_file_of_the_runtime_or_else_the_log(runtime: Object) -> None:
    assert container(runtime)["terminationMessagePath"] == "/dev/termination-log"
    assert container(runtime)["terminationMessagePolicy"] == "FallbackToLogsOnError"


@each_runtime
def test_a_runtime_runs_without_privileges(runtime: Object) -> None:
    context = container(runtime)["securityContext"]
    assert context["runAsNonRoot"]
    assert context["runAsUser"] != 0
    assert context["runAsGroup"] != 0  # the image's own group doesn't count
    assert not context["allowPrivilegeEscalation"]
    assert context["readOnlyRootFilesystem"]
    assert context["capabilities"] == {"drop": ["ALL"]}


@each_runtime
def test_shared_memory_is_limited(runtime: Object) -> None:
    [mount] = [each for each in container(runtime)["volumeMounts"] if each["mountPath"] == "/dev/shm"]  # noqa: S108
    [volume] = [each for each in runtime["spec"]["volumes"] if each["name"] == mount["name"]]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert volume["emptyDir"]["sizeLimit"]


@each_runtime
def test_a_runtime_contains_nothing_that_kserve_takes_for_a_template(runtime: Object) -> None:
    assert "{{" not in str([container(runtime).get(part) for part in ("args", "env", "command")])


# --- profiles --------------------------------------------------------------------------------------------------------


LOOK_ALIKES = {
    "t4": "t4",
    "l4": "l4",
    "a10": "a10",
    "a100-40gb": "a100-40gb",
    "a100-80gb": "a100",
    "a100-80gb-mig-1g.10gb": "a100-mig-1g.10gb",
    "a100-80gb-mig-2g.20gb": "a100-mig-2g.20gb",
    "a100-80gb-mig-3g.40gb": "a100-mig-3g.40gb",
    "l40s": "l40s",
    "h100-80gb": "h100",
    "h100-80gb-mig-1g.10gb": "h100-mig-1g.10gb",
    "h200-141gb": "h200",
    "b200-180gb": "b200",
    "mi300x": "mi300x",
    "gaudi3": "gaudi3",
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_profile_recognises_its_nodes_and_no_others(name: str) -> None:
    [profile] = [each for each in PROFILES if each.metadata.name == name]
    assert profile.spec.resource
    found = {
        look_alike
        for look_alike, model in MODELS.items()
        if model.resource == profile.spec.resource.name and profile.spec.node_labels.items() <= model.labels(2).items()
    }
    assert found == {LOOK_ALIKES[name]}


@pytest.mark.parametrize("name", [name for name in LOOK_ALIKES if name not in ("mi300x", "gaudi3")])
def test_the_memory_of_a_profile_is_that_of_the_node_label(name: str) -> None:
    [profile] = [each for each in PROFILES if each.metadata.name == name]
    labels = MODELS[LOOK_ALIKES[name]].labels(1)
    slices = [
        value for label, value in labels.items() if label.startswith("nvidia.com/mig-") and label.endswith(".memory")
    ]
    assert amount(profile.spec.memory) == int((slices or [labels["nvidia.com/gpu.memory"]])[0]) * 2**20
