"""`slipway-operator`: the program. It ends with 0 when it was asked to, with 2 when it was started wrongly."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from slipway.kube.connection import load_configuration
from slipway.operator.reconciling.operator import Now, Operator, utc_now
from slipway.operator.reconciling.options import Options, parse
from slipway.process import running


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    return running.run(operate(options), log_level=options.log_level, log_format=options.log_format)


async def operate(options: Options, *, now: Now = utc_now) -> None:
    """Until SIGTERM or SIGINT."""
    asked_to_end = running.asked_to_end()
    await Operator(options, await load_configuration(options.kubeconfig), now=now).run(asked_to_end)
