"""`python -m slipway_runtime.faststart FLAGS OF VLLM`, with the rest in SLIPWAY_FASTSTART."""

import os
import sys

from slipway_runtime.faststart.launcher import main

code = main(sys.argv[1:])
if code < 0:  # a signal ended the engine core, and that is what has ended the engine
    os.kill(os.getpid(), -code)
sys.exit(abs(code))
