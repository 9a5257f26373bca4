"""`python -m slipway_runtime.faststart VLLM_FLAGS`, with everything else in SLIPWAY_FASTSTART."""

import os
import sys

from slipway_runtime.faststart.launcher import main

code = main(sys.argv[1:])
if code < 0:  # the engine core was ended by a signal, so the launcher ends by the same one
    os.kill(os.getpid(), -code)
sys.exit(abs(code))
