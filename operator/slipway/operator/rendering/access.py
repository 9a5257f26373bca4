"""`spec.access` as the guard in the pod is told of it: where the API keys are mounted, and what each of them may do."""

from __future__ import annotations

from slipway.api.llmdeployment import AccessSpec
from slipway.contract.pod import KEYS_FOLDER
from slipway.operator.rendering.desired import Object

KEYS_VOLUME = "slipway-api-keys"


def volumes(access: AccessSpec) -> list[Object]:
    """The Secret of the keys: changed ones reach the pod without a restart."""
    secret = access.api_keys_secret
    return [{"name": KEYS_VOLUME, "secret": {"secretName": secret}}] if secret else []


def volume_mounts(access: AccessSpec) -> list[Object]:
    return [{"name": KEYS_VOLUME, "mountPath": KEYS_FOLDER, "readOnly": True}] if access.api_keys_secret else []
