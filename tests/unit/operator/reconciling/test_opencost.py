"""Under OpenCost's names: accelerators that pods hold, and one price of each node."""

from __future__ import annotations

from datetime import UTC, datetime

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.observing.ledger import Held
from slipway.operator.reconciling.opencost import HeldIn, opencost_metrics
from support.builders.llmdeployments import acceleratorprofile

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


def profile(name: str, **spec: object) -> AcceleratorProfile:
    return AcceleratorProfile.model_validate(acceleratorprofile(name, spec))


PROFILES = [profile("h100"), profile("cpu", vendor="CPU", resource={"name": "cpu"})]


def page(*held: Held) -> str:
    metrics = opencost_metrics(lambda: [HeldIn("chat", each) for each in held], lambda: PROFILES)
    return b"".join(metrics.in_steps()).decode()


def lines(*held: Held) -> list[str]:
    return [line for line in page(*held).splitlines() if not line.startswith("#")]


def pod(name: str, node: str = "n1", **more: object) -> Held:
    return Held(uid=name, pod=name, node=node, accelerator="h100", devices=2, per_hour=6.0, **more)  # type: ignore[arg-type]


def test_a_pod_has_its_accelerators_and_its_node_a_price() -> None:
    assert lines(pod("a"), pod("b")) == [
        'container_gpu_allocation{namespace="chat",pod="a",container="kserve-container",instance="n1",node="n1"} 2',
        'container_gpu_allocation{namespace="chat",pod="b",container="kserve-container",instance="n1",node="n1"} 2',
        'node_gpu_hourly_cost{instance="n1",node="n1"} 3.0',
    ]


def test_processors_and_pods_that_have_ended_are_left_out() -> None:
    on_cpus = Held(uid="c", pod="c", node="n1", accelerator="cpu", per_hour=1.0)
    unknown = Held(uid="d", pod="d", node="n1", accelerator="", per_hour=1.0)
    assert lines(on_cpus, unknown, pod("a", until=NOW)) == []


def test_pods_that_have_ended_end_steps_of_the_page_like_others() -> None:
    """Or a tenant with very many of them could delay everything else."""
    ended = [HeldIn("chat", pod(str(number), until=NOW)) for number in range(1000)]
    assert list(opencost_metrics(lambda: ended, lambda: PROFILES).in_steps()).count(b"") > 90
