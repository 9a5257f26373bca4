"""A port of the activator leads to the deployment to which the operator assigned it, whatever a tenant writes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable

import pytest
from slipway.activator.proxy.listeners import serve
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.api.model_key import ModelKey
from slipway.objects.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    LLM_DEPLOYMENT,
    POD_MONITOR,
    SERVICE,
)
from slipway.observing.porttable import PORTS
from support.builders.stored import kube_object
from support.fakes.scripted_engine import answering, scripted_engine
from support.programs.operator_loop import Loop
from support.programs.tenants import HOME, HOST, TRAP, VICTIM, Tenants, ask, labels, platform, until_open

WAS_COMPUTED = 20000 + int.from_bytes(hashlib.sha256(b"chat/llama").digest()[:4], "big") % 10000
TABLE = "slipway-activator-ports-00"

Attack = Callable[[Tenants, int], None]
"""What the tenant writes to get the victim's port."""


@pytest.fixture
async def tenants() -> AsyncIterator[Tenants]:
    loop = Loop(per_namespace=100)
    platform(loop, {POD_MONITOR})
    async with scripted_engine(answering(b"victim")) as good, scripted_engine(answering(b"evil")) as bad:
        yield Tenants(loop, {"chat": good, "evil": bad})


def victims_model(tenants: Tenants) -> None:
    tenants.deploy(VICTIM)
    tenants.run_pod(VICTIM)


async def served(tenants: Tenants) -> int:
    """Deploys the victim's model and returns its port."""
    victims_model(tenants)
    await tenants.reconcile(VICTIM)
    return tenants.port_of(VICTIM)


# --- what a tenant can write -----------------------------------------------------------------------------------------


def annotate_service(tenants: Tenants, port: int) -> None:
    tenants.serve(TRAP, annotations={"slipway.dev/activator-port": str(port)})


def add_a_slice(tenants: Tenants, port: int) -> None:
    tenants.serve(TRAP)
    tenants.add_slice(TRAP, port)


def add_a_slice_as_the_victim(tenants: Tenants, port: int) -> None:
    victim = tenants.loop.api.objects.get((LLM_DEPLOYMENT, *VICTIM))
    tenants.add_slice(TRAP, port, uid=victim["metadata"]["uid"] if victim else "unknown")
    tenants.add_slice(ModelKey("evil", "llama"), port, uid=victim["metadata"]["uid"] if victim else "unknown")


def write_it_into_the_status(tenants: Tenants, port: int) -> None:
    status = {"activatorPort": port, "url": f"http://x:{port}", "plan": {"activatorPort": port}}
    tenants.loop.api.change(LLM_DEPLOYMENT, {"status": status}, namespace=TRAP.namespace, name=TRAP.name)


def annotate_all(tenants: Tenants, port: int) -> None:
    annotations = {"slipway.dev/activator-port": str(port), "slipway.dev/port-table": f"{port}"}
    change = {"metadata": {"annotations": annotations, "labels": {**labels("llama"), **annotations}}}
    tenants.loop.api.change(LLM_DEPLOYMENT, change, namespace=TRAP.namespace, name=TRAP.name)


def forge_a_table(tenants: Tenants, port: int) -> None:
    uid = tenants.loop.api.get(LLM_DEPLOYMENT, namespace=TRAP.namespace, name=TRAP.name)["metadata"]["uid"]
    metadata = {"labels": {"slipway.dev/port-table": HOME.service, "app.kubernetes.io/managed-by": "slipway"}}
    line = {str(port): f"evil/trap {uid}"}
    tenants.loop.api.put(kube_object(CONFIG_MAP, TABLE, TRAP.namespace, metadata=metadata, data=line))


def forge_pods_and_services_of_the_victim(tenants: Tenants, port: int) -> None:
    tenants.run_pod(VICTIM, namespace="evil")
    tenants.serve(ModelKey("evil", "llama"), annotations={"slipway.dev/activator-port": str(port)})


def forge_slices_of_the_activator(tenants: Tenants, port: int) -> None:
    metadata = {"labels": {"kubernetes.io/service-name": HOME.service, "slipway.dev/activator": HOME.service}}
    slice_ = kube_object(ENDPOINT_SLICE, "slipway-activator-1", TRAP.namespace, metadata=metadata)
    tenants.loop.api.put({**slice_, "ports": [{"port": port}], "endpoints": [{"addresses": ["10.6.6.6"]}]})


ATTACKS = [
    annotate_service,
    add_a_slice,
    add_a_slice_as_the_victim,
    write_it_into_the_status,
    annotate_all,
    forge_a_table,
    forge_pods_and_services_of_the_victim,
    forge_slices_of_the_activator,
]
BY_EACH_ATTACK = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
RENDERED_OR_NOT = pytest.mark.parametrize("engine", ["llamacpp", "nope"])


def set_a_trap(tenants: Tenants, attack: Attack, port: int, engine: str) -> None:
    tenants.deploy(TRAP, engine={"name": engine})
    tenants.run_pod(TRAP)
    attack(tenants, port)


async def belongs_to_the_victim(tenants: Tenants, port: int) -> None:
    assert tenants.port_of(VICTIM) == port
    assert await until_open(port) == "victim"
    assert tenants.engines["evil"].requests == []


@BY_EACH_ATTACK
@RENDERED_OR_NOT
async def test_an_attack_does_not_take_the_port_of_a_served_model(
    tenants: Tenants, attack: Attack, engine: str
) -> None:
    port = await served(tenants)
    async with tenants.activator() as activator:
        await until_open(port)
        set_a_trap(tenants, attack, port, engine)
        await tenants.reconcile(TRAP, VICTIM)
        activator.look()
        await belongs_to_the_victim(tenants, port)


@BY_EACH_ATTACK
@RENDERED_OR_NOT
async def test_a_restart_of_the_activator_does_not_give_the_port_to_the_attacker(
    tenants: Tenants, attack: Attack, engine: str
) -> None:
    port = await served(tenants)
    set_a_trap(tenants, attack, port, engine)
    await tenants.reconcile(TRAP, VICTIM)
    async with tenants.activator():
        await belongs_to_the_victim(tenants, port)


@BY_EACH_ATTACK
@RENDERED_OR_NOT
async def test_a_change_of_the_leader_does_not_move_a_port(tenants: Tenants, attack: Attack, engine: str) -> None:
    port = await served(tenants)
    set_a_trap(tenants, attack, port, engine)
    tenants.loop.take_over()
    await tenants.reconcile(TRAP, VICTIM)
    async with tenants.activator():
        await belongs_to_the_victim(tenants, port)


@BY_EACH_ATTACK
@RENDERED_OR_NOT
async def test_a_tenant_that_claims_free_ports_gets_no_request_of_others(
    tenants: Tenants, attack: Attack, engine: str
) -> None:
    for port in (PORTS[0], PORTS[1], WAS_COMPUTED):
        set_a_trap(tenants, attack, port, engine)
    await tenants.reconcile(TRAP)
    async with tenants.activator() as activator:
        port = await served(tenants)
        activator.look()
        await belongs_to_the_victim(tenants, port)


@BY_EACH_ATTACK
@RENDERED_OR_NOT
async def test_a_lost_port_table_does_not_give_the_port_to_the_attacker(
    tenants: Tenants, attack: Attack, engine: str
) -> None:
    await served(tenants)
    set_a_trap(tenants, attack, tenants.port_of(VICTIM), engine)
    tenants.loop.api.remove(CONFIG_MAP, namespace=HOME.namespace, name=TABLE)
    tenants.loop.take_over()
    await tenants.reconcile(TRAP, VICTIM)
    async with tenants.activator():
        await belongs_to_the_victim(tenants, tenants.port_of(VICTIM))


# --- successors ------------------------------------------------------------------------------------------------------


async def test_a_new_deployment_of_the_same_name_does_not_get_the_old_port(tenants: Tenants) -> None:
    port = await served(tenants)
    async with tenants.activator() as activator:
        await until_open(port)
        tenants.loop.delete(LLM_DEPLOYMENT)
        tenants.deploy(VICTIM)  # by an authorised user, before the watch has delivered the deletion of the previous one
        activator.look()
        assert await ask(port) == ""


async def test_a_port_that_clients_may_still_use_is_not_reassigned_immediately(tenants: Tenants) -> None:
    port = await served(tenants)
    async with tenants.activator():  # it receives no events any more
        tenants.loop.delete(LLM_DEPLOYMENT)
        await tenants.reconcile(VICTIM)
        tenants.deploy(TRAP)
        await tenants.reconcile(TRAP)
        assert tenants.port_of(TRAP) != port


async def test_a_listener_closes_when_the_table_assigns_its_port_to_another_deployment(tenants: Tenants) -> None:
    port = await served(tenants)
    async with tenants.activator() as activator:
        await until_open(port)
        tenants.loop.api.change(CONFIG_MAP, {"data": {str(port): "evil/trap 1"}}, namespace=HOME.namespace, name=TABLE)
        activator.look()
        assert await ask(port) == ""


async def test_when_two_deployments_have_one_port_neither_gets_a_request() -> None:
    deployments, port = ModelStates(), PORTS[-1]
    one, other = (ModelState(key=ModelKey(namespace, "llama"), port=port) for namespace in ("chat", "evil"))
    deployments.update(one)
    async with serve(deployments, Demand(), host=HOST, grace=0) as listeners:
        assert await listeners.port(one.key) == port
        deployments.update(other)
        assert await ask(port) == ""
        deployments.forget(other.key)
        assert await listeners.port(one.key) == port


# --- taking all ports ------------------------------------------------------------------------------------------------


async def test_one_tenant_cannot_take_all_ports(tenants: Tenants) -> None:
    keys = [ModelKey("evil", f"m{number}") for number in range(105)]
    for key in keys:
        tenants.deploy(key)
    for key in keys:
        await tenants.loop.reconcile(key)
    messages = [
        tenants.loop.api.get(LLM_DEPLOYMENT, namespace="evil", name=key.name)["status"]["message"] for key in keys
    ]
    assert sum("PortsExhausted" in each for each in messages) == 5
    assert await served(tenants)


async def test_a_deployment_that_cannot_be_rendered_takes_no_port(tenants: Tenants) -> None:
    keys = [ModelKey("evil", f"m{number}") for number in range(5)]
    for key in keys:
        tenants.deploy(key, engine={"name": "nope"})
    await tenants.reconcile(*keys)
    assert (CONFIG_MAP, HOME.namespace, TABLE) not in tenants.loop.api.objects


async def test_forged_slices_reserve_no_more_ports_than_a_namespace_may_have(tenants: Tenants) -> None:
    for number in range(300):
        key = ModelKey("evil", f"m{number}")
        tenants.deploy(key, engine={"name": "nope"})
        tenants.add_slice(key, PORTS[number])
    assert await served(tenants) <= PORTS[100]


# --- objects of others -----------------------------------------------------------------------------------------------


async def test_an_object_created_between_the_read_and_the_first_write_is_not_taken_over(tenants: Tenants) -> None:
    tenants.deploy(VICTIM)
    theirs = {"ports": [{"port": 80, "targetPort": 9}], "selector": {"app": "theirs"}}
    put = tenants.loop.api.put
    tenants.loop.api.then["get Service"] = lambda: void(put(kube_object(SERVICE, *reversed(VICTIM), spec=theirs)))
    await tenants.reconcile(VICTIM)
    assert tenants.loop.api.get(SERVICE)["spec"]["selector"] == theirs["selector"]
    assert "ownerReferences" not in tenants.loop.api.get(SERVICE)["metadata"]
    conditions = tenants.loop.api.get(LLM_DEPLOYMENT)["status"]["conditions"]
    assert "NameTaken" in {each["reason"] for each in conditions}


def void(_: object) -> None:
    pass
