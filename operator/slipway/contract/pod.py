"""What the operator, the activator and slipway-runtime agree on about a model's pod.

Written by `make generate`; instead of this file, change
runtime-image/contract/pod.yaml.
"""

from __future__ import annotations

# Ports of the pod.
ENGINE_PORT = 8080  # the OpenAI API, and whatever else the engine serves to clients
RUNTIME_PORT = 8081  # slipway-runtime's own: the paths below

# Paths at the runtime's port.
STARTUP_PATH = "/startupz"  # 200 once the engine has answered for the first time
READY_PATH = "/readyz"  # 200 while requests are answered; with ?wait=SECONDS it waits for that
LIVE_PATH = "/livez"  # 503 when the engine makes no progress
INFO_PATH = "/info"
METRICS_PATH = "/metrics"  # of the runtime, the guard and the engine in one scrape

# What /info has as `measured`, as far as it is known; null until the pod is ready. The bytes are of one device;
# `devices` has `total` and `used` of each, in bytes, where the device of an engine on CPUs is its container.
MEASURED = "measured"
MEASURED_TOKENS = "kvTokens"  # that fit into the KV cache of the replica
MEASURED_BYTES = ("weights", "kvCache", "activation", "graphs")
MEASURED_DEVICES = "devices"

# What /info has as `usage`: what the pod has done so far, in numbers that only grow. The fields are described in
# docs/reference/runtime.md.
USAGE = "usage"

# What /info has as `parsers`: for each of these two, `parser`, the name of what finds them in the model's output, or
# null; and `reason`, a sentence on why this one, or why none.
PARSERS = "parsers"
PARSERS_OF_TOOL_CALLS = "toolCalls"
PARSERS_OF_REASONING = "reasoning"

# What /info has as `boundaries`: by ttft, tpot and e2e, the boundaries of the pod's histograms, in seconds. Pods of an
# older version may have others than those of buckets.py, or don't have this field.
BOUNDARIES = "boundaries"

# What /info has as `compileCache`: what became of the compile cache in this start. It always has a state and a reason,
# the sentence that a person reads; the other fields are null as long as they aren't known.
COMPILE_CACHE = "compileCache"
COMPILE_CACHE_STATES = ("Used", "Filling", "Filled", "Unavailable", "Off")
COMPILE_CACHE_USED = "Used"  # an entry was read; what was compiled nevertheless is in newFiles
COMPILE_CACHE_FILLING = "Filling"  # there was no entry: this start compiles, and what it compiled isn't published yet
COMPILE_CACHE_FILLED = "Filled"  # this start has compiled, and has published an entry for those that follow
COMPILE_CACHE_UNAVAILABLE = (
    "Unavailable"  # this start has compiled, and the next one has to, for the reason that is given
)
COMPILE_CACHE_OFF = "Off"  # there is no store, or the engine compiles nothing
# Its other fields: key, of the entry; bytes and files of what was read or published; readSeconds and publishSeconds,
# for that; compileSeconds, from the loaded weights to the end of the engine's profile run, in which it compiles;
# startSeconds, until the pod was ready; newFiles, the number of those that this start has compiled, and newest, a few
# of them; filledBy, with the compileSeconds and startSeconds of the start that had compiled what was read.

# Metrics of slipway-runtime that others read.
IN_FLIGHT_METRIC = "slipway_requests_in_flight"

# Where files are mounted.
MODEL_FOLDER = "/mnt/models"  # KServe puts the model there
ADAPTERS_FOLDER = "/mnt/adapters"
DRAFT_FOLDER = "/mnt/draft"
KEYS_FOLDER = "/etc/slipway/api-keys"
PUSH_FOLDER = "/etc/slipway/push"  # credentials for a registry, in Jobs that push
COMPILED_FOLDER = "/var/cache/slipway-compiled"  # the store of the compile cache, which outlives the pod

# The termination message: one line of JSON that starts with TERMINATION_START and has these fields, in this order.
# Kubernetes cuts a message that is longer than 4096 bytes, and half a line of JSON is useless; so it stays below that.
TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LIMIT = 4095  # bytes
TERMINATION_FIELDS = ("reason", "message", "remedy", "phase", "lines")
TERMINATION_START = '{"reason"'

# The termination message of a successful inspection: REPORT_START, then JSON that is compressed by zlib, in base 85.
# operator/slipway/models/inspected.py describes the JSON. The number is that of the format.
REPORT_START = "slipway-report-1:"
REPORT_LIMIT = 32768  # bytes of the JSON; what is larger after decompression isn't read

# The termination message of a Job that has pushed the compile cache as an image: PUSHED_START, then a JSON object with
# these fields. The name is REGISTRY/REPOSITORY@sha256:DIGEST; the key is the entry's name in the store.
PUSHED_START = "slipway-pushed-1:"
PUSHED_NAME = "image"
PUSHED_KEY = "key"
PUSHED_BYTES = "bytes"  # of the image

# The termination message of a fetcher that has ended well: FETCHED_START, then a JSON object with `folder`, `version`,
# `bytes` and `files`. While it runs, INFO_PATH at RUNTIME_PORT has FETCH: `bytes`, `total`, `bytesPerSecond`,
# `secondsLeft`, and why it waits (`waiting`); null is unknown.
FETCHED_START = "slipway-fetched-1:"
FETCH = "fetch"

# What a ServingRuntime that isn't Slipway's says about its engine, in annotations that KServe copies to the pods.
# The first two have the names that KServe's own runtimes use.
PORT_ANNOTATION = "prometheus.kserve.io/port"  # of the metrics, if it isn't the container's first port
PATH_ANNOTATION = "prometheus.kserve.io/path"  # of the metrics
IN_FLIGHT_ANNOTATION = "slipway.dev/in-flight"  # gauges: their sum is the number of requests that run or wait
PROGRESS_ANNOTATION = "slipway.dev/progress"  # counters: when one changes, the model was used
SILENT_ANNOTATION = (
    "slipway.dev/silent-until-used"  # "true": the engine has none of these metrics before its first request
)
DRAINS_FOR_ANNOTATION = "slipway.dev/drains-for"  # how long it continues with running requests after SIGTERM
OPTIONS_ANNOTATION = "slipway.dev/options"  # how it is given fields of the spec: FIELD=--flag or FIELD=VARIABLE
