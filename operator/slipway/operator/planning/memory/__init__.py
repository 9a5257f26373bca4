"""Pure: what a model takes of a device's memory, by the engine's own arithmetic.

`vllm.py` and `llamacpp.py` divide the memory; `blocks.py` counts how many tokens vLLM's KV cache holds in what is left.
"""
