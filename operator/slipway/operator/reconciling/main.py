"""`slipway-operator`: the program. Exit code 0 when it was asked to end, 2 when it was started wrongly."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from slipway.kube.connection import load_configuration
from slipway.operator.reconciling import flags
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.operator import Now, Operator, utc_now
from slipway.process import flags as shared
from slipway.process import lifecycle


@shared.program(
    "slipway-operator", "Turns LLMDeployments into language models served by KServe, and keeps their status true."
)
@shared.kubeconfig
@shared.namespace
@shared.watch_namespaces
@flags.activators
@flags.ports_per_namespace
@flags.inspect_namespaces
@flags.compiled_size
@flags.compiled_storage_class
@flags.compiled_shared_class
@flags.weights_size
@flags.weights_storage_class
@flags.weights_shared_class
@flags.fetcher_image
@flags.fetcher_pull_policy
@flags.fetcher_pull_secrets
@flags.hub_endpoint
@flags.hub_redirects_to
@flags.runtimes
@flags.keep_old_runtimes
@flags.kserve_namespace
@shared.keda_namespace
@flags.lease_name
@shared.identity
@flags.workers
@flags.resync
@flags.prometheus_namespaces
@flags.opencost_metrics
@shared.runbooks
@shared.management_port
@shared.log_level
@shared.log_format
def main(**given: Any) -> None:
    settings = OperatorSettings(**given)
    sys.exit(lifecycle.run(partial(operate, settings), log_level=settings.log_level, log_format=settings.log_format))


async def operate(settings: OperatorSettings, asked_to_end: asyncio.Event, *, now: Now = utc_now) -> None:
    configuration = await load_configuration(settings.kubeconfig)
    await Operator(settings, configuration, now=now).run(asked_to_end)
