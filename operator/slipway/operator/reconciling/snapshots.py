"""Reads the caches: everything that the cluster shows of one LLMDeployment, as one `Snapshot`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.engine import engine_name
from slipway.api.model_key import ModelKey
from slipway.api.names import (
    OWNER_LABEL,
    activator_slice_name,
    compiled_claim_name,
    label_of_compilation,
    label_of_imaging,
    label_of_inspection,
    weights_claim_name,
)
from slipway.contract.engines import LLAMACPP, VLLM
from slipway.kube.overlay import Overlay
from slipway.kube.store import Store
from slipway.objects.conditions import is_true
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CORE_EVENT,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    JOB,
    LLM_DEPLOYMENT,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_MONITOR,
    REPLICA_SET,
    RESOURCE_CLAIM_TEMPLATE,
    SCALED_OBJECT,
    SERVICE,
    SERVING_RUNTIME,
    STORAGE_CLASS,
    Kind,
    Object,
)
from slipway.objects.metadata import controller_of, labels_of, name_of, uid_of
from slipway.observing import scaler
from slipway.observing.cache_claim import names_volumes
from slipway.observing.compile_image import fails_to_pull
from slipway.observing.figures import Figures, figures_of
from slipway.observing.porttable import ActivatorPort, Claim, claim_of
from slipway.observing.snapshot import Inspection, PlatformPart, SeenJobs, Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning.engines import RUNTIMES, runtimes_for
from slipway.operator.reconciling.accounting import accounted
from slipway.operator.reconciling.following import Following
from slipway.operator.reconciling.memory import ModelMemory
from slipway.operator.reconciling.pods_to_read import brief_of_pod, has_ended, is_ready, pods_to_read
from slipway.operator.reconciling.watches import models_by_label
from slipway.operator.rendering import compile_job, image_job
from slipway.operator.rendering.inspection import claim_with_files, is_job_name
from slipway.operator.rendering.pinning import runtime_name

logger = logging.getLogger(__name__)

MOST_JOBS = 8  # of a model, the newest: it has one, and those of earlier sources until they are removed
MOST_INSPECTING = 16  # pods of the inspections of a model: a Job has one, or a few while nodes are drained
IMAGES = tuple(dict.fromkeys((*RUNTIMES[LLAMACPP.name].values(), *RUNTIMES[VLLM.name].values())))
"""Runtimes whose images have `slipway-runtime`, in the order in which they are taken to read a model's files."""
OPTIONAL = (INFERENCE_SERVICE, SCALED_OBJECT, POD_MONITOR, RESOURCE_CLAIM_TEMPLATE)
"""Kinds that may be missing: others install their CRDs, or the Kubernetes is too old for them."""


class SnapshotReader:
    """`now` returns the time of day; `port_of` the port of an LLMDeployment, as the port table has it. `is_closed`:
    whether our rights on objects of the kind in the namespace are gone."""

    def __init__(
        self,
        store: Store,
        overlay: Overlay,
        *,
        port_of: Callable[[Claim], ActivatorPort | None],
        now: Callable[[], datetime],
        installation: Installation,
        kserve: Callable[[], PlatformPart | None] = lambda: None,
        keda: Callable[[], PlatformPart | None] = lambda: None,
        is_closed: Callable[[Kind, str], bool] = lambda _kind, _namespace: False,
    ) -> None:
        self._store, self._overlay, self._port_of, self.now = store, overlay, port_of, now
        self._installation, self._kserve, self._keda, self._is_closed = installation, kserve, keda, is_closed
        store.keep_briefs(POD, brief_of_pod)
        store.keep_briefs(LLM_DEPLOYMENT, figures_of)
        if installation.inspects:
            store.keep_briefs(JOB, age)
        self.following = Following(store)
        self._profiles_read: dict[str, tuple[Any, AcceleratorProfile | None]] = {}
        self._last_profiles: tuple[AcceleratorProfile, ...] = ()

    # --- which there are --------------------------------------------------------------------------------------------

    def everyone(self) -> list[ModelKey]:
        return [ModelKey(*place) for place in self._store.places(LLM_DEPLOYMENT)]

    def on_node(self, name: str) -> Iterable[ModelKey]:
        """The LLMDeployments with a pod on the node."""
        for pod in self._store.all(POD):
            if (pod.get("spec") or {}).get("nodeName") == name:
                yield from models_by_label(pod)

    def llm_deployment(self, key: ModelKey) -> Object | None:
        """None: it is gone."""
        cached = self._store.get(LLM_DEPLOYMENT, key.name, key.namespace)
        if cached is None:
            self.following.may(key, self.now())  # another one may in its place
        return cached and self._overlay.get(LLM_DEPLOYMENT, key.name, key.namespace)

    def figures(self, key: ModelKey) -> Figures | None:
        """What is exposed of it as metrics; None: it is gone, or can't be read."""
        found: Figures | None = self._store.brief(LLM_DEPLOYMENT, key.name, key.namespace)
        if found and found.plan_error is not None and not is_ready(self._store, found.measured_pod, key.namespace):
            return found._replace(plan_error=None)  # the pod that has measured it no longer serves
        return found

    # --- one of them ------------------------------------------------------------------------------------------------

    def read(self, key: ModelKey, llm_deployment: Object, memory: ModelMemory) -> Snapshot:
        """Everything but what needs a call to the API server."""
        inference_service = self._named_after(INFERENCE_SERVICE, key)
        return self._with_objects(
            key,
            Snapshot(
                now=self.now(),
                llm_deployment=llm_deployment,
                kinds=frozenset(kind for kind in OPTIONAL if not self._store.is_missing(kind)),
                activators=self._activators(),
                port=self._port_of(claim_of(llm_deployment)),
                profiles=self._same_profiles(),
                runtimes=self._runtimes(key.namespace, llm_deployment, inference_service),
                may_follow_times=self.following.may(key, self.now()),
                follow_share=self.following.share,
            ),
            memory,
        )

    def read_again(self, key: ModelKey, snapshot: Snapshot, memory: ModelMemory) -> Snapshot:
        """The same, with the objects as they are by now; the spec stays the one that was acted on."""
        return self._with_objects(key, replace(snapshot, now=self.now()), memory)

    def _with_objects(self, key: ModelKey, snapshot: Snapshot, memory: ModelMemory) -> Snapshot:
        pods = pods_to_read(self._store, key)
        scaled_object = self._named_after(SCALED_OBJECT, key)
        fails_since = scaler.fails_since(scaled_object, memory.scaler_fails_since, snapshot.status, snapshot.now)
        memory.scaler_fails_since = fails_since
        # Kubernetes keeps the time of a pod's first rejection only, whatever the reason was then.
        memory.named_volumes_at = _first_seen(memory.named_volumes_at, filter(names_volumes, pods), snapshot.now)
        # The kubelet reports no time.
        memory.failed_pulls_at = _first_seen(memory.failed_pulls_at, filter(fails_to_pull, pods), snapshot.now)
        snapshot = replace(
            snapshot,
            inference_service=self._named_after(INFERENCE_SERVICE, key),
            deployments=tuple(self._overlay.labelled(DEPLOYMENT, key.name, key.namespace)),
            replica_sets=tuple(self._store.labelled(REPLICA_SET, key.name, key.namespace)),
            pods=pods,
            remade=memory.remade,
            place_freed_at=self._place_freed_at(pods, memory, snapshot.now),
            named_volumes_at=memory.named_volumes_at,
            failed_pulls_at=memory.failed_pulls_at,
            events=tuple(self._store.labelled(CORE_EVENT, key.name, key.namespace)) if pods else (),
            nodes=self._nodes_of(pods),
            service=self._named_after(SERVICE, key),
            claim_templates=tuple(self._overlay.labelled(RESOURCE_CLAIM_TEMPLATE, key.name, key.namespace)),
            autoscaler=self._named_after(HORIZONTAL_POD_AUTOSCALER, key),
            scaled_object=scaled_object,
            scaler_fails_since=fails_since,
            scaler_is_there=self._scaler_is_there(scaled_object) if scaled_object and fails_since else None,
            activator_answers=self._activator_answers(key, snapshot.activators),
            kserve=self._kserve(),
            keda=self._keda(),
            storage_classes=self._storage_classes(),
            claims=self._claims(key, memory),
            given_up=dict(memory.given_up),
            compiled_claim=self._overlay.get(PERSISTENT_VOLUME_CLAIM, compiled_claim_name(key.name), key.namespace),
            weights_claim=self._overlay.get(PERSISTENT_VOLUME_CLAIM, weights_claim_name(key.name), key.namespace),
            inspection=self._inspection(key, snapshot.llm_deployment, memory),
            compilation=self._pushing(
                key, snapshot.llm_deployment, memory.compile_job, compile_job.is_job_name, label_of_compilation
            ),
            imaging=self._pushing(
                key, snapshot.llm_deployment, memory.image_job, image_job.is_job_name, label_of_imaging
            ),
        )
        snapshot = accounted(snapshot, memory.ledger)
        memory.ledger, memory.budget = snapshot.ledger, snapshot.budget
        return snapshot

    def pod_uids(self, key: ModelKey) -> set[str]:
        """Of all of its pods, also those that a snapshot leaves out."""
        return self._store.uids(POD, key.name, key.namespace)

    def _named_after(self, kind: Kind, key: ModelKey) -> Object | None:
        return self._overlay.get(kind, key.name, key.namespace)

    @staticmethod
    def _place_freed_at(pods: tuple[Object, ...], memory: ModelMemory, now: datetime) -> datetime | None:
        """Kubernetes forgets when a pod was gone, so it is remembered here."""
        on_nodes = frozenset(uid_of(pod) for pod in pods if pod["spec"].get("nodeName") and not has_ended(pod))
        if memory.pods_on_nodes - on_nodes:
            memory.place_freed_at = now
        memory.pods_on_nodes = on_nodes
        return memory.place_freed_at

    def _claims(self, key: ModelKey, memory: ModelMemory) -> tuple[Object, ...]:
        found = (self._store.get(PERSISTENT_VOLUME_CLAIM, name, key.namespace) for name in memory.claims)
        return tuple(each for each in found if each)

    def _nodes_of(self, pods: tuple[Object, ...]) -> dict[str, Object]:
        names = {pod["spec"].get("nodeName") or "" for pod in pods}
        found = {name: self._store.get(NODE, name) for name in names}
        return {name: node for name, node in found.items() if node}

    def _storage_classes(self) -> tuple[Object, ...] | None:
        return None if self._store.is_closed(STORAGE_CLASS) else tuple(self._store.all(STORAGE_CLASS))

    # --- its files ---------------------------------------------------------------------------------------------------

    def _inspection(self, key: ModelKey, llm_deployment: Object, memory: ModelMemory) -> Inspection | None:
        if not self._installation.may_inspect(key.namespace):
            return None
        claim = claim_with_files(_uri(llm_deployment))
        return Inspection(
            jobs=self._jobs(key, llm_deployment, memory.inspection_job, is_job_name),
            pods=tuple(self._store.labelled(POD, label_of_inspection(key.name), key.namespace, most=MOST_INSPECTING)),
            claim=self._store.get(PERSISTENT_VOLUME_CLAIM, claim, key.namespace) if claim else None,
            runtime=self._inspecting_runtime(),
            is_closed=self._is_closed(JOB, key.namespace),
        )

    def _pushing(
        self,
        key: ModelKey,
        llm_deployment: Object,
        last: str,
        is_job_name: Callable[[str, str], bool],
        label_of: Callable[[str], str],
    ) -> SeenJobs | None:
        """The Jobs that push one of its images."""
        if not self._installation.may_inspect(key.namespace) or self._is_closed(JOB, key.namespace):
            return None
        return SeenJobs(
            jobs=self._jobs(key, llm_deployment, last, is_job_name),
            pods=tuple(self._store.labelled(POD, label_of(key.name), key.namespace, most=MOST_INSPECTING)),
        )

    def _jobs(
        self, key: ModelKey, llm_deployment: Object, last: str, is_job_name: Callable[[str, str], bool]
    ) -> dict[str, Object]:
        """Ours, by name. `last`: the name of one that no watch may have reported yet."""
        found = self._overlay.labelled(JOB, key.name, key.namespace, most=MOST_JOBS)
        if last and (job := self._overlay.get(JOB, last, key.namespace)):
            found.append(job)
        uid = uid_of(llm_deployment)
        ours = (each for each in found if (controller_of(each) or {}).get("uid") == uid)
        return {name_of(each): each for each in ours if is_job_name(name_of(each), key.name)}

    def being_read(self, namespace: str) -> set[ModelKey]:
        """The LLMDeployments whose files a Job reads now."""
        if not self._installation.may_inspect(namespace):
            return set()
        keys = [ModelKey(*place) for place in self._store.places(LLM_DEPLOYMENT) if place[0] == namespace]
        return {key for key in keys if any(each and each[1] for each in self._store.briefs(JOB, key.name, namespace))}

    def _inspecting_runtime(self) -> Object | None:
        """The one whose image reads the files: the smallest that is installed. Never one of the namespace."""
        for name in IMAGES:
            ours = self._installation.runtimes.get(name)
            if found := self._store.get(CLUSTER_SERVING_RUNTIME, name_of(ours) if ours else name) or ours:
                return found
        return None

    # --- the activator -----------------------------------------------------------------------------------------------

    def _activators(self) -> Mapping[str, tuple[str, ...]]:
        """The ready replicas' addresses, by Service. An activator without a Service isn't installed."""
        found = {each: self._replicas(each) for each in self._installation.activators}
        return {service: addresses for service, addresses in found.items() if addresses is not None}

    def _replicas(self, service: str) -> tuple[str, ...] | None:
        """EndpointSlices of an LLMDeployment with the name of that Service don't count."""
        labelled = self._store.labelled(ENDPOINT_SLICE, service, self._installation.namespace)
        slices = [each for each in labelled if OWNER_LABEL not in labels_of(each)]
        endpoints = [endpoint for each in slices for endpoint in each.get("endpoints") or []]
        ready = [each for each in endpoints if (each.get("conditions") or {}).get("ready", True)]
        return tuple(sorted({address for each in ready for address in each["addresses"]})) if slices else None

    def _scaler_is_there(self, scaled_object: Object) -> bool:
        service, _, _ = scaler.scaler_address(scaled_object).partition(".")
        return bool(self._replicas(service))

    def _activator_answers(self, key: ModelKey, activators: Mapping[str, tuple[str, ...]]) -> bool | None:
        if not activators:
            return None
        extra = self._overlay.get(ENDPOINT_SLICE, activator_slice_name(key.name), key.namespace)
        return bool(extra and extra.get("endpoints"))

    # --- runtimes and profiles ---------------------------------------------------------------------------------------

    def _runtimes(
        self, namespace: str, llm_deployment: Object, inference_service: Object | None
    ) -> Mapping[str, Object]:
        """Those that a plan may name, and the one that the live InferenceService names."""
        names = {*runtimes_for(engine_name(llm_deployment.get("spec"))), runtime_name(inference_service or {})}
        found = {name: self._runtime(name, namespace) for name in names if name}
        return {name: runtime for name, runtime in found.items() if runtime}

    def _runtime(self, name: str, namespace: str) -> Object | None:
        """In the order of KServe: the namespace's own before the cluster's."""
        ours = self._installation.runtimes.get(name)
        name = name_of(ours) if ours else name
        there = self._store.get(SERVING_RUNTIME, name, namespace) or self._store.get(CLUSTER_SERVING_RUNTIME, name)
        return there or ours

    def profiles(self) -> Iterable[AcceleratorProfile]:
        """All that are valid."""
        for raw in self._store.all(ACCELERATOR_PROFILE):
            if profile := self._profile(raw):
                yield profile

    def _same_profiles(self) -> tuple[AcceleratorProfile, ...]:
        """One tuple for all plans that are made from it, while no profile changes."""
        found = tuple(self.profiles())
        last = self._last_profiles
        if len(found) != len(last) or any(one is not other for one, other in zip(found, last, strict=True)):
            self._last_profiles = found
        return self._last_profiles

    def _profile(self, raw: Object) -> AcceleratorProfile | None:
        """Parsed once for each spec, without its status, so that a plan stays valid when that changes; an invalid one
        is skipped."""
        name, spec = name_of(raw), raw.get("spec")
        known = self._profiles_read.get(name)
        if known and known[0] == spec:
            return known[1]
        metadata = {"name": name, "generation": raw["metadata"].get("generation") or 0}
        try:
            profile = AcceleratorProfile.model_validate({"metadata": metadata, "spec": spec})
        except ValidationError as error:
            logger.warning("AcceleratorProfile %s is skipped, because it is invalid: %s", name, error)
            profile = None
        self._profiles_read[name] = spec, profile
        return profile


def _first_seen(known: Mapping[str, datetime], pods: Iterable[Object], now: datetime) -> dict[str, datetime]:
    """When each of these pods was first seen among them, by its uid."""
    return {uid: known.get(uid, now) for uid in map(uid_of, pods)}


def _uri(llm_deployment: Object) -> str:
    """Empty if the spec has none, as below."""
    spec = llm_deployment.get("spec")
    model = spec.get("model") if isinstance(spec, dict) else None
    return str(model.get("uri") or "") if isinstance(model, dict) else ""


def age(job: Object) -> tuple[str, bool]:
    """The newest Job has the greatest; and whether it is an inspection that has still to end."""
    has_ended = is_true(job, "Complete") or is_true(job, "Failed")
    is_inspection = is_job_name(name_of(job), labels_of(job).get(OWNER_LABEL, ""))
    return str(job["metadata"].get("creationTimestamp")), is_inspection and not has_ended
