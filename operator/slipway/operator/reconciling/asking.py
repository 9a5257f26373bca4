"""Pure: whether the Hub is asked about a model, what its answer changes, and what the status says about it.

Only where the planner lacks a number. The answer is kept in `status.model`, so that a plan that needs it doesn't depend
on the Hub afterwards. A model that can't be planned without these numbers waits for the first answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.api.status import ModelStatus
from slipway.models.catalogue import Catalogue, hub_name
from slipway.models.sources import EMPTY
from slipway.objects.kinds import Object
from slipway.observing.inspection_record import facts_for, source_of, with_answer
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning import Plan, Unplannable

NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*")
MAIN = "main"  # the branch that the Hub takes if no revision is given


@dataclass(frozen=True)
class Answer:
    """Of the Hub, about one model."""

    facts: str | None  # as `status.model` keeps them
    problem: str = ""  # one sentence with the remedy, where there are none


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """What the operator knows of models besides its own package.

    `answers`: of the Hub, by the name there and the revision; None: it isn't asked.
    """

    site: Catalogue = EMPTY
    answers: Mapping[tuple[str, str], Answer] | None = None

    def answer(self, deployment: LLMDeployment) -> Answer | None:
        model = deployment.spec.model
        return (self.answers or {}).get((hub_name(model.uri), model.revision or MAIN)) if is_on_hub(model.uri) else None


def is_on_hub(uri: str) -> bool:
    return uri.startswith("hf://") and NAME.fullmatch(hub_name(uri)) is not None


def with_hub(record: ModelStatus, deployment: LLMDeployment, elsewhere: Elsewhere, snapshot: Snapshot) -> ModelStatus:
    """`record`: what is known of the files, which the Hub's answer doesn't replace."""
    source, answer = source_of(deployment), elsewhere.answer(deployment)
    if answer is None or answer.facts is None or facts_for(record, source) is not None:
        return record
    return with_answer(record, source, answer.facts, snapshot.now)


def asks(record: ModelStatus, deployment: LLMDeployment, elsewhere: Elsewhere, *, lacks: bool) -> bool:
    """Whether the Hub is to be asked; `lacks`: the planner lacks a number."""
    is_asked = elsewhere.answers is not None and is_on_hub(deployment.spec.model.uri)
    return is_asked and lacks and facts_for(record, source_of(deployment)) is None


def with_question(
    plan: Plan | Unplannable, deployment: LLMDeployment, answer: Answer | None, before: Object | None = None
) -> Plan | Unplannable:
    """The plan of a model about which the Hub is asked, with what came of it. `before`: its status. A plan is never
    taken away: a Hub that doesn't answer must not keep a model from what it would run with otherwise."""
    if answer is None:
        if isinstance(plan, Plan) or has_plan(before):
            return plan
        name = hub_name(deployment.spec.model.uri)
        message = f"The config.json of {name} is being read from the Hub. The plan follows."
        return Unplannable(Reason.READING_MODEL, message)
    if isinstance(plan, Plan):
        return replace(plan, why=(*plan.why, answer.problem))
    if plan.reason != Reason.NO_ACCELERATOR_FITS:
        return plan
    return replace(plan, message=f"{plan.message} {answer.problem}")


def has_plan(status: Object | None) -> bool:
    return bool(status and (status.get("made") or status.get("plan")))
