# Generated from runtime-image/slipway_runtime/oci/problem.py by `make generate`; do not edit.
"""Why an image can't be made or pushed: a sentence about what happened, and one about what to do."""

from __future__ import annotations


class RegistryError(Exception):
    """`is_temporary`: the same request may succeed later."""

    def __init__(self, message: str, remedy: str, *, is_temporary: bool = False) -> None:
        super().__init__(f"{message} {remedy}")
        self.message, self.remedy, self.is_temporary = message, remedy, is_temporary
