"""vLLM's start, made short: the engine core and the API server begin side by side, instead of one after the other.

`plan` decides whether a start can be a fast one, and with which flags. The engine's process is then `python -m
slipway_runtime.faststart`, the launcher: it loads nothing of vLLM, starts the two as children (`child`), compares what
they tell, and watches over them. While they import Python, the weights are read (`page_cache`) and copied to the
device (`device_copy`) by threads that need no interpreter. What reaches into vLLM's insides is in `adapters`, one
module for each version. Whatever is not as expected ends in the ordinary start, with a line in the log that says why.
"""
