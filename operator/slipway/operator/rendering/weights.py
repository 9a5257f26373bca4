"""How the files of a model come into its pods: init containers with Slipway's fetcher, and one volume. Pure.

Each source (the model, its draft model, its adapters) has a folder of its own in the volume, whose name is its key. The
engine has that folder mounted, read-only, where it expects the files. A claim is mounted as it is. What the volume is,
`WeightsVolume` says; see ADR 0071.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.pod import DRAFT_FOLDER, MODEL_FOLDER, RUNTIME_PORT
from slipway.objects.kinds import Object
from slipway.observing.fetching import FETCHES_ADAPTER, FETCHES_DRAFT, FETCHES_MODEL, VOLUME
from slipway.operator.installation import Fetcher
from slipway.operator.rendering.storage import adapter_folder

FOLDER = "/mnt/weights"
CREDENTIALS_VOLUME, CREDENTIALS_FOLDER = "slipway-credentials", "/etc/slipway/credentials"
IN_THE_POD = f"file://{MODEL_FOLDER}"
"""KServe's `storageUri` of a model that it doesn't fetch. Without one, KServe takes the pod for a server of several
models, and adds its agent."""
RESOURCES: Object = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
"""With both limits, since quotas may demand them."""
RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,  # as the image's user, or the one that the cluster chooses
    "seccompProfile": {"type": "RuntimeDefault"},
}
VARIABLES = re.compile(r"(?i:(https?|no)_proxy)|(HF|AWS|AZURE|GOOGLE|MLFLOW|S3)_\w+|STORAGE_EMULATOR_HOST")
"""Of the spec's, those that say how a source is reached."""
NAMES_SERVER = re.compile("ENDPOINT|TRACKING_URI|EMULATOR_HOST")
FIXED = re.compile(r"hf://[^@]+@[0-9a-f]{40}|oci://.+@sha256:[0-9a-f]{64}|https://.+#sha256=.+|mlflow://.+/[0-9]+")
"""A source, with `@` and its revision, that always has the same files."""
KEY = re.compile(r"\b([0-9a-f]{16})-[0-9a-f]{8}\b")
"""Of a source whose files may change: the second part depends on the time of the last restart, by which it is resolved
again."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files that are fetched, or that a claim has."""

    container: str  # of those that are fetched
    folder: str  # where the engine expects them
    uri: str
    revision: str = ""
    files: tuple[str, ...] = ()
    endpoint: str = ""
    server: tuple[str, ...] = ()  # what else may say which server it is, without `endpoint`

    @property
    def is_fetched(self) -> bool:
        return not self.uri.startswith("pvc://")

    @property
    def key(self) -> str:
        where = self.endpoint or list(self.server) or ""
        what = _digest([self.uri, self.revision, sorted(self.files), where])[:16]
        is_fixed = FIXED.fullmatch(f"{self.uri}@{self.revision}" if self.revision else self.uri)
        return what if is_fixed else f"{what}-{_of_time(None)}"


@dataclass(frozen=True)
class WeightsVolume:
    """What the volume is, besides its name: a volume of a pod."""

    source: Object

    @property
    def volume(self) -> Object:
        return {"name": VOLUME, **self.source}


IN_EACH_POD = WeightsVolume({"emptyDir": {}})


def sources_of(spec: LLMDeploymentSpec) -> Iterator[Source]:
    model, speculative = spec.model, spec.engine.speculative
    server = tuple(_servers(spec))
    yield Source(
        container=FETCHES_MODEL,
        folder=MODEL_FOLDER,
        uri=model.uri,
        revision=model.revision or "",
        files=tuple(model.files),
        endpoint=model.endpoint or "",
        server=server,
    )
    if speculative and speculative.model:
        yield Source(
            container=FETCHES_DRAFT,
            folder=DRAFT_FOLDER,
            uri=speculative.model,
            endpoint=_endpoint_for(speculative.model, spec),
            server=server,
        )
    for number, adapter in enumerate(spec.engine.adapters):
        yield Source(
            container=f"{FETCHES_ADAPTER}{number}",
            folder=adapter_folder(adapter.name),
            uri=adapter.uri,
            endpoint=_endpoint_for(adapter.uri, spec),
            server=server,
        )


def _endpoint_for(uri: str, spec: LLMDeploymentSpec) -> str:
    """The model's, for what comes from a server of the same kind."""
    is_same = uri.partition("://")[0] == spec.model.uri.partition("://")[0]
    return (spec.model.endpoint or "") if is_same else ""


def _servers(spec: LLMDeploymentSpec) -> Iterator[str]:
    """A Secret may name the server as well, and so may variables: the same URI is another model there."""
    if spec.model.credentials_secret:
        yield spec.model.credentials_secret
    yield from sorted(f"{each.name}={each.value}" for each in spec.pod.env if NAMES_SERVER.search(each.name))


def fetches(spec: LLMDeploymentSpec) -> bool:
    return any(each.is_fetched for each in sources_of(spec))


def with_fetched(
    predictor: Object, spec: LLMDeploymentSpec, fetcher: Fetcher, volume: WeightsVolume = IN_EACH_POD
) -> Object:
    """The predictor of a model of which something is fetched."""
    model, *others = sources_of(spec)
    mounted = [*([model] if model.is_fetched else ()), *others]
    fetched = {each.key: each for each in reversed(mounted) if each.is_fetched}  # each once, by the first
    containers = [_container(each, spec, fetcher) for each in mounted if each in fetched.values()]
    claims = {each: _claim(each, number) for number, each in enumerate(mounted) if not each.is_fetched}
    mounts = [_mount(each) if each.is_fetched else claims[each][1] for each in mounted]
    secret = spec.model.credentials_secret
    credentials = [{"name": CREDENTIALS_VOLUME, "secret": {"secretName": secret}}] if secret else []
    volumes = [volume.volume, *credentials, *(each for each, _ in claims.values())]
    pull_secrets = [each["name"] for each in predictor.get("imagePullSecrets") or []] + [*fetcher.pull_secrets]
    engine: Object = predictor["model"]
    return {
        **predictor,
        **({"imagePullSecrets": [{"name": each} for each in dict.fromkeys(pull_secrets)]} if pull_secrets else {}),
        "initContainers": containers,
        "volumes": [*(predictor.get("volumes") or []), *volumes],
        "model": {
            **engine,
            "storageUri": IN_THE_POD if model.is_fetched else model.uri,
            "volumeMounts": [*(engine.get("volumeMounts") or []), *mounts],
        },
    }


def _claim(source: Source, number: int) -> tuple[Object, Object]:
    """Its volume, and its mount. KServe ignores the path of a claim that isn't the only source."""
    claim, _, path = source.uri.removeprefix("pvc://").partition("/")
    name, path = f"slipway-source-{number}", path.strip("/")
    volume = {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    mount = {"name": name, "mountPath": source.folder, "readOnly": True, **({"subPath": path} if path else {})}
    return volume, mount


def _mount(source: Source) -> Object:
    return {"name": VOLUME, "mountPath": source.folder, "subPath": source.key, "readOnly": True}


def _container(source: Source, spec: LLMDeploymentSpec, fetcher: Fetcher) -> Object:
    mounts: list[Object] = [{"name": VOLUME, "mountPath": FOLDER}]
    if spec.model.credentials_secret:
        mounts.append({"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_FOLDER, "readOnly": True})
    given = [each for each in spec.pod.env if VARIABLES.fullmatch(each.name)]
    variables = [each.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for each in given]
    return {
        "name": source.container,
        "image": fetcher.image,
        "imagePullPolicy": fetcher.pull_policy,
        "args": [_literally(each) for each in _arguments(source, spec)],
        **({"env": variables} if variables else {}),
        "resources": RESOURCES,
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _arguments(source: Source, spec: LLMDeploymentSpec) -> Iterator[str]:
    yield source.uri
    yield f"{FOLDER}/{source.key}"
    yield f"--port={RUNTIME_PORT}"  # where the operator asks how far it is
    if source.revision:
        yield f"--revision={source.revision}"
    yield from (f"--files={each}" for each in source.files)
    if source.endpoint:
        yield f"--endpoint={source.endpoint}"
    if spec.model.credentials_secret:
        yield f"--credentials={CREDENTIALS_FOLDER}"


def _literally(argument: str) -> str:
    """Kubernetes replaces $(NAME)."""
    return argument.replace("$", "$$")


# --- the time of the last restart ------------------------------------------------------------------------------------


def resolved_at(inference_service: Object, time: str | None) -> Object:
    """With the keys of a restart at this time; None: there was none."""
    predictor = inference_service.get("spec", {}).get("predictor")
    if not predictor:
        return inference_service
    found = predictor_resolved_at(predictor, time)
    return {**inference_service, "spec": {**inference_service["spec"], "predictor": found}}


def predictor_resolved_at(predictor: Object, time: str | None) -> Object:
    if all(each.get("name") != VOLUME for each in predictor.get("volumes") or []):
        return predictor
    of_time = _of_time(time)
    rewritten = _rewriting(lambda text: KEY.sub(rf"\1-{of_time}", text))
    containers = [_with_volume_rewritten(each, rewritten) for each in predictor.get("initContainers") or []]
    volumes = [rewritten(each) if each.get("name") == VOLUME else each for each in predictor["volumes"]]
    model = predictor.get("model") or {}
    mounts = [rewritten(each) if each.get("name") == VOLUME else each for each in model.get("volumeMounts") or []]
    return {
        **predictor,
        **({"initContainers": containers} if containers else {}),
        "volumes": volumes,
        **({"model": {**model, "volumeMounts": mounts}} if mounts else {}),
    }


def _with_volume_rewritten(container: Object, rewritten: Callable[[Any], Any]) -> Object:
    """The second argument is the folder."""
    arguments = container.get("args") or []
    return {**container, "args": [*arguments[:1], *map(rewritten, arguments[1:2]), *arguments[2:]]}


def _rewriting(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Of all strings in a value."""

    def rewritten(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rewritten(each) for name, each in value.items()}
        if isinstance(value, list):
            return [rewritten(each) for each in value]
        return change(value) if isinstance(value, str) else value

    return rewritten


def _of_time(time: str | None) -> str:
    return _digest([time])[:8]


def _digest(value: list[Any]) -> str:
    """Stays the same for ever: folders of volumes are called so."""
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
