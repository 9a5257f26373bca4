"""`slipway-node-cache`: the program. Exit code 0 when it was asked to end, 2 when it was started wrongly."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from slipway.kube.connection import load_configuration
from slipway.nodecache import flags
from slipway.nodecache.flags import NodeCacheSettings
from slipway.nodecache.plugin import NodePlugin
from slipway.process import flags as shared
from slipway.process import lifecycle


@shared.program(
    "slipway-node-cache",
    "Gives the pods of each namespace a folder of the node, and removes models from it that no pod uses.",
)
@shared.kubeconfig
@flags.node
@flags.folder
@flags.kubelet_folder
@flags.total_size
@flags.namespace_size
@flags.min_free_percent
@flags.unused_for
@flags.sweep_every
@shared.management_port
@shared.log_level
@shared.log_format
def main(**given: Any) -> None:
    settings = NodeCacheSettings(**given)
    sys.exit(lifecycle.run(partial(serve, settings), log_level=settings.log_level, log_format=settings.log_format))


async def serve(settings: NodeCacheSettings, asked_to_end: asyncio.Event) -> None:
    await NodePlugin(settings, await load_configuration(settings.kubeconfig)).run(asked_to_end)
