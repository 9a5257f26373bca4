"""The error for unusable model files: a failure with a sentence and a remedy."""

from __future__ import annotations

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models.words import printable

FETCH_AGAIN = "Fetch the model again, or take another revision of it."


class ModelError(Exception):
    def __init__(self, reason: Reason, message: str, remedy: str) -> None:
        """Escapes the message, because names in it may come from an untrusted model."""
        super().__init__(message)
        self.failure = Failure(reason, printable(message), remedy)


def not_found(message: str, remedy: str) -> ModelError:
    return ModelError(Reason.MODEL_NOT_FOUND, message, remedy)


def corrupt(message: str, remedy: str = FETCH_AGAIN) -> ModelError:
    return ModelError(Reason.MODEL_CORRUPT, message, remedy)


def unsupported(message: str, remedy: str) -> ModelError:
    return ModelError(Reason.UNSUPPORTED_ARCHITECTURE, message, remedy)
