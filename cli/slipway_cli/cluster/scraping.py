"""Reads the metrics of models' pods and of the activators, through the API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from slipway.api.names import OWNER_LABEL
from slipway.contract.engines import BUILT_IN
from slipway.contract.pod import METRICS_PATH, RUNTIME_PORT
from slipway.objects.kinds import POD

from slipway_cli.cluster.kubectl import ApiError, Kubectl, Object
from slipway_cli.cluster.metrics import Reading, reading_of
from slipway_cli.cluster.proxying import ApiProxy, Dropped
from slipway_cli.cluster.reading import BASIC, read_all, read_one
from slipway_cli.cluster.state import State
from slipway_cli.cluster.usage import History, Pod, Use, held_in, pods_by_model, use_of

AT_ONCE = 16  # requests; each is a thread
SECONDS = 5.0  # in which a pod has sent its whole answer
LARGEST = 4 << 20  # bytes of an answer; vLLM's has 70 KB
ACTIVATOR = "activator"  # its container
ACCEPTED = rf"^/api/v1/namespaces/[^/]+/pods/[^/]+:{RUNTIME_PORT}/proxy{METRICS_PATH}$"
"""The paths that are read."""
OURS = frozenset(each.name for each in BUILT_IN)
Found = TypeVar("Found")
COLUMNS_OF_PODS, COLUMN_OF_ACTIVATORS = "IN FLIGHT, TOKENS/S, FIRST TOKEN and KV CACHE", "HELD"


@dataclass
class Scraper:
    """Reads all that `top` shows, again and again. `namespace`: None: all; `slipway`: where Slipway is installed."""

    kubectl: Kubectl
    proxy: ApiProxy
    namespace: str | None
    selector: str
    slipway: str
    name: str = ""  # of the only model
    history: History = field(default_factory=History)
    gaps: dict[str, str] = field(default_factory=dict)  # by what is missing: why, in a sentence

    def read(self) -> list[Use]:
        self.gaps = {}
        states = [State(each) for each in self._models()]
        pods = pods_by_model(self._pods(), OWNER_LABEL)
        engines = {(each.namespace, each.name): _engine(each) for each in states}
        wanted = {pod: engines[model] for model, found in pods.items() if model in engines for pod in found}
        self.history.keep(wanted)
        self.history.add(self._readings({pod: engine for pod, engine in wanted.items() if engine in OURS}))
        held = self._held()
        return [use_of(each, pods.get((each.namespace, each.name), []), self.history, held) for each in states]

    def _models(self) -> list[Object]:
        if self.name and self.namespace:
            return [read_one(self.kubectl, self.name, self.namespace)]
        return read_all(self.kubectl, self.namespace, self.selector)

    def _pods(self) -> list[Object]:
        try:
            found = self.kubectl.get(f"{POD.path(self.namespace)}?labelSelector={OWNER_LABEL}")
            return list(found.get("items") or [])
        except ApiError as error:
            if error.word in BASIC:
                raise
            where = f"namespace {self.namespace}" if self.namespace else "all namespaces"
            self.gaps["pods"] = f"{COLUMNS_OF_PODS}: {_why_unlisted(where, error)}."
            return []

    def _readings(self, wanted: Mapping[Pod, str]) -> dict[Pod, Reading]:
        def read(pod: Pod, text: str) -> Reading:
            return reading_of(text, wanted[pod], time.monotonic())

        return self._each(wanted, read, COLUMNS_OF_PODS, "pods of models")

    def _held(self) -> Mapping[tuple[str, str], float] | None:
        try:
            found = self.kubectl.get(POD.path(self.slipway)).get("items") or []
        except ApiError as error:
            if error.word in BASIC:
                raise
            why = _why_unlisted(f"namespace {self.slipway}", error)
            self.gaps["activators"] = f"{COLUMN_OF_ACTIVATORS}: {why}."
            return None
        pods = [(self.slipway, str(each["metadata"]["name"])) for each in found if _is_activator(each)]
        if not pods:
            self.gaps["activators"] = (
                f"{COLUMN_OF_ACTIVATORS}: there is no activator in namespace {self.slipway}; --slipway-namespace names "
                "another."
            )
            return None
        texts = self._each(pods, lambda _, text: text, COLUMN_OF_ACTIVATORS, "activators")
        return held_in(texts.values()) if texts else None

    def _each(
        self, pods: Iterable[Pod], read: Callable[[Pod, str], Found], columns: str, whose: str
    ) -> dict[Pod, Found]:
        """What is read of the metrics of those that answer; what is missing is noted. The metrics themselves are not
        kept: many pods could have much."""
        wanted = list(pods)

        def one(pod: Pod) -> tuple[Found | None, str]:
            try:
                return read(pod, self._text(pod)), ""
            except Dropped as error:
                return None, str(error)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = dict(zip(wanted, pool.map(one, wanted), strict=True))
        failed = {pod: why for pod, (found, why) in answers.items() if found is None}
        if failed:
            (namespace, name), why = next(iter(failed.items()))
            if why == "Forbidden":
                remedy = f"the right to get pods/proxy in namespace {namespace} is missing; the role edit includes it"
            else:
                remedy = f"{len(failed)} of {len(wanted)} {whose} are missing: {name} doesn't answer ({why})"
            self.gaps[whose] = f"{columns}: {remedy}."
        return {pod: found for pod, (found, _) in answers.items() if found is not None}

    def _text(self, pod: Pod) -> str:
        namespace, name = pod
        path = f"/api/v1/namespaces/{namespace}/pods/{name}:{RUNTIME_PORT}/proxy{METRICS_PATH}"
        answer = self.proxy.get(path)
        try:
            if answer.status != 200:
                raise Dropped("Forbidden" if answer.status == 403 else f"status {answer.status}")
            return answer.text(LARGEST)
        finally:
            answer.close()


def _why_unlisted(where: str, error: ApiError) -> str:
    if error.word == "Forbidden":
        return f"the right to list pods in {where} is missing"
    return f"pods in {where} can't be listed ({error.message.rstrip('.')})"


def _engine(state: State) -> str:
    return str(((state.llm.get("spec") or {}).get("engine") or {}).get("name") or "vllm")


def _is_activator(pod: Object) -> bool:
    containers = (pod.get("spec") or {}).get("containers") or []
    is_running = (pod.get("status") or {}).get("phase") == "Running"
    return is_running and any(each.get("name") == ACTIVATOR for each in containers)
