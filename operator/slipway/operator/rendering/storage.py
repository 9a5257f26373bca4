"""Where the model's files come from, in KServe's fields, and with which credentials.

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
        raise UnrenderableError(
            "Slipway doesn't fetch from an MLflow registry yet: name the storage that holds its files, such as s3://."
        )
    if scheme == "az":
        account, _, path = rest.partition("/")
        return f"https://{account}.blob.core.windows.net/{path}"
    return f"{uri}:{revision}" if scheme == "hf" and revision else uri


def storage(spec: LLMDeploymentSpec) -> tuple[Object, Object]:
    """The fields of the predictor, and those of its model."""
    model = storage_uri(spec.model.uri, spec.model.revision)
    further = {adapter_folder(adapter.name): adapter.uri for adapter in spec.engine.adapters}
    if spec.engine.speculative and spec.engine.speculative.model:
        further[DRAFT_FOLDER] = spec.engine.speculative.model
    if not further:
        return {}, {"storageUri": model}
    sources = {MODEL_FOLDER: model} | {folder: storage_uri(uri) for folder, uri in further.items()}
    return {"storageUris": [{"uri": uri, "mountPath": folder} for folder, uri in sources.items()]}, {}


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
