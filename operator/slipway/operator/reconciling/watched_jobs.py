"""What is stored of Jobs, and which models they concern. Pure: tenants may label Jobs as ours."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.api.model_key import ModelKey
from slipway.api.names import KIND, OWNER_LABEL
from slipway.kube.store import place_of
from slipway.objects.kinds import Object
from slipway.objects.metadata import controller_of
from slipway.observing.keeping import named, picked
from slipway.operator.rendering import compile_job, image_job, inspection


def models_of_job(job: Object) -> Iterable[ModelKey]:
    """Jobs that a tenant has labelled as ours concern no model."""
    return [ModelKey(place_of(job)[0], controller["name"])] if (controller := _controller_of_job(job)) else ()


def _controller_of_job(job: Object) -> Object | None:
    """The LLMDeployment for which it says that it was made, if its name and its label say so, too."""
    metadata, controller = job["metadata"], controller_of(job)
    owner = (metadata.get("labels") or {}).get(OWNER_LABEL)
    if not owner or not controller or controller.get("kind") != KIND or controller.get("name") != owner:
        return None
    is_ours = any(each.is_job_name(metadata["name"], owner) for each in (inspection, compile_job, image_job))
    return controller if is_ours else None


def stored_of_job(job: Object) -> Object:
    """Of a Job that isn't ours, only that it exists, without the label by which it would be found with its model."""
    if not _controller_of_job(job):
        kept = named(job)
        return {**kept, "metadata": {**kept["metadata"], "labels": {}}}
    return {**named(job, "ownerReferences"), "status": picked(job.get("status") or {}, ("conditions",))}
