"""How much memory the operator uses for N LLMDeployments at zero, by kind, and what a reconcile of one costs.

    python benchmarks/operator_memory.py --number 2000
    python benchmarks/operator_memory.py --number 2000 --pods
    PYTHONPATH=tests python benchmarks/operator_memory.py --number 1000 --planned

It needs no cluster: the operator's own parts are filled as by its watches, and reconcile as called by its queue; a
function that answers each apply with the existing object replaces the API server. So this is the memory of an idle
operator, without temporary data (lists, JSON), which the figures of `operator_scale.py` include.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
import tracemalloc
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import yaml
from memory import objects
from slipway.api.model_key import ModelKey
from slipway.kube.connection import ApiResponse
from slipway.kube.store import Store
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    ENDPOINT_SLICE,
    LLM_DEPLOYMENT,
    NODE,
    POD,
    Kind,
    Object,
    kind_of,
)
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.main import main as program
from slipway.operator.reconciling.operator import Operator
from support.builders.nodes import look_alike
from support.builders.nodes import node as cpu_node

HOME, NAMESPACE = "slipway-system", "models"
STEADY_TURNS = 3
PROFILES = Path(__file__).parents[1] / "charts/slipway/accelerators"
NODES = "2xh100:8,2xl4:4"
CPU_PROFILE: Object = {
    "metadata": {"name": "cpu"},
    "spec": {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"},
}


class IdleOperator:
    """An operator that is never run: its caches are filled and its reconciles are called from here."""

    def __init__(self) -> None:
        made: Any = Operator(_settings("--ports-per-namespace=10000"), _configuration())
        self.operator = made
        self.store: Store = self.operator._watching.store
        self.watches = self.operator._watching._watches
        self.operator._connection.send = self.answer
        self.operator._ports._pause = 0.0  # between two writes of their table
        for part in (self.operator._reconciler.applier, self.operator._reconciler.reporter):
            part._client._guard = None  # there is no other leader here
        self.operator._reconciler.reporter._events._client._guard = None
        self.there: dict[tuple[str, str], Object] = {}  # by kind and name, of the deployment that is being reconciled
        self.writes = 0
        self.applied: list[Object] = []
        self.unreported: list[Object] = []  # with a status that was written, and that no watch has reported

    def tell(self, thing: Object) -> None:
        """As a watch does: parsed from the API server's text."""
        kind = kind_of(thing)
        told = json.loads(json.dumps(thing))
        if kept := self.watches[kind].kept(told):
            self.store.take(kind, None, kept, now=0.0, epoch=1)

    async def answer(self, method: str, path: str, *, body: Any = None, **_: Any) -> ApiResponse:
        if method == "GET":
            name = path.rpartition("/")[2]
            if "/llmdeployments/" in path:
                return ApiResponse(200, {}, json.dumps(self.store.get(LLM_DEPLOYMENT, name, NAMESPACE)).encode())
            missing = {"kind": "Status", "code": 404, "details": {"name": name}}
            return ApiResponse(404, {}, json.dumps(missing).encode())
        self.writes += 1
        there = self.there.get((body["kind"], body["metadata"].get("name", "")))
        self.applied.append(body)
        if there is None:
            there = {"metadata": objects.metadata(kind_of(body), "x", NAMESPACE)}
        merged = {**there, **body, "metadata": {**there["metadata"], **body["metadata"]}}
        merged["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
        if path.partition("?")[0].endswith("/status"):  # what is applied is there already, but a status is new
            merged["metadata"]["resourceVersion"] = str(next(objects.versions))
            self.unreported.append(merged)
        return ApiResponse(200, {}, json.dumps(merged).encode())

    async def turn(self, name: str) -> None:
        await self.operator._reconciler.reconcile(ModelKey(NAMESPACE, name))

    def report(self) -> None:
        """As the watch does after a write."""
        for each in self.unreported:
            self.tell(each)
            self.operator._overlay.watch_reported(LLM_DEPLOYMENT, each)
        self.unreported.clear()


def _settings(*flags: str) -> OperatorSettings:
    return OperatorSettings(**program.make_context(program.name, list(flags)).params)


def _configuration() -> Any:
    from kubernetes.aio.client import Configuration  # noqa: PLC0415 - heavy, and nowhere else needed here

    return Configuration(host="http://127.0.0.1:1")


def _platform(bench: IdleOperator, *, planned: bool) -> None:
    for profile in _profiles() if planned else [CPU_PROFILE]:
        bench.tell(objects.thing(ACCELERATOR_PROFILE, profile["metadata"]["name"], "", spec=profile["spec"]))
    for node in look_alike(NODES) if planned else [cpu_node()]:
        bench.tell({**node, "metadata": {**objects.metadata(NODE, "", ""), **node["metadata"]}})
    for name in ("slipway-llamacpp", *(("slipway-vllm-cuda",) if planned else ())):
        runtime = {"supportedModelFormats": [{"name": "gguf"}], "containers": [{"name": "kserve-container"}]}
        bench.tell(objects.thing(CLUSTER_SERVING_RUNTIME, name, "", spec=runtime))
    labels = {"slipway.dev/activator": "slipway-activator", "kubernetes.io/service-name": "slipway-activator"}
    activator = objects.thing(ENDPOINT_SLICE, "slipway-activator-x", HOME, meta={"labels": labels})
    bench.tell({**activator, "endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": True}}]})
    for kind in bench.store.unsynced():
        bench.store.compare(kind, bench.store.all(kind), since=bench.store.mark, now=0.0)
    for name in list(bench.store.places(NODE)):
        bench.operator._node_changed(name[1])


def _profiles() -> list[Object]:
    documents = (each for file in sorted(PROFILES.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text()))
    return [each for each in documents if each]


async def samples(*, pods: bool, planned: bool) -> list[Object]:
    """The objects of one deployment, by kind; what is ours as the operator itself applies it."""
    bench = IdleOperator()
    _platform(bench, planned=planned)
    name = "model-000"
    deployment = objects.llmdeployment(name, NAMESPACE)
    if planned:
        deployment["spec"] |= {"model": {"uri": "hf://meta-llama/Llama-3.1-8B"}, "engine": {"name": "vllm"}}
    bench.tell(deployment)
    made: dict[str, Object] = {}
    for _ in range(6):
        bench.there = {(each["kind"], each["metadata"]["name"]): each for each in made.values()}
        bench.applied.clear()
        await bench.turn(name)
        for each in bench.applied:
            if each["kind"] == "LLMDeployment":
                deployment = {**deployment, "status": each["status"]}
            elif each["kind"] != "Event":
                before = made.get(each["kind"], {}).get("metadata", {})
                made[each["kind"]] = objects.kept(each, NAMESPACE, status=objects.STATUSES.get(each["kind"]))
                made[each["kind"]]["metadata"]["uid"] = before.get("uid") or made[each["kind"]]["metadata"]["uid"]
        inference_service = made.get("InferenceService")
        others = [*objects.made_by_others(name, NAMESPACE, inference_service)] if inference_service else []
        if pods and others:
            others = [{**others[0], "spec": {**others[0]["spec"], "replicas": 1}}, *others[1:]]
            others.append(objects.pod(name, NAMESPACE, others[0]))
        deployment["metadata"]["resourceVersion"] = str(next(objects.versions))
        for each in (deployment, *made.values(), *others):
            bench.tell(each)
    status = deployment.get("status", {})
    print(f"the sample's status: {status.get('state')}, {status.get('message')}")
    plan, rejected = status.get("plan", {}), status.get("plan", {}).get("rejected", [])
    print(f"its plan has {_size(plan)} bytes, of which {len(rejected)} rejections have {_size(rejected)}")
    for each in (deployment, *made.values()):
        print(f"{each['kind']:24} {_size(each):6} bytes")
    return [deployment, *made.values(), *others]


def _size(thing: Any) -> int:
    return len(json.dumps(thing, separators=(",", ":")).encode())


@dataclass(frozen=True)
class MemoryShare:
    what: str
    traced: float  # bytes for each deployment
    rss: float


class Meter:
    """`trace`: counts what Python allocates, which makes everything slower."""

    def __init__(self, number: int) -> None:
        self.number, self.rows = number, list[MemoryShare]()

    def measured(self, what: str, deed: Callable[[], object]) -> None:
        before = _rss(), _traced()
        deed()
        gc.collect()
        after = _rss(), _traced()
        self.rows.append(MemoryShare(what, (after[1] - before[1]) / self.number, (after[0] - before[0]) / self.number))


def _rss() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0


def _renamed(sample: str, number: int, owner: str) -> Object:
    """The same for another deployment; `owner`: the sample's uid."""
    its_uid = str(uuid.UUID(int=number))
    thing: Object = json.loads(sample.replace("model-000", f"model-{number:05d}").replace(owner, its_uid))
    fresh = objects.metadata(kind_of(thing), "", "")
    thing["metadata"]["resourceVersion"] = fresh["resourceVersion"]
    if thing["metadata"]["uid"] != its_uid:
        thing["metadata"]["uid"] = fresh["uid"]
    return thing


@click.command(help=__doc__)
@click.option("--number", default=2000, show_default=True)
@click.option("--pods", is_flag=True, help="with a replica each")
@click.option("--planned", is_flag=True, help="on GPUs, chosen among all profiles of the chart")
@click.option("--trace", is_flag=True, help="count Python's allocations, too; the times are of no use then")
def main(*, number: int, pods: bool, planned: bool, trace: bool) -> None:
    asyncio.run(measure(number, pods=pods, planned=planned, trace=trace))


async def measure(number: int, *, pods: bool, planned: bool, trace: bool) -> None:
    things = await samples(pods=pods, planned=planned)
    gc.collect()
    base = _rss()
    if trace:
        tracemalloc.start()
    bench, meter = IdleOperator(), Meter(number)
    _platform(bench, planned=planned)
    owner = things[0]["metadata"]["uid"]
    texts = {(kind_of(each), each["metadata"]["name"]): json.dumps(each) for each in things}
    for (kind, _), text in texts.items():
        meter.measured(kind.name, partial(_fill, bench, text, number, owner))
    turns: list[float] = []
    before = _rss(), _traced()
    turns.append(await _turn_all(bench, texts, number, is_first=True))
    gc.collect()
    meter.rows.append(
        MemoryShare("memory of reconciles", (_traced() - before[1]) / number, (_rss() - before[0]) / number)
    )
    bench.writes = 0
    for _ in range(STEADY_TURNS):
        turns.append(await _turn_all(bench, texts, number))
    if bench.writes:
        raise RuntimeError(f"{bench.writes} objects were written, though nothing had changed")
    _told(meter, base, turns, number)


def _fill(bench: IdleOperator, text: str, number: int, owner: str) -> None:
    for index in range(number):
        bench.tell(_renamed(text, index, owner))


async def _turn_all(
    bench: IdleOperator, texts: dict[tuple[Kind, str], str], number: int, *, is_first: bool = False
) -> float:
    """The processor's seconds for each."""
    kinds = {kind for kind, _ in texts} - {POD}
    spent = 0.0
    for index in range(number):
        name = f"model-{index:05d}"
        bench.there = {
            (kind.name, found["metadata"]["name"]): found
            for kind in kinds
            for found in bench.store.labelled(kind, name, NAMESPACE)
        }
        if own := bench.store.get(LLM_DEPLOYMENT, name, NAMESPACE):
            bench.there[LLM_DEPLOYMENT.name, name] = own
        bench.applied.clear()
        began = time.process_time()
        await bench.turn(name)
        spent += time.process_time() - began
        if is_first:
            await bench.turn(name)  # as the watches cause it, which report what was written
        bench.report()
    return spent / number


def _told(meter: Meter, base: int, turns: list[float], number: int) -> None:
    print(f"\n{'kept for each deployment, bytes':34} {'traced':>8} {'RSS':>8}")
    for row in meter.rows:
        print(f"{row.what:34} {row.traced:8.0f} {row.rss:8.0f}")
    print(f"{'all':34} {sum(each.traced for each in meter.rows):8.0f} {sum(each.rss for each in meter.rows):8.0f}")
    print(f"\nRSS before: {base / 1e6:.0f} MB, with {number}: {_rss() / 1e6:.0f} MB")
    first, *steady = (each * 1e3 for each in turns)
    print(f"a first turn: {first:.2f} ms of the processor, one in which nothing changes: {min(steady):.3f} ms")


if __name__ == "__main__":
    main()
