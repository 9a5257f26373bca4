"""Where the model's files come from, in KServe's fields, and with which credentials: what KServe mounts, and, without
Slipway's fetcher (`weights.py`), fetches.

A single model is `storageUri`, KServe's oldest field. With adapters or a draft model there are several sources, each
with a folder of its own: `storageUris`.
"""

from __future__ import annotations

from urllib.parse import quote

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.pod import ADAPTERS_FOLDER, DRAFT_FOLDER, MODEL_FOLDER
from slipway.objects.kinds import Object
from slipway.operator.rendering.desired import UnrenderableError

SECRET_ANNOTATIONS = ("serving.kserve.io/storageSecretName", "serving.kserve.io/secretName")
"""KServe reads one of them: the first as its manifests configure it, the second as its Helm chart does."""
NEEDS_FETCHER = (
    "{what} needs Slipway's fetcher, and this installation has none: set fetcher.enabled in the chart's values, or "
    "name a source that KServe's storage initializer fetches."
)
NO_CREDENTIALS = (
    "pvc://",
    "oci://",
)  # need none of KServe: a volume has no credentials, a registry's are an image pull secret


def adapter_folder(name: str) -> str:
    return f"{ADAPTERS_FOLDER}/{quote(name, safe='')}"


def storage_uri(uri: str, revision: str | None = None) -> str:
    """Converts a URI to the form that KServe's storage initializer takes."""
    scheme, _, rest = uri.partition("://")
    if scheme == "mlflow":
        raise UnrenderableError(NEEDS_FETCHER.format(what="mlflow://"))
    if scheme == "az":
        account, _, path = rest.partition("/")
        return f"https://{account}.blob.core.windows.net/{path}"
    return f"{uri}:{revision}" if scheme == "hf" and revision else uri


def with_storage(predictor: Object, spec: LLMDeploymentSpec) -> Object:
    """The predictor of a model whose files KServe brings."""
    for field, value in {"model.files": spec.model.files, "model.endpoint": spec.model.endpoint}.items():
        if value:
            raise UnrenderableError(NEEDS_FETCHER.format(what=field))
    model = storage_uri(spec.model.uri, spec.model.revision)
    further = {adapter_folder(adapter.name): adapter.uri for adapter in spec.engine.adapters}
    if spec.engine.speculative and spec.engine.speculative.model:
        further[DRAFT_FOLDER] = spec.engine.speculative.model
    secrets = image_pull_secrets(spec)
    predictor = {**predictor, **({"imagePullSecrets": secrets} if secrets else {})}
    if not further:
        return {**predictor, "model": {**predictor["model"], "storageUri": model}}
    sources = {MODEL_FOLDER: model} | {folder: storage_uri(uri) for folder, uri in further.items()}
    return {**predictor, "storageUris": [{"uri": uri, "mountPath": folder} for folder, uri in sources.items()]}


def secret_annotations(spec: LLMDeploymentSpec) -> dict[str, str]:
    secret = spec.model.credentials_secret
    if not secret or spec.model.uri.startswith(NO_CREDENTIALS):
        return {}
    return dict.fromkeys(SECRET_ANNOTATIONS, secret)


def image_pull_secrets(spec: LLMDeploymentSpec) -> list[Object]:
    """The secrets of the spec, and the one for a model that is itself an image."""
    wanted = [secret.name for secret in spec.pod.image_pull_secrets]
    if spec.model.credentials_secret and spec.model.uri.startswith("oci://"):
        wanted.append(spec.model.credentials_secret)
    return [{"name": name} for name in dict.fromkeys(wanted)]
