"""Plans of models whose numbers are known, on a few GPUs: which profile is chosen, or why none is."""

from __future__ import annotations

from typing import Any

from slipway.models.facts import Model
from slipway.models.sources import Known
from slipway.operator.planning import Plan, Supply, Unplannable, make_plan
from slipway.operator.planning.supply import ProfileSupply

from support.builders.models import LLAMA_8B
from support.builders.rendering import deployment, profile

SPEED: dict[str, Any] = {"features": ["bf16", "fp8"], "compute": {"bf16": 989, "fp8": 1979}}
L4 = profile("l4", memory="23034Mi", bandwidth="300G", devicesPerNode=8, costPerHour=0.7, **SPEED)
H100 = profile("h100", memory="81559Mi", bandwidth="3350G", devicesPerNode=8, costPerHour=7.0, **SPEED)
H200 = profile("h200", memory="143771Mi", bandwidth="4800G", devicesPerNode=8, costPerHour=9.0, **SPEED)
ALL = [L4, H100, H200]


def answer(model: Model = LLAMA_8B, profiles: list[Any] = ALL, **further: Any) -> Plan | Unplannable:
    given = {key: further.pop(key) for key in ("supply", "running") if key in further}
    return make_plan(deployment(**further).spec, profiles, name="llama", known=Known(model), **given)


def planned(model: Model = LLAMA_8B, profiles: list[Any] = ALL, **further: Any) -> Plan:
    made = answer(model, profiles, **further)
    assert isinstance(made, Plan), made
    return made


def refused(model: Model = LLAMA_8B, profiles: list[Any] = ALL, **further: Any) -> Unplannable:
    made = answer(model, profiles, **further)
    assert isinstance(made, Unplannable), made
    return made


def where(plan: Plan) -> tuple[str, int]:
    return plan.profile, plan.gpus_per_replica


def nodes(**counts: int) -> Supply:
    """One node of each profile with so many free devices of eight."""
    return Supply(
        {
            name: ProfileSupply(nodes=1, devices=8, most_on_a_node=8, free=free, most_free_on_a_node=free)
            for name, free in counts.items()
        }
    )
