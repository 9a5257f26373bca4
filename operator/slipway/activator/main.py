"""`slipway-activator`: the program. Exit code 0 when it was told to end, 2 when it was started wrongly."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

import uvloop

from slipway.activator import garbage_collection
from slipway.activator.activator import Activator
from slipway.activator.settings import Settings, parse
from slipway.kube.connection import load_configuration
from slipway.process import running


def main(arguments: Sequence[str] | None = None) -> int:
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    gc.freeze()  # otherwise collections would walk through all imported modules, again and again
    garbage_collection.collect_young_objects_only()
    return running.run(
        activate(settings), log_level=settings.log_level, log_format=settings.log_format, loop=uvloop.run
    )


async def activate(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    asked_to_end = running.asked_to_end()
    await Activator(settings, await load_configuration(settings.kubeconfig)).run(asked_to_end)
