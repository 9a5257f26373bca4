"""The fast start of vLLM: engine core and API server start in parallel, not one after the other (adrs/0025, adrs/0035).

`plan` decides whether a start can be a fast one, and with which flags. The engine's process is then `python -m
slipway_runtime.faststart`, the launcher: it imports nothing of vLLM, starts the engine core (`child`), which imports
vLLM and forks the server (`forking`), compares what the two report, and supervises them. During the imports, the
weights are read (`page_cache`) and copied to the device (`device_copy`) by threads that don't need the interpreter.
`shortcuts` has what is left out, done earlier or done later than in vLLM. Everything that touches vLLM's internals is
in `adapters`, one module per version. Whatever is not as expected leads to the ordinary start, with a log line that
says why; a shortcut is left out.
"""
