"""Which series of which engine says what. A further engine is a column here, and nothing else.

The guard of slipway-runtime measures in the engines that Slipway builds in. Where it and the engine measure the same,
vLLM's own series are used, which also see answers that aren't streamed; and the guard's for llama.cpp, which has none.

NIM 2.1 has vLLM's names; 1.x has them without the prefix, which is the column `nim`. The documentation of an engine
that runs in its makers' image is all that is known of it: docs/engines.md has the links.
"""

from __future__ import annotations

from collections.abc import Mapping

Sources = Mapping[str, str]
"""A selector of series by the folder of the engine. The first engine counts that has any series of a model."""

TTFT: Sources = {
    "vllm": "vllm:time_to_first_token_seconds",
    "sglang": "sglang:time_to_first_token_seconds",
    "lmdeploy": "lmdeploy:time_to_first_token_seconds",
    "nim": "time_to_first_token_seconds",
    "llamacpp": "slipway_time_to_first_token_seconds",
}
TPOT: Sources = {
    "vllm": "vllm:request_time_per_output_token_seconds",
    "lmdeploy": "lmdeploy:time_per_output_token_seconds",
    "tgi": "tgi_request_mean_time_per_token_duration",
    "nim": "time_per_output_token_seconds",
    "llamacpp": "slipway_time_per_output_token_seconds",
}
ITL: Sources = {
    "vllm": "vllm:inter_token_latency_seconds",
    "sglang": "sglang:inter_token_latency_seconds",
    "llamacpp": "slipway_inter_token_latency_seconds",
}
E2E: Sources = {
    "vllm": "vllm:e2e_request_latency_seconds",
    "sglang": "sglang:e2e_request_latency_seconds",
    "lmdeploy": "lmdeploy:e2e_request_latency_seconds",
    "tgi": "tgi_request_duration",
    "nim": "e2e_request_latency_seconds",
    "llamacpp": "slipway_request_seconds",
}
QUEUE: Sources = {
    "vllm": "vllm:request_queue_time_seconds",
    "sglang": "sglang:queue_time_seconds",
    "lmdeploy": "lmdeploy:request_queue_time_seconds",
    "tgi": "tgi_request_queue_duration",
    "llamacpp": "slipway_queue_seconds",
}
HISTOGRAMS: Mapping[str, Sources] = {"ttft": TTFT, "tpot": TPOT, "itl": ITL, "e2e": E2E, "queue": QUEUE}

RUNNING: Sources = {
    "vllm": "vllm:num_requests_running",
    "llamacpp": "llamacpp:requests_processing",
    "sglang": "sglang:num_running_reqs",
    "lmdeploy": "lmdeploy:num_requests_running",
    "tgi": "tgi_batch_current_size",
    "triton": 'nv_trt_llm_request_metrics{request_type="active"}',
    "ovms": "ovms_current_graphs",
    "nim": "num_requests_running",
}
WAITING: Sources = {
    "vllm": "vllm:num_requests_waiting",
    "llamacpp": "slipway_requests_in_flight",
    "sglang": "sglang:num_queue_reqs",
    "lmdeploy": "lmdeploy:num_requests_waiting",
    "tgi": "tgi_queue_size",
    "triton": "nv_inference_pending_request_count",
    "nim": "num_requests_waiting",
}
"""For llama.cpp these are all requests, since they wait for their turn before llama.cpp gets them: its own
`llamacpp:requests_deferred` stays 0."""

ANSWERED: Sources = {
    "sglang": "sglang:num_requests_total",
    "tgi": "tgi_request_success",
    "triton": "nv_inference_request_success",
    "ovms": "ovms_responses",
    "nim": "request_success_total",
    "vllm": "vllm:request_success_total",
}
"""Counters of successful requests, where no guard counts all. vLLM's are for NIM 2.1."""

PROMPT_TOKENS: Sources = {
    "vllm": "vllm:prompt_tokens_total",
    "sglang": "sglang:prompt_tokens_total",
    "lmdeploy": "lmdeploy:prompt_tokens_total",
    "nim": "prompt_tokens_total",
    "llamacpp": 'slipway_tokens_total{kind="prompt"}',
}
OUTPUT_TOKENS: Sources = {
    "vllm": "vllm:generation_tokens_total",
    "sglang": "sglang:generation_tokens_total",
    "lmdeploy": "lmdeploy:generation_tokens_total",
    "tgi": "tgi_request_generated_tokens_sum",
    "nim": "generation_tokens_total",
    "llamacpp": 'slipway_tokens_total{kind="completion"}',
}
KV_CACHE: Sources = {
    "vllm": "vllm:kv_cache_usage_perc",
    "sglang": "sglang:token_usage",
    "lmdeploy": "lmdeploy:gpu_cache_usage_perc",
    "triton": 'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',
    "nim": "gpu_cache_usage_perc",
}
PREEMPTIONS: Sources = {"vllm": "vllm:num_preemptions_total", "sglang": "sglang:num_retracted_requests_total"}

OF_BUILT_IN = {"vllm", "llamacpp"}
"""Engines whose series are recorded in monitoring/expositions."""
