"""What an engine does: its KV cache, its batches, speculative decoding, the memory of its GPU."""

from __future__ import annotations

from slipway_monitoring.promql import first_of, mean, rate, total
from slipway_monitoring.rule import Group, Recording
from slipway_monitoring.vocabulary.sources import KV_CACHE, PREEMPTIONS


def _ratio(part: str, whole: str, window: str = "5m") -> str:
    """None without a denominator: 0 of 0 is no ratio."""
    return f"{total(rate(part, window))} / ({total(rate(whole, window))} > 0)"


BATCH = {
    "vllm": ("vllm:generation_tokens_total", "vllm:iteration_tokens_total_count"),
    "llamacpp": ("llamacpp:tokens_predicted_total", "llamacpp:n_decode_total"),
}
ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
MIB = 1024 * 1024


def _of_gpu(how: str, series: str) -> str:
    """DCGM's exporter names the pod that uses a GPU: as `pod`, or where its own pod keeps that label as `exported_pod`.
    The pods that Prometheus scrapes as those of a model say which model that is."""
    named = f'label_replace({series}, "namespace", "$1", "exported_namespace", "(.+)")'
    named = f'label_replace({named}, "pod", "$1", "exported_pod", "(.+)")'
    pods = 'max by (cluster, namespace, llmdeployment, pod) (up{llmdeployment!=""}) * 0 + 1'
    return f"({pods})\n* on (cluster, namespace, pod) group_left () {how} by (cluster, namespace, pod) ({named})"


GROUP = Group(
    name="slipway.engine",
    recordings=(
        Recording(
            name="slipway:kv_cache_usage:ratio",
            meaning="Share of the KV cache that requests use, on average of all replicas",
            unit="ratio",
            expression=first_of(*map(mean, KV_CACHE.values())),
            sources=KV_CACHE,
        ),
        Recording(
            name="slipway:prefix_cache_hits:ratio5m",
            meaning="Share of the tokens of prompts that were found in the KV cache",
            unit="ratio",
            expression=first_of(
                _ratio("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"),
                _ratio("sglang:cached_tokens_total", "sglang:prompt_tokens_total"),
            ),
            sources={"vllm": "vllm:prefix_cache_hits_total", "sglang": "sglang:cached_tokens_total"},
        ),
        Recording(
            name="slipway:preemptions:rate5m",
            meaning="Requests per second whose KV cache was taken away, so that they are computed again",
            unit="per second",
            expression=first_of(*(total(rate(name)) for name in PREEMPTIONS.values())),
            sources=PREEMPTIONS,
        ),
        Recording(
            name="slipway:speculative_acceptance:ratio5m",
            meaning="Share of the speculated tokens that were accepted: above 0.8 excellent, 0.6 to 0.8 good, 0.4 to "
            "0.6 marginal, below 0.4 not worth it",
            unit="ratio",
            expression=first_of(
                _ratio(ACCEPTED, "vllm:spec_decode_num_draft_tokens_total"), mean("sglang:spec_accept_rate > 0")
            ),
            sources={"vllm": ACCEPTED, "sglang": "sglang:spec_accept_rate"},
        ),
        Recording(
            name="slipway:speculative_accepted_length:mean5m",
            meaning="Tokens per step with speculation: the accepted ones, and the one that is always computed",
            unit="tokens",
            expression=first_of(
                f"1 + {_ratio(ACCEPTED, 'vllm:spec_decode_num_drafts_total')}", mean("sglang:spec_accept_length > 0")
            ),
            sources={"vllm": "vllm:spec_decode_num_drafts_total", "sglang": "sglang:spec_accept_length"},
        ),
        Recording(
            name="slipway:batch_size:mean5m",
            meaning="Tokens that a step of the engine computes for answers: without speculation, the number of "
            "requests in a batch",
            unit="tokens",
            expression=first_of(*(_ratio(*series) for series in BATCH.values())),
            sources={engine: steps for engine, (_, steps) in BATCH.items()},
        ),
        Recording(
            name="slipway:gpu_memory_used:bytes",
            meaning="Memory in use on the GPUs of all replicas, as DCGM reports it",
            unit="bytes",
            expression=total(_of_gpu("sum", "DCGM_FI_DEV_FB_USED") + f" * {MIB}"),
        ),
        Recording(
            name="slipway:gpu_utilization:ratio",
            meaning="Share of time in which a kernel ran on the GPUs of the replicas, as DCGM reports it",
            unit="ratio",
            expression=mean(_of_gpu("avg", "DCGM_FI_DEV_GPU_UTIL") + " / 100"),
        ),
    ),
)
