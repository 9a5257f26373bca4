"""Prints what vLLM on CPUs makes of a cache of 1 GiB for each model folder in its arguments, as a line of JSON each.

It runs in an environment with vLLM, which hasn't this repository's packages, so it imports none of them. Weights are
random. All models are loaded by one process, since importing vLLM takes longer than loading a tiny model.
"""

import json
import os
import sys

os.environ.update(
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_LOGGING_LEVEL="ERROR",
    VLLM_NO_USAGE_STATS="1",
    HF_HUB_OFFLINE="1",
)


def main() -> None:
    from vllm import LLM  # noqa: PLC0415 - it reads the environment when it is imported

    for folder in sys.argv[1:]:
        llm = LLM(model=folder, load_format="dummy", skip_tokenizer_init=True, enforce_eager=True)
        config = llm.llm_engine.vllm_config
        capacity = {
            "tokens": config.cache_config.kv_cache_size_tokens,
            "blocks": config.cache_config.num_gpu_blocks,
            "block_size": config.cache_config.block_size,
            "length": config.model_config.max_model_len,
            "sequences": config.scheduler_config.max_num_seqs,
            "batched_tokens": config.scheduler_config.max_num_batched_tokens,
        }
        sys.stdout.write(json.dumps(capacity) + "\n")
        del llm


main()
