"""`slipway-operator`: the program. It ends with 0 when it was asked to, with 2 when it was started wrongly."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from kubernetes.aio.config import ConfigException

from slipway.kube.connection import load_configuration
from slipway.process import logs
from slipway.reconciling.operator import Now, Operator, utc_now
from slipway.reconciling.options import Options, parse

logger = logging.getLogger(__name__)

STARTED_WRONGLY = 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    logs.set_up(level=options.log_level, format_=options.log_format)
    try:
        asyncio.run(operate(options))
    except ConfigException as error:
        logger.error("No way to an API server (%s): run in a pod, or name a --kubeconfig", error)
        return STARTED_WRONGLY
    return 0


async def operate(options: Options, *, now: Now = utc_now) -> None:
    """Until SIGTERM or SIGINT."""
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
    await Operator(options, await load_configuration(options.kubeconfig), now=now).run(asked_to_end)
