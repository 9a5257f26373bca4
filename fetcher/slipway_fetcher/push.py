"""slipway-push: makes an image of what slipway-fetch has brought into a folder, and pushes it to a registry.

Nothing is copied on the disk: each layer is computed while it is read, once for its digest and once to send it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from slipway_fetcher import oci
from slipway_fetcher.flags import TERMINATION_LOG, Parser, number
from slipway_fetcher.folder.target import Record, Target
from slipway_fetcher.images import ARCHITECTURE, CountedLayer, Item, items_of, items_of_volume, layers_of
from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.progress import Progress
from slipway_fetcher.reporting import report_failure, write
from slipway_fetcher.signals import end_at_once

PUSHED = "slipway-pushed-1:"
"""The start of the termination message, as the runtime in the pods writes it (runtime-image/contract/pod.yaml)."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[60.0] * 10)
"""Seconds between tries: a registry that is restarted or moved must not cost what has been fetched."""


def main() -> None:
    end_at_once()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], output: TextIO | None = None) -> int:
    """Returns the exit code."""
    progress, termination_log = Progress("", output=output), Path(TERMINATION_LOG)
    try:
        given = parser().parse_intermixed_args(arguments)
        termination_log = given.termination_log
        progress = Progress(given.image, every=given.progress_every, output=output)
        if given.progress_file:
            progress.write_to(given.progress_file)
        reference = oci.Reference.parse(given.image)
        settings = oci.Settings(secret=given.credentials, plain_http=given.push_plain_http, pauses=PAUSES)
        if given.folder is None:
            oci.check_access(reference, settings)
            progress.event("accessible")
            return 0
        with progress.reported():
            records = _of_volume(given.folder) if given.volume else _complete(given.folder)
            items = items_of_volume(given.folder, records) if given.volume else items_of(given.folder, records[""])
            _push(items, records, reference, settings, progress, termination_log)
    except oci.RegistryError as error:
        refused = FetchError(Reason.PUSH_FAILED, error.message, error.remedy)
        return report_failure(refused, progress, termination_log, phase="pushing")
    except FetchError as error:
        return report_failure(error, progress, termination_log, phase="pushing")
    except Exception:
        traceback.print_exc()
        bug = FetchError(Reason.INTERNAL, "The program that pushes failed.", "Read its log, and report this bug.")
        return report_failure(bug, progress, termination_log, phase="pushing")
    return 0


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="slipway-push",
        description="Makes an image of a folder that slipway-fetch has made, and pushes it to a registry.",
        allow_abbrev=False,
    )
    made.add_argument("image", metavar="IMAGE", help="what to push, as REGISTRY/REPOSITORY:TAG")
    made.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        help="a complete model; without it, slipway-push only checks that it may push",
    )
    made.add_argument(
        "--volume",
        action="store_true",
        help="push all complete models in FOLDER with their records, to mount the image instead of the volume",
    )
    made.add_argument(
        "--credentials", type=Path, metavar="FOLDER", help="a mounted Secret of type kubernetes.io/dockerconfigjson"
    )
    made.add_argument("--push-plain-http", action="store_true", help="the registry has no TLS")
    made.add_argument("--progress-every", type=number, default=5, metavar="SECONDS", help="between two lines (5)")
    made.add_argument("--progress-file", type=Path, metavar="FILE", help="has the newest of these lines")
    made.add_argument(
        "--termination-log", type=Path, default=Path(TERMINATION_LOG), metavar="FILE", help=f"({TERMINATION_LOG})"
    )
    return made


def _push(
    items: Sequence[Item],
    records: Mapping[str, Record],
    reference: oci.Reference,
    settings: oci.Settings,
    progress: Progress,
    termination_log: Path,
) -> None:
    started = time.monotonic()
    layers = layers_of(items, progress.arrived)
    progress.begin(sum(layer.size for layer in layers))
    progress.event("layers", layers=len(layers), bytes=sum(item.size for item in items), files=len(items))
    progress.waits("the digests of the layers are computed")
    image = oci.image_of(layers, architecture=ARCHITECTURE)
    progress.waits("")
    pushed = oci.push(image, reference, settings, present=_counted)
    progress.report()
    seconds = round(time.monotonic() - started, 1)
    versions = [record.version for record in records.values()]
    report = {"image": pushed.name, "bytes": pushed.size, "version": versions[0] if len(versions) == 1 else None}
    with contextlib.suppress(OSError):
        write(termination_log, PUSHED + json.dumps(report))
    progress.event("pushed", **report, sent=pushed.sent, seconds=seconds)


def _complete(folder: Path) -> dict[str, Record]:
    if record := Target(folder).record():
        return {"": record}
    raise _nothing(folder)


def _of_volume(folder: Path) -> dict[str, Record]:
    """By the names of their folders."""
    try:
        names = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise _nothing(folder) from error
    found = {name: record for name in names if (record := Target(folder / name).record())}
    if not found:
        raise _nothing(folder)
    return found


def _nothing(folder: Path) -> FetchError:
    return FetchError(
        Reason.INVALID,
        f"{folder} has no complete model.",
        "Let slipway-fetch bring one there first, and name the same folder.",
    )


def _counted(blob: oci.Blob) -> None:
    """One that the registry has already counts as sent."""
    if isinstance(blob, CountedLayer):
        blob.count_to(blob.size)


if __name__ == "__main__":
    main()
