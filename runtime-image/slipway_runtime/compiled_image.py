"""`slipway-runtime warm --push`: the entry that was published to the store, pushed as an image for other nodes.

The image has the store's own layout, so that a pod that mounts it at the store's place has a store with one entry.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway_runtime import oci
from slipway_runtime.compiled.manifest import NAME
from slipway_runtime.compiled.store import UnusableError, opened_folder, read_manifest
from slipway_runtime.contract.pod import PUSHED_BYTES, PUSHED_KEY, PUSHED_NAME, PUSHED_START
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import StartRefusedError
from slipway_runtime.failure import Failure, write_line

KEY_LABEL = "dev.slipway.compile-cache"
NOTHING = "The store {0} has no entry that could be pushed: {1}."


@dataclass(frozen=True, kw_only=True)
class Push:
    """What is to be done once the engine was started."""

    store: Path
    reference: oci.Reference
    settings: oci.Settings
    report: Path  # the pod's termination message

    @classmethod
    def wanted(cls, arguments: argparse.Namespace) -> Push | None:
        """Refuses what could not succeed before an accelerator has compiled anything."""
        if not arguments.only_warm or not vars(arguments).get("push"):  # llama.cpp compiles nothing
            return None
        settings = oci.Settings(secret=arguments.push_secret, plain_http=arguments.push_plain_http)
        try:
            reference = oci.Reference.parse(arguments.push)
            oci.check_access(reference, settings)
        except oci.RegistryError as error:
            raise StartRefusedError.because(_failure(error)) from error
        return cls(store=arguments.cache, reference=reference, settings=settings, report=arguments.termination_log)

    def carry_out(self, key: str, say: Callable[[str], None]) -> Failure | None:
        """`key`: the name of the entry."""
        try:
            image = image_of_entry(self.store, key)
            pushed = oci.push(image, self.reference, self.settings, say=lambda line: say(f"{line}."))
        except oci.RegistryError as error:
            return _failure(error)
        reported = {PUSHED_NAME: pushed.name, PUSHED_KEY: key, PUSHED_BYTES: pushed.size}
        if not write_line(f"{PUSHED_START}{json.dumps(reported)}", self.report):
            say(f"The report can't be written to {self.report}; the image is {pushed.name}.")
        return None


def image_of_entry(store: Path, key: str) -> oci.Image:
    try:
        with opened_folder(store / key) as folder:
            manifest = read_manifest(folder)
    except (OSError, UnusableError) as error:
        raise oci.RegistryError(NOTHING.format(store, error), "Read the log of this start.") from error
    if manifest is None:
        raise oci.RegistryError(NOTHING.format(store, "its manifest is damaged"), "Read the log of this start.")
    files = [oci.File(f"{key}/{name}", store / key / name) for name in (NAME, manifest.content)]
    return oci.image_of([oci.Layer(files)], labels={KEY_LABEL: key})


def _failure(error: oci.RegistryError) -> Failure:
    return Failure(Reason.PUSH_FAILED, error.message, error.remedy)
