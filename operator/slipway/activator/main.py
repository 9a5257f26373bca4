"""`slipway-activator`: the program. Exit code 0 when it was asked to end, 2 when it was started wrongly."""

from __future__ import annotations

import asyncio
import gc
import sys
from functools import partial
from typing import Any

import uvloop

from slipway.activator import flags, garbage_collection
from slipway.activator.activator import Activator
from slipway.activator.flags import ActivatorSettings
from slipway.kube.connection import load_configuration
from slipway.process import flags as shared
from slipway.process import lifecycle


@shared.program(
    "slipway-activator",
    "Holds requests for models that have no ready replica, wakes the models through KEDA, and forwards the requests.",
)
@shared.kubeconfig
@shared.namespace
@shared.watch_namespaces
@flags.service
@shared.keda_namespace
@shared.identity
@flags.address
@flags.scaler_port
@flags.max_requests
@flags.max_bytes
@flags.trusted_proxies
@flags.drain
@shared.runbooks
@shared.management_port
@shared.log_level
@shared.log_format
def main(**given: Any) -> None:
    settings = ActivatorSettings(**given)
    gc.freeze()  # a collection that walks through all imported modules would pause all requests, again and again
    garbage_collection.collect_young_objects_only()
    sys.exit(
        lifecycle.run(
            partial(activate, settings),
            log_level=settings.log_level,
            log_format=settings.log_format,
            loop=uvloop.run,
        )
    )


async def activate(settings: ActivatorSettings, asked_to_end: asyncio.Event) -> None:
    await Activator(settings, await load_configuration(settings.kubeconfig)).run(asked_to_end)
