"""llama.cpp's own server alone, in a separate process: the baseline for Slipway's llama.cpp."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from slipway_runtime.engines.llamacpp import Settings

NAME = "gemma"
PROGRAM = """
import sys, threading
import xllamacpp
from slipway_runtime.engines.llamacpp import Settings, fill
server = xllamacpp.Server(fill(xllamacpp.CommonParams(), Settings.from_json(sys.argv[1])))
threading.Event().wait()
"""


def command(file: Path, *, port: int, context: int) -> list[str]:
    return [sys.executable, "-c", PROGRAM, settings(file, port=port, context=context)]


def settings(file: Path, *, port: int, context: int) -> str:
    told = Settings(
        model=file,
        name=NAME,
        host="127.0.0.1",
        port=port,
        context_length=context,
        parallel=4,
        threads=2,
        parameters={},
    )
    return json.dumps(dataclasses.asdict(told), default=str)
