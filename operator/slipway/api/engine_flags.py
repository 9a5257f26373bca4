"""The engines' own flags, each judged once: which of them `extraArgs` may hold, and why not the others.

For Slipway's engines the list of those that may is the whole truth: argparse also takes a flag's beginning for the
flag, `-q8` for `-q 8`, and a word without dashes for the model, and a newer version may know more than was judged here.
The flags are those of vLLM 0.32, and for llama.cpp the parameters of xllamacpp that can be given as a word.
"""

from __future__ import annotations

from collections.abc import Mapping

VLLM, LLAMACPP = "vllm", "llamacpp"

# --- what a field of ours writes: set the field, so that the plan knows of it -----------------------------------------

FIELDS: Mapping[str, str] = {
    "model.servedName": "--served-model-name --alias -a --model-alias",
    "model.revision": "--revision --tokenizer-revision",
    "engine.contextLength": "--max-model-len --ctx-size -c --n-ctx",
    "engine.maxConcurrency": "--max-num-seqs --parallel -np --n-parallel",
    "engine.quantization": "--quantization -q --quantization-config",
    "engine.kvCacheDtype": "--kv-cache-dtype --cache-type-k --cache-type-v -ctk -ctv",
    "engine.prefixCaching": "--enable-prefix-caching --no-enable-prefix-caching",
    "engine.speculative": "--speculative-config -sc --spec-method --spec-model --spec-tokens --model-draft -md",
    "engine.adapters": "--enable-lora --lora-modules --default-mm-loras --lora",
    "engine.parallelism.tensor": "--tensor-parallel-size -tp",
    "engine.parallelism.pipeline": "--pipeline-parallel-size -pp",
    "engine.mode": "--performance-mode",
    "engine.mediaDomains": "--allowed-media-domains",
    "observability.tracing.endpoint": "--otlp-traces-endpoint",
}

# --- what Slipway itself depends on -----------------------------------------------------------------------------------

OURS = """
    --host --port --uds --model -m --model-tag --hf-repo -hf --root-path --headless --metrics
    --shutdown-timeout --api-server-count -asc --disable-log-stats --download-dir --sse-keep-alive-interval
    --gpu-memory-utilization --device-memory-utilization --kv-cache-memory-bytes --num-gpu-blocks-override --device-ids
    --data-parallel-size -dp --data-parallel-rank -dpn --data-parallel-start-rank -dpr --data-parallel-size-local -dpl
    --data-parallel-address -dpa --data-parallel-rpc-port -dpp --data-parallel-backend -dpb --data-parallel-hybrid-lb
    -dph --data-parallel-external-lb -dpe --data-parallel-multi-port-external-lb -dpm --data-parallel-supervisor-port
    --disable-nccl-for-dp-synchronization --dp-sync-interval --dp-supervisor-probe-failure-threshold
    --dp-supervisor-probe-interval-s --dp-supervisor-probe-timeout-s --enable-elastic-ep --elastic-ep-max-dp-size
    --enable-fault-tolerance --fault-tolerance-config --nnodes -n --node-rank -r --master-addr --master-port
    --prefill-context-parallel-size -pcp --ray-workers-use-nsight --hostnames --api-prefix --cache-ram-mib
    --cache-idle-slots --check --embedding --endpoint-metrics --fit-params --fit-params-min-ctx --fit-params-print
    --is-gen-docs --n-threads-http --offline --reuse-port --sleep-idle-seconds --sse-ping-interval --timeout-read
    --timeout-write --ui --usage --warmup
"""

# --- what opens a hole, with the hole and the way out -----------------------------------------------------------------

_OWN_RUNTIME = "if you must have it, name a ServingRuntime of your own in engine.name"
_KEYS = "name a Secret in access.apiKeysSecret"
DANGERS: Mapping[str, str] = {
    f"runs code that comes with the model; {_OWN_RUNTIME}": "--trust-remote-code --code-revision",
    f"loads code by name into the engine; {_OWN_RUNTIME}": """
        --middleware --worker-cls --worker-extension-cls --scheduler-cls --logits-processors --model-class-overrides
        --distributed-executor-backend --io-processor-plugin --tool-parser-plugin --reasoning-parser-plugin
        --structured-outputs-config --compilation-config -cc --kv-transfer-config --ec-transfer-config
        --ec-manager-config --logging-config --log-config-file --additional-config --model-loader-extra-config
        --tensor-buft-overrides --server-tools-runtime --video-ffmpeg-bin-dir
    """,
    f"reads further flags from a file, which nobody looks at; {_OWN_RUNTIME}": "--config",
    f"lets clients read files of the pod; {_OWN_RUNTIME}": """
        --allowed-local-media-path --media-path --public-path
    """,
    f"lets clients start programs or reach other hosts from the pod; {_OWN_RUNTIME}": """
        --tool-server --mcp-servers-config --mcp-servers-json --ui-mcp-proxy --ui-config-json
    """,
    f"opens a way into the engine that nothing guards; {_OWN_RUNTIME}": """
        --grpc --grpc-port --kv-events-config --weight-transfer-config --enable-scale-out --tokens-only
        --profiler-config --enable-offline-docs --server-base
    """,
    f"lets clients put the engine to sleep; {_OWN_RUNTIME}": """
        --enable-sleep-mode --sleep-mode-offload-cudagraph --sleep-preserve-parameter-names --enable-cumem-allocator
        --enable-nccl-comm-suspend
    """,
    f"lets a client's request end the engine or take its memory; {_OWN_RUNTIME}": """
        --enable-prompt-embeds --enable-mm-embeds --trust-request-chat-template --trust-request-mm-kwargs
        --h11-max-header-count --h11-max-incomplete-event-size
    """,
    f"shows clients what others ask, or how the engine is set up; {_OWN_RUNTIME}": """
        --slots --endpoint-slots --slot-save-path --enable-tokenizer-info-endpoint --enable-trace-replay
    """,
    f"lets clients change the engine's settings; {_OWN_RUNTIME}": """
        --props --endpoint-props --models-autoload --models-dir --models-max --models-preset --models-preset-hf
    """,
    f"writes what clients ask to files or logs; {_OWN_RUNTIME}": """
        --enable-log-requests --enable-log-outputs --enable-log-deltas --verbose-prompt --log-json --verbosity
        --path-prompts-log-dir --path-prompt-cache --prompt-cache-all --prompt-cache-ro --logits-file --save-logits
        --logits-output-dir --out-file
    """,
    f"shows the key to all who can read the pod; {_KEYS}": "--api-key",
    f"keeps out clients whose keys are right; {_KEYS}": "--api-key-file",
    "shows the token to all who can read the pod; name its Secret in model.credentialsSecret": "--hf-token",
    "hides the engine from its probes; end TLS at access.gateway": """
        --ssl-keyfile --ssl-certfile --ssl-key-file --ssl-cert-file --ssl-file-key --ssl-file-cert --ssl-ca-certs
        --ssl-cert-reqs --ssl-ciphers --enable-ssl-refresh
    """,
}

# --- what is let through ----------------------------------------------------------------------------------------------

_OF_VLLM = """
    --aggregate-engine-logging --all2all-backend --allow-credentials --allow-deprecated-quantization --allowed-headers
    --allowed-methods --allowed-origins --anthropic-disabled-thinking-effort --async-scheduling --attention-backend
    --attention-config -ac --aux-output-config --block-size --chat-template --chat-template-content-format
    --cohere-format --cohere-is-reasoning-model --collect-detailed-traces --config-format --convert
    --cp-kv-cache-interleave-size --cpu-distributed-timeout-seconds --cpu-offload-gb --cpu-offload-params
    --cudagraph-capture-sizes --cudagraph-metrics --custom-histogram-buckets --dbo-decode-token-threshold
    --dbo-prefill-token-threshold --dcp-comm-backend --dcp-kv-cache-interleave-size --dcp-q-replicate
    --decode-context-parallel-size -dcp --default-chat-template-kwargs --diffusion-config -dc
    --disable-access-log-for-endpoints --disable-cascade-attn --disable-chunked-mm-input --disable-custom-all-reduce
    --disable-fastapi-docs --disable-hybrid-kv-cache-manager --disable-sliding-window --disable-uvicorn-access-log
    --distributed-timeout-seconds --dtype --enable-auto-tool-choice --enable-batch-sharded-sampling
    --enable-chunked-prefill --enable-dbo --enable-ep-weight-filter --enable-eplb --enable-expert-parallel -ep
    --enable-flash-late-interaction --enable-flashinfer-autotune --enable-force-include-usage --enable-hc-sp
    --enable-layerwise-nvtx-tracing --enable-logging-iteration-details --enable-mamba-cache-stochastic-rounding
    --enable-mamba-shared-prefix-checkpoint --enable-mfu-metrics --enable-mixed-moe-lora-format
    --enable-moe-shared-loras --enable-per-request-metrics --enable-prompt-tokens-details --enable-request-id-headers
    --enable-return-routed-experts --enable-server-load-tracking --enable-shm-tensor-arena
    --enable-tower-connector-lora --enforce-eager --engram-config --eplb-config --exclude-tools-when-tool-choice-none
    --expert-placement-strategy --fail-on-environ-validation --fingerprint-mode --fingerprint-value
    --fully-sharded-loras --gdn-prefill-backend --generation-config --hf-config-path --hf-overrides --ignore-patterns
    --interleave-mm-strings --ir-op-priority --jit-monitor-mode --jit-monitor-verbose --kda-decode-backend
    --kda-prefill-backend --kernel-config --kv-cache-dtype-skip-layers --kv-cache-metrics --kv-cache-metrics-sample
    --kv-offloading-backend --kv-offloading-size --kv-sharing-fast-prefill --language-model-only --limit-mm-per-prompt
    --linear-backend --load-format --log-error-stack --log-level --logprobs-mode --long-prefill-token-threshold
    --long-prefill-token-threshold-adaptive --lora-dtype --lora-target-modules --mamba-backend --mamba-block-size
    --mamba-cache-dtype --mamba-cache-mode --mamba-cache-philox-rounds --mamba-ssm-cache-dtype --mamba-ssu-algorithm
    --max-cpu-loras --max-cudagraph-capture-size --max-log-len --max-logprobs --max-lora-cls-labels --max-lora-rank
    --max-loras --max-num-active-seqs --max-num-batched-tokens --max-num-queued-reqs --max-num-queued-tokens
    --max-num-scheduled-tokens --max-parallel-loading-workers --media-io-kwargs --mm-device-do-normalize
    --mm-encoder-attn-backend --mm-encoder-attn-dtype --mm-encoder-fp8-scale-path --mm-encoder-fp8-scale-save-margin
    --mm-encoder-fp8-scale-save-path --mm-encoder-only --mm-encoder-tp-mode --mm-hasher-algorithm
    --mm-ipc-gpu-memory-gb --mm-processor-cache-gb --mm-processor-cache-type --mm-processor-device
    --mm-processor-kwargs --mm-shm-cache-max-object-size-mb --mm-tensor-ipc --model-impl --moe-backend --numa-bind
    --numa-bind-cpus --numa-bind-nodes -O -O0 -O1 -O2 -O3 --offload-backend --offload-group-size --offload-num-in-group
    --offload-params --offload-prefetch-step --optimization-level --override-generation-config
    --per-request-spec-decode-metrics --pooler-config --prefill-schedule-interval --prefix-cache-retention-interval
    --prefix-caching-hash-algo --prefix-match-unit --pt-load-map-location --reasoning-config --reasoning-parser
    --renderer-num-workers --replayssm-buffer-len --response-role --return-sampling-mask --return-tokens-as-token-ids
    --runner --safetensors-load-strategy --safetensors-prefetch-block-size --safetensors-prefetch-num-threads
    --scheduler-reserve-full-isl --scheduling-policy --seed --show-hidden-metrics-for-version --skip-mm-profiling
    --skip-tokenizer-init --sparse-indexer-topk-backend --specialize-active-lora --stream-interval --swa-bounded-replay
    --tokenizer --tokenizer-mode --tool-call-parser --tool-strict-level --ubatch-size --use-fp64-gumbel --use-replayssm
    --use-tqdm-on-load --uvicorn-log-level --video-pruning-method --video-pruning-rate --watermark --watermark-config
"""
_OF_LLAMACPP = """
    --cache-prompt --chat-template --check-tensors --checkpoint-min-step --cls-sep --cont-batching
    --control-vector-layer-end --control-vector-layer-start --cors-credentials --cors-headers --cors-methods
    --cors-origins --cors-origins-explicit --ctx-shift --embd-normalize --embd-out --embd-sep --enable-chat-template
    --enable-reasoning --escape --force-pure-content-parser --grp-attn-n --grp-attn-w --image-max-tokens
    --image-min-tokens --kv-unified --kv-unified-per-slot --load-mtp --lora-init-without-apply --main-gpu
    --mmproj-use-gpu --moe-cache-size --mtmd-batch-max-tokens --n-batch --n-cache-reuse --n-ctx-checkpoints
    --n-gpu-layers --n-keep --n-outputs-max --n-outputs-max-per-seq --n-predict --n-ubatch --no-extra-bufts --no-host
    --no-kv-offload --no-mmproj --no-op-offload --no-perf --prefill-assistant --rope-freq-base --rope-freq-scale
    --show-timings --slot-prompt-similarity --special --swa-full --use-jinja --video-fps --video-timestamp-interval-ms
    --yarn-attn-factor --yarn-beta-fast --yarn-beta-slow --yarn-ext-factor --yarn-orig-ctx
"""
HARMLESS: Mapping[str, tuple[str, ...]] = {VLLM: tuple(_OF_VLLM.split()), LLAMACPP: tuple(_OF_LLAMACPP.split())}

# --- as one reads it --------------------------------------------------------------------------------------------------

REASONS: Mapping[str, tuple[str, ...]] = {
    **{f"is written by Slipway: set spec.{field} instead": tuple(names.split()) for field, names in FIELDS.items()},
    "is set by Slipway, which depends on it: leave it out": tuple(OURS.split()),
    **{f"is refused because it {why}": tuple(names.split()) for why, names in DANGERS.items()},
}
"""What is said of a flag that is refused, each with the flags of which it is said."""

REFUSED: tuple[str, ...] = tuple(sorted(name for names in REASONS.values() for name in names))
DANGEROUS: tuple[str, ...] = tuple(sorted(name for names in DANGERS.values() for name in names.split()))
