"""Process 1 with the fake engine: `python -m support.programs.supervised_engine OPTIONS -- FLAGS OF THE ENGINE`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from slipway_runtime.compiled.cache import CompileCache
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import Choice, Launch, SecondWay, WarmUp, Work
from slipway_runtime.failure import Failure
from slipway_runtime.supervisor.options import Options
from slipway_runtime.supervisor.run import run
from slipway_runtime.supervisor.timeouts import Timeouts

from support.fakes.engine import COMPILED


def main() -> int:
    end = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    for name, default in (("start", 30.0), ("endpoints", 0.0), ("drain", 30.0), ("cut", 1.0)):
        add(f"--{name}", type=float, default=default)
    add("--stop", type=float, default=1.0)
    add("--stuck-after", type=float, default=24.0)
    add("--engine-port", type=int, required=True)
    add("--port", type=int, required=True)
    add("--only-warm", action="store_true")
    add("--afterwards", choices=("succeed", "fail"))
    add("--termination-log", type=Path, required=True)
    add("--cache", type=Path, help="the store of the compile cache")
    add("--scratch", type=Path, help="the folder for the pod's own files; with --cache")
    add("--key", default="", help="what compiled code depends on")
    arguments = parser.parse_args(sys.argv[1:end])
    launch = Launch(
        engine="fake",
        distributions=("no-such-distribution",),
        command=(sys.executable, "-m", "support.fakes.engine", f"--port={arguments.engine_port}", *sys.argv[end + 1 :]),
        environment={**os.environ, "PYTHONPATH": str(Path.cwd())},
        port=arguments.engine_port,
        work=Work(pending=("fake:running",), progress=()),
        warm_up=WarmUp("/v1/completions", {}),
        choices=(Choice("--fake", "a test asked for it"),),
        moments=((re.compile("^now loading"), "loading"),),
        facts=(re.compile(r"^capacity (?P<tokens>\d+)"),),
        second_way=SecondWay(re.compile("^now another way"), frozenset({Reason.MODEL_CORRUPT})),
        stop=arguments.stop,
    )
    compiled = CompileCache.off("It compiles nothing.")
    if arguments.cache:
        key = {"flags": arguments.key}
        compiled = CompileCache.open(arguments.cache, key, within=arguments.scratch, limit=1 << 30)
        launch = replace(
            launch, environment={**launch.environment, **compiled.environment({COMPILED: "engine/compiled"})}
        )
    options = Options(
        timeouts=Timeouts(
            start=arguments.start, endpoints=arguments.endpoints, drain=arguments.drain, cut=arguments.cut
        ),
        host="127.0.0.1",
        port=arguments.port,
        stuck_after=arguments.stuck_after,
        only_warm=arguments.only_warm,
        compiled=compiled,
        afterwards=partial(afterwards, arguments.afterwards) if arguments.afterwards else None,
        memory_in_use=lambda: [{"name": "container", "total": 1000, "used": 400}],
    )
    return run(lambda: (launch, options), termination_log=arguments.termination_log)


def afterwards(how: str, say: Callable[[str], None]) -> Failure | None:
    say("This was done afterwards.")
    return Failure(Reason.PUSH_FAILED, "It can't be pushed.") if how == "fail" else None


if __name__ == "__main__":
    sys.exit(main())
