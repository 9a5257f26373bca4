"""The engine's process: llama.cpp's own HTTP server, from the package xllamacpp."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any, NoReturn

from slipway_runtime.engines.engine import Refusal
from slipway_runtime.engines.llamacpp import Settings, fill
from slipway_runtime.failure import termination_message


def main() -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    xllamacpp: Any = importlib.import_module("xllamacpp")
    try:
        parameters = fill(xllamacpp.CommonParams(), Settings.from_json(sys.argv[1]))
    except Refusal as refusal:
        sys.exit(termination_message(refusal.failure))
    server = xllamacpp.Server(parameters)
    sys.stderr.write(f"{server.listening_address}\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
