"""Pure: whether the Hub is asked about a model, what its answer changes, and what the status says about it.

Only where the planner lacks a number. The answer is kept in `status.model`, so that a plan that needs it doesn't depend
on the Hub afterwards. A model that can't be planned without these numbers waits for the first answer; one that can
waits for ten seconds, so that it doesn't start twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

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
COMMIT = re.compile(r"[0-9a-f]{40}")
FIRST_ANSWER_WITHIN = timedelta(seconds=10)
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


def is_commit(revision: str) -> bool:
    """Which never changes, unlike a branch."""
    return COMMIT.fullmatch(revision) is not None


def with_hub(record: ModelStatus, deployment: LLMDeployment, elsewhere: Elsewhere, snapshot: Snapshot) -> ModelStatus:
    """`record`: what is known of the files, which the Hub's answer doesn't replace."""
    source, answer = source_of(deployment), elsewhere.answer(deployment)
    if answer is None or answer.facts is None or facts_for(record, source) is not None:
        return record
    return with_answer(record, source, answer.facts, snapshot.now)


@dataclass(frozen=True)
class Question:
    """What the Hub is asked about one LLMDeployment, and since when."""

    uri: str
    revision: str | None
    at: datetime
    is_first: bool  # nothing runs by this spec yet, and no answer was here

    @property
    def answered_by(self) -> datetime:
        """What can be planned without the answer isn't delayed longer than that."""
        return self.at + FIRST_ANSWER_WITHIN


def question_for(
    record: ModelStatus,
    deployment: LLMDeployment,
    elsewhere: Elsewhere,
    snapshot: Snapshot,
    *,
    lacks: bool,
    before: Question | None,
) -> Question | None:
    """None: the Hub isn't asked. `lacks`: the planner lacks a number. `before`: the last question about it."""
    model = deployment.spec.model
    is_asked = elsewhere.answers is not None and is_on_hub(model.uri)
    if not is_asked or not lacks or facts_for(record, source_of(deployment)) is not None:
        return None
    if before and (before.uri, before.revision) == (model.uri, model.revision):
        return replace(before, is_first=before.is_first and elsewhere.answer(deployment) is None)
    status = snapshot.status or {}
    is_first = not has_plan(status) or status.get("observedGeneration") != snapshot.generation
    return Question(model.uri, model.revision, snapshot.now, is_first)


def holds_back(question: Question, answer: Answer | None, now: datetime) -> bool:
    """Whether a plan waits for the answer, which may change it: pods that start now would be replaced in a moment."""
    return answer is None and question.is_first and now < question.answered_by


def with_question(
    plan: Plan | Unplannable, question: Question, answer: Answer | None, snapshot: Snapshot
) -> Plan | Unplannable:
    """The plan of a model about which the Hub is asked, with what came of it. A plan by which something runs is never
    taken away: a Hub that doesn't answer must not keep a model from what it would run with otherwise."""
    name = hub_name(question.uri)
    if answer is None:
        message = f"The config.json of {name} is being read from the Hub."
        if isinstance(plan, Plan):
            until = f"Without an answer by {question.answered_by:%H:%M:%S} UTC, it is planned without its numbers."
            is_held = holds_back(question, answer, snapshot.now)
            return Unplannable(Reason.READING_MODEL, f"{message} {until}") if is_held else plan
        return plan if has_plan(snapshot.status) else Unplannable(Reason.READING_MODEL, f"{message} The plan follows.")
    if isinstance(plan, Plan):
        return replace(plan, why=(*plan.why, answer.problem))
    if plan.reason != Reason.NO_ACCELERATOR_FITS:
        return plan
    return replace(plan, message=f"{plan.message} {answer.problem}")


def with_refusal(plan: Plan | Unplannable, refusal: str) -> Plan | Unplannable:
    """`refusal`: why the Hub isn't asked yet."""
    if isinstance(plan, Plan):
        return replace(plan, why=(*plan.why, refusal))
    if plan.reason == Reason.READING_MODEL:
        return replace(plan, message=f"{refusal} The plan follows.")
    return replace(plan, message=f"{plan.message} {refusal}") if plan.reason == Reason.NO_ACCELERATOR_FITS else plan


def has_plan(status: Object | None) -> bool:
    return bool(status and (status.get("made") or status.get("plan")))
