"""What a plan changes of the ServingRuntime's own pod: the limit of a start, and the size of /dev/shm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.objects.kinds import Object
from slipway.operator.rendering import Desired
from slipway.operator.rendering.overriding import MARGIN
from slipway_runtime import cli
from support.builders.rendering import deployment, of_kind, on_h100, plan, rendered, runtime
from support.repository import RUNTIMES, documents

CUDA = next(each for each in documents(RUNTIMES) if each["metadata"]["name"] == "slipway-vllm-cuda")
GIB = 2**30


def pod_with(serving_runtime: Object, *, engine: str = "vllm", **planned: Any) -> Object:
    wanted = on_h100() if engine == "vllm" else deployment(engine={"name": engine})
    answer = rendered(wanted, replace(plan(wanted), **planned), serving_runtime=serving_runtime)
    assert isinstance(answer, Desired), answer
    found: Object = of_kind(answer, "InferenceService")["spec"]["predictor"]
    return found


def their_own(probe: Object | None = None, **spec: Any) -> Object:
    made = runtime("theirs", **({"startupProbe": probe} if probe else {}))
    made["spec"] |= spec
    return made


# --- the start --------------------------------------------------------------------------------------------------------

PROBES = [
    pytest.param(CUDA, None, None, id="no limit planned"),
    pytest.param(CUDA, 600.0, None, id="less than the runtime's own"),
    pytest.param(CUDA, 1740.0, None, id="just the runtime's own"),
    pytest.param(CUDA, 1740.5, 1801, id="more"),
    pytest.param(CUDA, 5400.0, 5460, id="an hour and a half"),
    pytest.param(their_own({"periodSeconds": 30, "failureThreshold": 60}), 5400.0, 182, id="another period"),
    pytest.param(their_own({"initialDelaySeconds": 600}), 900.0, 36, id="Kubernetes' defaults, and a delay"),
    pytest.param(their_own(), 5400.0, None, id="no startup probe, which nothing limits"),
]


@pytest.mark.parametrize(("serving_runtime", "limit", "threshold"), PROBES)
def test_the_startup_probe_allows_what_the_plan_does_and_never_less_than_the_runtime(
    serving_runtime: Object, limit: float | None, threshold: int | None
) -> None:
    engine = "vllm" if serving_runtime is CUDA else "theirs"
    model = pod_with(serving_runtime, engine=engine, start_limit=limit)["model"]
    assert model.get("startupProbe") == ({"failureThreshold": threshold} if threshold else None)


@pytest.mark.parametrize("limit", [None, 60.0, 1740.0, 1740.5, 5400.0])
def test_process_1_gives_up_before_the_kubelet_does_and_reports_why(limit: float | None) -> None:
    model = pod_with(CUDA, start_limit=limit)["model"]
    [container] = CUDA["spec"]["containers"]
    ours = [*container["args"], *model["args"][: model["args"].index("--")]]
    allowed = (container["startupProbe"] | model.get("startupProbe", {}))["failureThreshold"]
    assert cli.parser().parse_args(ours).start_timeout <= allowed - MARGIN
    assert cli.parser().parse_args(ours).start_timeout >= (limit or 0)


def test_a_third_party_engine_gets_no_option_of_our_runtime() -> None:
    probe = {"periodSeconds": 1, "failureThreshold": 60}
    assert "args" not in pod_with(their_own(probe), engine="theirs", start_limit=5400)["model"]


# --- shared memory ----------------------------------------------------------------------------------------------------


def memory(size: str | None = "8Gi", name: str = "slipway-shm") -> Object:
    limit = {"sizeLimit": size} if size else {}
    return {"name": name, "emptyDir": {"medium": "Memory", **limit}}


def mounting(*volumes: Object) -> Object:
    made = runtime("theirs", volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}])  # noqa: S108
    made["spec"]["volumes"] = [*volumes]
    return made


SIZES = [
    pytest.param(CUDA, None, None, None, id="nothing planned"),
    pytest.param(CUDA, 8 * GIB, None, None, id="as much as the runtime has"),
    pytest.param(CUDA, GIB, None, None, id="less than the runtime has"),
    pytest.param(CUDA, 12 * GIB, [memory("12Gi")], None, id="more"),
    pytest.param(CUDA, 12 * GIB + 1, [memory(str(12 * GIB + 1))], None, id="to the byte"),
    pytest.param(mounting(memory("1Gi", "shm")), 2 * GIB, [memory("2Gi", "shm")], None, id="another name"),
    pytest.param(mounting(memory(None, "shm")), 2 * GIB, None, None, id="without a limit"),
    pytest.param(mounting(), 2 * GIB, None, None, id="a volume of elsewhere"),
    pytest.param(mounting(memory("x", "shm")), 2 * GIB, None, None, id="a limit that can't be read"),
    pytest.param(
        their_own(),
        2 * GIB,
        [memory("2Gi")],
        [{"name": "slipway-shm", "mountPath": "/dev/shm"}],  # noqa: S108
        id="none of its own",
    ),
]


@pytest.mark.parametrize(("serving_runtime", "size", "volumes", "mounts"), SIZES)
def test_shared_memory_is_as_large_as_planned_and_never_smaller_than_the_runtimes(
    serving_runtime: Object, size: int | None, volumes: list[Object] | None, mounts: list[Object] | None
) -> None:
    engine = "vllm" if serving_runtime is CUDA else "theirs"
    pod = pod_with(serving_runtime, engine=engine, shared_memory=size)
    assert (pod.get("volumes"), pod["model"].get("volumeMounts")) == (volumes, mounts)
