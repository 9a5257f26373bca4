"""Where compiled code of a model is kept now: on a claim, in an image, or nowhere. Pure."""

from __future__ import annotations

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import compiled_claim_name
from slipway.observing.cache_claim import VOLUME
from slipway.observing.push_record import record_in
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning.volumes import Claim, Nowhere, SiteStorage
from slipway.operator.rendering.compile_job import identity_of
from slipway.operator.rendering.compile_wanted import wanted_of
from slipway.operator.rendering.compiled_store import Store, store_in
from slipway.operator.rendering.fields import set_by_us
from slipway.operator.rendering.placing import Kept, Making, Placed, Placing, because

FROM_IMAGE = "Compiled code is mounted from an image, which each node pulls once."
OF_BEFORE = " It was made for pods as they were before; none was pushed yet for pods as they are now."


def place(deployment: LLMDeployment, snapshot: Snapshot, site: SiteStorage, making: Making) -> Placed:
    live = set_by_us(snapshot.inference_service) if snapshot.inference_service else {}
    kept = Kept(
        field="compileCache",
        nothing="EmptyDir",
        name=compiled_claim_name(deployment.metadata.name),
        claim=snapshot.compiled_claim,
        mounted=store_in(live),
        volume=VOLUME,
    )
    push = snapshot.push or record_in(snapshot.status, deployment)
    wanted = wanted_of(deployment, snapshot, site, push)
    placing = _OfCompiled(deployment, snapshot, making, kept, wanted, is_made=bool(live))
    placing.is_of_before = push.pushed is not None and not push.image_for(identity_of(deployment, making.pods))
    return placing.placed()


class _OfCompiled(Placing):
    is_of_before = False  # the image was pushed for other pods

    def _store_of(self, claim: Claim) -> Store:
        return Store.of(claim, self._name)

    def _kept_words(self, shared: str) -> str:
        return f"Compiled code is kept on the volume of the claim {self._name}, {shared}."

    def _pulled_words(self) -> str:
        return FROM_IMAGE + (OF_BEFORE if self.is_of_before else "")

    def _costs(self, why: Nowhere | None) -> str:
        """As it was measured."""
        last = ((self._snapshot.status or {}).get("compileCache") or {}).get("lastStart") or {}
        took = last.get("compile")
        cost = f", which took {took} at the last start" if took and last.get("compiled") != "Nothing" else ""
        return because(f"Each start of a replica compiles for itself{cost}", why)
