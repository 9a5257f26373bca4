"""The engines' own flags, each judged once: which of them `extraArgs` may hold, and why not the others.

Written by `make generate`; instead of this file, change
runtime-image/contract/flags.yaml or that of an engine in slipway_runtime/engines.
"""

from __future__ import annotations

from collections.abc import Mapping

HARMLESS: Mapping[str, tuple[str, ...]] = {
    "vllm": tuple(
        """
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
    --enable-return-routed-experts --enable-server-load-tracking --enable-shm-tensor-arena --enable-tower-connector-lora
    --enforce-eager --engram-config --eplb-config --exclude-tools-when-tool-choice-none --expert-placement-strategy
    --fail-on-environ-validation --fingerprint-mode --fingerprint-value --fully-sharded-loras --gdn-prefill-backend
    --generation-config --hf-config-path --hf-overrides --ignore-patterns --interleave-mm-strings --ir-op-priority
    --jit-monitor-mode --jit-monitor-verbose --kda-decode-backend --kda-prefill-backend --kernel-config
    --kv-cache-dtype-skip-layers --kv-cache-metrics --kv-cache-metrics-sample --kv-offloading-backend
    --kv-offloading-size --kv-sharing-fast-prefill --language-model-only --limit-mm-per-prompt --linear-backend
    --load-format --log-error-stack --log-level --logprobs-mode --long-prefill-token-threshold
    --long-prefill-token-threshold-adaptive --lora-dtype --lora-target-modules --mamba-backend --mamba-block-size
    --mamba-cache-dtype --mamba-cache-mode --mamba-cache-philox-rounds --mamba-ssm-cache-dtype --mamba-ssu-algorithm
    --max-cpu-loras --max-cudagraph-capture-size --max-log-len --max-logprobs --max-lora-cls-labels --max-lora-rank
    --max-loras --max-num-active-seqs --max-num-batched-tokens --max-num-queued-reqs --max-num-queued-tokens
    --max-num-scheduled-tokens --max-parallel-loading-workers --media-io-kwargs --mm-device-do-normalize
    --mm-encoder-attn-backend --mm-encoder-attn-dtype --mm-encoder-fp8-scale-path --mm-encoder-fp8-scale-save-margin
    --mm-encoder-fp8-scale-save-path --mm-encoder-only --mm-encoder-tp-mode --mm-hasher-algorithm --mm-ipc-gpu-memory-gb
    --mm-processor-cache-gb --mm-processor-cache-type --mm-processor-device --mm-processor-kwargs
    --mm-shm-cache-max-object-size-mb --mm-tensor-ipc --model-impl --moe-backend --numa-bind --numa-bind-cpus
    --numa-bind-nodes -O -O0 -O1 -O2 -O3 --offload-backend --offload-group-size --offload-num-in-group --offload-params
    --offload-prefetch-step --optimization-level --override-generation-config --per-request-spec-decode-metrics
    --pooler-config --prefill-schedule-interval --prefix-cache-retention-interval --prefix-caching-hash-algo
    --prefix-match-unit --pt-load-map-location --reasoning-config --reasoning-parser --renderer-num-workers
    --replayssm-buffer-len --response-role --return-sampling-mask --return-tokens-as-token-ids --runner
    --safetensors-load-strategy --safetensors-prefetch-block-size --safetensors-prefetch-num-threads
    --scheduler-reserve-full-isl --scheduling-policy --seed --show-hidden-metrics-for-version --skip-mm-profiling
    --skip-tokenizer-init --sparse-indexer-topk-backend --specialize-active-lora --stream-interval --swa-bounded-replay
    --tokenizer --tokenizer-mode --tool-call-parser --tool-strict-level --ubatch-size --use-fp64-gumbel --use-replayssm
    --use-tqdm-on-load --uvicorn-log-level --video-pruning-method --video-pruning-rate --watermark --watermark-config
""".split()
    ),
    "llamacpp": tuple(
        """
    --cache-prompt --chat-template --chat-template-file --check-tensors --checkpoint-min-step --cls-sep --cont-batching
    --control-vector-layer-end --control-vector-layer-start --cors-credentials --cors-headers --cors-methods
    --cors-origins --cors-origins-explicit --ctx-shift --embd-normalize --embd-out --embd-sep --enable-chat-template
    --enable-reasoning --escape --force-pure-content-parser --grp-attn-n --grp-attn-w --image-max-tokens
    --image-min-tokens --kv-unified --kv-unified-per-slot --load-mtp --lora-init-without-apply --main-gpu
    --mmproj-use-gpu --moe-cache-size --mtmd-batch-max-tokens --n-batch --n-cache-reuse --n-ctx-checkpoints
    --n-gpu-layers --n-keep --n-outputs-max --n-outputs-max-per-seq --n-predict --n-ubatch --no-extra-bufts --no-host
    --no-kv-offload --no-mmproj --no-op-offload --no-perf --prefill-assistant --rope-freq-base --rope-freq-scale
    --show-timings --slot-prompt-similarity --special --swa-full --use-jinja --video-fps --video-timestamp-interval-ms
    --yarn-attn-factor --yarn-beta-fast --yarn-beta-slow --yarn-ext-factor --yarn-orig-ctx
""".split()
    ),
}
"""By engine, the flags that are allowed: all others are refused."""
WRITTEN: Mapping[str, tuple[str, ...]] = {
    "model.servedName": tuple(
        """
    --served-model-name --alias -a --model-alias
""".split()
    ),
    "model.revision": tuple(
        """
    --revision --tokenizer-revision
""".split()
    ),
    "engine.contextLength": tuple(
        """
    --max-model-len --ctx-size -c --n-ctx
""".split()
    ),
    "engine.maxConcurrency": tuple(
        """
    --max-num-seqs --parallel -np --n-parallel
""".split()
    ),
    "engine.quantization": tuple(
        """
    --quantization -q --quantization-config
""".split()
    ),
    "engine.kvCacheDtype": tuple(
        """
    --kv-cache-dtype --cache-type-k --cache-type-v -ctk -ctv
""".split()
    ),
    "engine.prefixCaching": tuple(
        """
    --enable-prefix-caching --no-enable-prefix-caching
""".split()
    ),
    "engine.speculative": tuple(
        """
    --speculative-config -sc --spec-method --spec-model --spec-tokens --model-draft -md
""".split()
    ),
    "engine.adapters": tuple(
        """
    --enable-lora --lora-modules --default-mm-loras --lora
""".split()
    ),
    "engine.parallelism.tensor": tuple(
        """
    --tensor-parallel-size -tp
""".split()
    ),
    "engine.parallelism.pipeline": tuple(
        """
    --pipeline-parallel-size -pp
""".split()
    ),
    "engine.mode": tuple(
        """
    --performance-mode
""".split()
    ),
    "engine.mediaDomains": tuple(
        """
    --allowed-media-domains
""".split()
    ),
    "observability.tracing.endpoint": tuple(
        """
    --otlp-traces-endpoint
""".split()
    ),
}
"""By field of the spec, the flags that the operator writes from it."""
REASONS: Mapping[str, tuple[str, ...]] = {
    "is written by Slipway: set spec.model.servedName instead": tuple(
        """
    --served-model-name --alias -a --model-alias
""".split()
    ),
    "is written by Slipway: set spec.model.revision instead": tuple(
        """
    --revision --tokenizer-revision
""".split()
    ),
    "is written by Slipway: set spec.engine.contextLength instead": tuple(
        """
    --max-model-len --ctx-size -c --n-ctx
""".split()
    ),
    "is written by Slipway: set spec.engine.maxConcurrency instead": tuple(
        """
    --max-num-seqs --parallel -np --n-parallel
""".split()
    ),
    "is written by Slipway: set spec.engine.quantization instead": tuple(
        """
    --quantization -q --quantization-config
""".split()
    ),
    "is written by Slipway: set spec.engine.kvCacheDtype instead": tuple(
        """
    --kv-cache-dtype --cache-type-k --cache-type-v -ctk -ctv
""".split()
    ),
    "is written by Slipway: set spec.engine.prefixCaching instead": tuple(
        """
    --enable-prefix-caching --no-enable-prefix-caching
""".split()
    ),
    "is written by Slipway: set spec.engine.speculative instead": tuple(
        """
    --speculative-config -sc --spec-method --spec-model --spec-tokens --model-draft -md
""".split()
    ),
    "is written by Slipway: set spec.engine.adapters instead": tuple(
        """
    --enable-lora --lora-modules --default-mm-loras --lora
""".split()
    ),
    "is written by Slipway: set spec.engine.parallelism.tensor instead": tuple(
        """
    --tensor-parallel-size -tp
""".split()
    ),
    "is written by Slipway: set spec.engine.parallelism.pipeline instead": tuple(
        """
    --pipeline-parallel-size -pp
""".split()
    ),
    "is written by Slipway: set spec.engine.mode instead": tuple(
        """
    --performance-mode
""".split()
    ),
    "is written by Slipway: set spec.engine.mediaDomains instead": tuple(
        """
    --allowed-media-domains
""".split()
    ),
    "is written by Slipway: set spec.observability.tracing.endpoint instead": tuple(
        """
    --otlp-traces-endpoint
""".split()
    ),
    "is set by Slipway, which depends on it: leave it out": tuple(
        """
    --host --port --uds --model --model-tag --root-path --headless --shutdown-timeout --api-server-count -asc
    --disable-log-stats --download-dir --sse-keep-alive-interval --gpu-memory-utilization --device-memory-utilization
    --kv-cache-memory-bytes --num-gpu-blocks-override --device-ids --data-parallel-size -dp --data-parallel-rank -dpn
    --data-parallel-start-rank -dpr --data-parallel-size-local -dpl --data-parallel-address -dpa
    --data-parallel-rpc-port -dpp --data-parallel-backend -dpb --data-parallel-hybrid-lb -dph
    --data-parallel-external-lb -dpe --data-parallel-multi-port-external-lb -dpm --data-parallel-supervisor-port
    --disable-nccl-for-dp-synchronization --dp-sync-interval --dp-supervisor-probe-failure-threshold
    --dp-supervisor-probe-interval-s --dp-supervisor-probe-timeout-s --enable-elastic-ep --elastic-ep-max-dp-size
    --enable-fault-tolerance --fault-tolerance-config --nnodes -n --node-rank -r --master-addr --master-port
    --prefill-context-parallel-size -pcp --ray-workers-use-nsight -m --hf-repo -hf --metrics --hostnames --api-prefix
    --cache-ram-mib --cache-idle-slots --check --embedding --endpoint-metrics --fit-params --fit-params-min-ctx
    --fit-params-print --is-gen-docs --n-threads-http --offline --reuse-port --sleep-idle-seconds --sse-ping-interval
    --timeout-read --timeout-write --ui --usage --warmup
""".split()
    ),
    "is refused because it runs code that comes with the model; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --trust-remote-code --code-revision
""".split()
    ),
    "is refused because it loads code by name into the engine; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --middleware --worker-cls --worker-extension-cls --scheduler-cls --logits-processors --model-class-overrides
    --distributed-executor-backend --io-processor-plugin --tool-parser-plugin --reasoning-parser-plugin
    --structured-outputs-config --compilation-config -cc --kv-transfer-config --ec-transfer-config --ec-manager-config
    --logging-config --log-config-file --additional-config --model-loader-extra-config --tensor-buft-overrides
    --server-tools-runtime --video-ffmpeg-bin-dir
""".split()
    ),
    "is refused because it reads further flags from a file, which Slipway doesn't check; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --config
""".split()
    ),
    "is refused because it lets clients read files of the pod; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --allowed-local-media-path --media-path --public-path
""".split()
    ),
    "is refused because it lets clients start programs or reach other hosts from the pod; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --tool-server --mcp-servers-config --mcp-servers-json --ui-mcp-proxy --ui-config-json
""".split()
    ),
    "is refused because it opens an unguarded way into the engine; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --grpc --grpc-port --kv-events-config --weight-transfer-config --enable-scale-out --tokens-only --profiler-config
    --enable-offline-docs --server-base
""".split()
    ),
    "is refused because it lets clients put the engine to sleep; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --enable-sleep-mode --sleep-mode-offload-cudagraph --sleep-preserve-parameter-names --enable-cumem-allocator
    --enable-nccl-comm-suspend
""".split()
    ),
    "is refused because it lets a client's request end the engine or use up its memory; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --enable-prompt-embeds --enable-mm-embeds --trust-request-chat-template --trust-request-mm-kwargs
    --h11-max-header-count --h11-max-incomplete-event-size
""".split()
    ),
    "is refused because it shows clients the requests of others, or the engine's settings; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --enable-tokenizer-info-endpoint --enable-trace-replay --slots --endpoint-slots --slot-save-path
""".split()
    ),
    "is refused because it lets clients change the engine's settings; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --props --endpoint-props --models-autoload --models-dir --models-max --models-preset --models-preset-hf
""".split()
    ),
    "is refused because it writes clients' requests to files or logs; if you need it, name a ServingRuntime of your own in engine.name": tuple(
        """
    --enable-log-requests --enable-log-outputs --enable-log-deltas --verbose-prompt --log-json --verbosity
    --path-prompts-log-dir --path-prompt-cache --prompt-cache-all --prompt-cache-ro --logits-file --save-logits
    --logits-output-dir --out-file
""".split()
    ),
    "is refused because it shows the key to everyone who can read the pod; name a Secret in access.apiKeysSecret": tuple(
        """
    --api-key
""".split()
    ),
    "is refused because it rejects clients with valid keys; name a Secret in access.apiKeysSecret": tuple(
        """
    --api-key-file
""".split()
    ),
    "is refused because it shows the token to everyone who can read the pod; name its Secret in model.credentialsSecret": tuple(
        """
    --hf-token
""".split()
    ),
    "is refused because it hides the engine from its probes; end TLS at access.gateway": tuple(
        """
    --ssl-keyfile --ssl-certfile --ssl-ca-certs --ssl-cert-reqs --ssl-ciphers --enable-ssl-refresh --ssl-key-file
    --ssl-cert-file --ssl-file-key --ssl-file-cert
""".split()
    ),
}
"""By what is said of them, the flags that are refused for a reason of their own."""
REFUSED: tuple[str, ...] = tuple(
    """
    --additional-config --alias --allowed-local-media-path --allowed-media-domains --api-key --api-key-file --api-prefix
    --api-server-count --cache-idle-slots --cache-ram-mib --cache-type-k --cache-type-v --check --code-revision
    --compilation-config --config --ctx-size --data-parallel-address --data-parallel-backend --data-parallel-external-lb
    --data-parallel-hybrid-lb --data-parallel-multi-port-external-lb --data-parallel-rank --data-parallel-rpc-port
    --data-parallel-size --data-parallel-size-local --data-parallel-start-rank --data-parallel-supervisor-port
    --default-mm-loras --device-ids --device-memory-utilization --disable-log-stats
    --disable-nccl-for-dp-synchronization --distributed-executor-backend --download-dir
    --dp-supervisor-probe-failure-threshold --dp-supervisor-probe-interval-s --dp-supervisor-probe-timeout-s
    --dp-sync-interval --ec-manager-config --ec-transfer-config --elastic-ep-max-dp-size --embedding
    --enable-cumem-allocator --enable-elastic-ep --enable-fault-tolerance --enable-log-deltas --enable-log-outputs
    --enable-log-requests --enable-lora --enable-mm-embeds --enable-nccl-comm-suspend --enable-offline-docs
    --enable-prefix-caching --enable-prompt-embeds --enable-scale-out --enable-sleep-mode --enable-ssl-refresh
    --enable-tokenizer-info-endpoint --enable-trace-replay --endpoint-metrics --endpoint-props --endpoint-slots
    --fault-tolerance-config --fit-params --fit-params-min-ctx --fit-params-print --gpu-memory-utilization --grpc
    --grpc-port --h11-max-header-count --h11-max-incomplete-event-size --headless --hf-repo --hf-token --host
    --hostnames --io-processor-plugin --is-gen-docs --kv-cache-dtype --kv-cache-memory-bytes --kv-events-config
    --kv-transfer-config --log-config-file --log-json --logging-config --logits-file --logits-output-dir
    --logits-processors --lora --lora-modules --master-addr --master-port --max-model-len --max-num-seqs
    --mcp-servers-config --mcp-servers-json --media-path --metrics --middleware --model --model-alias
    --model-class-overrides --model-draft --model-loader-extra-config --model-tag --models-autoload --models-dir
    --models-max --models-preset --models-preset-hf --n-ctx --n-parallel --n-threads-http --nnodes
    --no-enable-prefix-caching --node-rank --num-gpu-blocks-override --offline --otlp-traces-endpoint --out-file
    --parallel --path-prompt-cache --path-prompts-log-dir --performance-mode --pipeline-parallel-size --port
    --prefill-context-parallel-size --profiler-config --prompt-cache-all --prompt-cache-ro --props --public-path
    --quantization --quantization-config --ray-workers-use-nsight --reasoning-parser-plugin --reuse-port --revision
    --root-path --save-logits --scheduler-cls --served-model-name --server-base --server-tools-runtime
    --shutdown-timeout --sleep-idle-seconds --sleep-mode-offload-cudagraph --sleep-preserve-parameter-names
    --slot-save-path --slots --spec-method --spec-model --spec-tokens --speculative-config --sse-keep-alive-interval
    --sse-ping-interval --ssl-ca-certs --ssl-cert-file --ssl-cert-reqs --ssl-certfile --ssl-ciphers --ssl-file-cert
    --ssl-file-key --ssl-key-file --ssl-keyfile --structured-outputs-config --tensor-buft-overrides
    --tensor-parallel-size --timeout-read --timeout-write --tokenizer-revision --tokens-only --tool-parser-plugin
    --tool-server --trust-remote-code --trust-request-chat-template --trust-request-mm-kwargs --uds --ui
    --ui-config-json --ui-mcp-proxy --usage --verbose-prompt --verbosity --video-ffmpeg-bin-dir --warmup
    --weight-transfer-config --worker-cls --worker-extension-cls -a -asc -c -cc -ctk -ctv -dp -dpa -dpb -dpe -dph -dpl
    -dpm -dpn -dpp -dpr -hf -m -md -n -np -pcp -pp -q -r -sc -tp
""".split()
)
"""Those of REASONS in alphabetical order."""
DANGEROUS: tuple[str, ...] = tuple(
    """
    --additional-config --allowed-local-media-path --api-key --api-key-file --code-revision --compilation-config
    --config --distributed-executor-backend --ec-manager-config --ec-transfer-config --enable-cumem-allocator
    --enable-log-deltas --enable-log-outputs --enable-log-requests --enable-mm-embeds --enable-nccl-comm-suspend
    --enable-offline-docs --enable-prompt-embeds --enable-scale-out --enable-sleep-mode --enable-ssl-refresh
    --enable-tokenizer-info-endpoint --enable-trace-replay --endpoint-props --endpoint-slots --grpc --grpc-port
    --h11-max-header-count --h11-max-incomplete-event-size --hf-token --io-processor-plugin --kv-events-config
    --kv-transfer-config --log-config-file --log-json --logging-config --logits-file --logits-output-dir
    --logits-processors --mcp-servers-config --mcp-servers-json --media-path --middleware --model-class-overrides
    --model-loader-extra-config --models-autoload --models-dir --models-max --models-preset --models-preset-hf
    --out-file --path-prompt-cache --path-prompts-log-dir --profiler-config --prompt-cache-all --prompt-cache-ro --props
    --public-path --reasoning-parser-plugin --save-logits --scheduler-cls --server-base --server-tools-runtime
    --sleep-mode-offload-cudagraph --sleep-preserve-parameter-names --slot-save-path --slots --ssl-ca-certs
    --ssl-cert-file --ssl-cert-reqs --ssl-certfile --ssl-ciphers --ssl-file-cert --ssl-file-key --ssl-key-file
    --ssl-keyfile --structured-outputs-config --tensor-buft-overrides --tokens-only --tool-parser-plugin --tool-server
    --trust-remote-code --trust-request-chat-template --trust-request-mm-kwargs --ui-config-json --ui-mcp-proxy
    --verbose-prompt --verbosity --video-ffmpeg-bin-dir --weight-transfer-config --worker-cls --worker-extension-cls -cc
""".split()
)
"""Those of them that open a hole, whatever the engine."""
