"""One model: what became of its requests, its latency compared with its objectives, its engine, its replicas."""

from __future__ import annotations

from functools import partial

from slipway_monitoring.dashboards.panels import Dashboard, Panel, Query, Row, of_model, stat


def at_zero(expr: str) -> str:
    """Shows 0 where a model has no series because it has no replicas, or because nothing has happened yet."""
    return f"{expr} or 0 * sum({of_model('slipway_llmdeployment_info')})"


def sums(metric: str, **labels: str) -> str:
    return f"sum({of_model(metric, **labels)})"


def largest(metric: str, **labels: str) -> str:
    """One series, whichever replica of the operator exposes it."""
    return f"max({of_model(metric, **labels)})"


def quantiles(metric: str) -> tuple[Query, ...]:
    expr = f"{of_model(f'slipway:{metric}_seconds:quantile', quantile='~0.5|0.95|0.99')}"
    return (Query(expr, "p{{quantile}}"),)


def with_traces(histogram: str) -> tuple[Query, ...]:
    """The pods' own histogram, whose exemplars are points in the graph that lead to traces."""
    buckets = of_model(f"{histogram}_bucket")
    expr = f"histogram_quantile(0.95, sum by (le) (rate({buckets}[5m])))"
    return (Query(expr, "p95 by the pods' guard, with traces", exemplars=True),)


def latency(title: str, metric: str, description: str, slo: str = "", traced: str = "") -> Panel:
    target = (Query(largest("slipway_slo_boundary_seconds", slo=slo), "objective"),) if slo else ()
    return Panel(
        title=title,
        description=description,
        unit="s",
        queries=(*quantiles(metric), *target, *(with_traces(traced) if traced else ())),
        target="objective" if slo else "",
    )


now = partial(stat, width=4)


NOW = Row(
    "Now",
    (
        Panel(
            title="State",
            description="The state of the LLMDeployment and its reason. Failed and Degraded need someone: `kubectl "
            "describe llm` says what to do, and docs/reference/status.md lists every reason.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(
                Query(f"max by (state, reason) ({of_model('slipway_llmdeployment_state')})", "{{state}} {{reason}}"),
            ),
        ),
        now(
            "Replicas ready",
            "Replicas that serve. 0 is normal for a model that sleeps; fewer than wanted for minutes is not: see "
            "Replicas below.",
            "short",
            of_model("slipway:replicas", kind="ready"),
        ),
        now(
            "Requests held",
            "Requests that wait for a replica. It should be back at 0 within the expected cold start; if it stays up, "
            "look at the dashboard of cold starts.",
            "short",
            at_zero(sums("slipway:requests_held")),
            warning=1,
        ),
        now(
            "Within objectives",
            "Goodput: the share of requests of the last 5 minutes that met all objectives of spec.slo, as far as the "
            "histograms can show it. Below 95 % users notice: the rows below show which objective is missed.",
            "percentunit",
            of_model("slipway:goodput:ratio5m"),
        ),
        now(
            "Failed requests",
            "Share of requests of the last 5 minutes that failed by no fault of the client. Anything above 0.1 % for "
            "long is an outage to someone: see Requests by status.",
            "percentunit",
            of_model("slipway:request_errors:ratio5m"),
            warning=0.001,
            critical=0.01,
        ),
        now(
            "Cost per hour",
            "What its replicas cost per hour now, by the prices of their accelerator profiles. 0 while it sleeps. A "
            "value while no one uses it means that minReplicas or idleAfter keep it awake: see the dashboard of cost.",
            "short",
            of_model("slipway:cost:per_hour"),
        ),
    ),
)

WALK = Row(
    "A request's walk: held, queue, prefill, decode",
    (
        Panel(
            title="Where requests are",
            description="Held by the activator, waiting in the engine, running in it. Waiting above 0 for minutes "
            "while running is at its limit: the replica is saturated, so raise maxReplicas or lower the load. Held "
            "for minutes: no replica gets ready, see the dashboard of cold starts.",
            unit="short",
            stacked=True,
            queries=(
                Query(at_zero(sums("slipway:requests_held")), "held"),
                Query(at_zero(sums("slipway:requests_waiting")), "waiting"),
                Query(at_zero(sums("slipway:requests_running")), "running"),
            ),
        ),
        Panel(
            title="How long each step takes (p95)",
            description="Time that 95 % of requests stay below, by step; the steps' p95 do not add up to that of the "
            "whole. A growing queue: too few replicas. A growing first token without a queue: longer prompts, or a "
            "lost prefix cache. A growing whole alone: longer answers.",
            unit="s",
            queries=(
                Query(
                    "histogram_quantile(0.95, sum by (le) "
                    f"(rate({of_model('slipway_activator_hold_seconds_bucket')}[5m])))",
                    "held",
                ),
                Query(of_model("slipway:queue_seconds:quantile", quantile="0.95"), "queue"),
                Query(of_model("slipway:ttft_seconds:quantile", quantile="0.95"), "first token (queue and prefill)"),
                Query(of_model("slipway:e2e_seconds:quantile", quantile="0.95"), "whole (with decode)"),
            ),
        ),
        Panel(
            title="Requests by status",
            description="Answers per second by HTTP status. 5xx are failures of ours; 429 are refused by a limit; "
            "other 4xx are the clients' mistakes.",
            unit="reqps",
            stacked=True,
            queries=(Query(of_model("slipway:requests:rate5m"), "{{code}}"),),
        ),
        Panel(
            title="Tokens per second",
            description="Tokens read and written per second by all replicas, and what the plan expects them to write "
            "when full, where it knows. Output far below the plan while requests wait: see the runbook of "
            "SlipwayThroughputBelowPlan.",
            unit="suffix: tokens/s",
            queries=(
                Query(of_model("slipway:prompt_tokens:rate5m"), "in"),
                Query(of_model("slipway:output_tokens:rate5m"), "out"),
                Query(
                    f"{largest('slipway_planned_decode_tokens_per_second')} * "
                    f"{largest('slipway:replicas', kind='ready')}",
                    "planned",
                    healthy_empty="the plan knows no speed of this accelerator",
                ),
            ),
            target="planned",
        ),
    ),
)

LATENCY = Row(
    "Latency compared with its objectives",
    (
        latency(
            "Time to the first token",
            "ttft",
            "From the request to the first token. p95 above the dashed line of spec.slo.ttftP95: the budget burns. "
            "Compare with the queue in the row above. Points are requests with a trace.",
            "ttft",
            "slipway_time_to_first_token_seconds",
        ),
        latency(
            "Time per output token",
            "tpot",
            "Mean time per token of each request, after the first. It grows with the batch: above the dashed line of "
            "spec.slo.tpotP95, lower maxConcurrency or add replicas.",
            "tpot",
        ),
        latency(
            "Time between tokens",
            "itl",
            "Each gap between two tokens. A p99 far above p50 means pauses in streams: other requests' prefill, or "
            "preemptions.",
        ),
        latency(
            "Whole request",
            "e2e",
            "From the request to its last byte; it grows with the length of the answers. Above the dashed line of "
            "spec.slo.e2eP99: first look at the two panels above. Points are requests with a trace.",
            "e2e",
            "slipway_request_seconds",
        ),
        Panel(
            title="How fast error budgets burn",
            description="By objective, over the last hour: at 1, the budget of spec.slo.window is spent exactly at "
            "its end. Above 14.4, one of 30 days is spent within two: the alerts of burning budgets have a runbook "
            "for each objective.",
            unit="short",
            warning=1,
            critical=14.4,
            queries=(Query(of_model("slipway:slo_burn:rate1h"), "{{slo}}"),),
        ),
        Panel(
            title="Error budget left",
            description="By objective, over the next longer of 1, 7 and 30 days to spec.slo.window. Below 0, more "
            "requests have missed the objective than it allows: change less, or scale up.",
            unit="percentunit",
            minimum=None,
            queries=(Query(of_model("slipway:slo_budget_left:ratio"), "{{slo}} {{window}}"),),
        ),
    ),
)

ENGINE = Row(
    "Engine",
    (
        Panel(
            title="Batch",
            description="Sequences that the engine computed together, and the limit of the plan. At the limit with "
            "requests waiting: saturated. Far below it with slow tokens: not a matter of load.",
            unit="short",
            queries=(
                Query(of_model("slipway:batch_size:mean5m"), "mean batch"),
                Query(largest("slipway_planned_max_concurrency"), "limit of a replica"),
            ),
            target="limit of a replica",
        ),
        Panel(
            title="KV cache and prefix cache",
            description="Share of the KV cache in use, and share of prompt tokens found in the prefix cache. KV near "
            "100 % is healthy until requests are preempted. A collapse of the hit rate makes first tokens slow. "
            "llama.cpp doesn't show the first.",
            unit="percentunit",
            maximum=1,
            queries=(
                Query(of_model("slipway:kv_cache_usage:ratio"), "KV cache used"),
                Query(of_model("slipway:prefix_cache_hits:ratio5m"), "prompt tokens from the prefix cache"),
            ),
        ),
        Panel(
            title="Preemptions",
            description="Requests per second that lost their place in the KV cache and are computed again. Anything "
            "above 0 destroys work: lower contextLength or maxConcurrency, or add memory. Only engines that count "
            "them have this.",
            unit="ops",
            queries=(Query(of_model("slipway:preemptions:rate5m"), "preemptions"),),
        ),
        Panel(
            title="Speculative decoding",
            description="Share of drafted tokens that were accepted. Above 80 % is excellent, 60 to 80 % good, 40 to "
            "60 % marginal; below 40 %, switch spec.engine.speculative off. Only models with it have this.",
            unit="percentunit",
            maximum=1,
            width=6,
            queries=(Query(of_model("slipway:speculative_acceptance:ratio5m"), "accepted"),),
        ),
        Panel(
            title="Tokens per step of speculation",
            description="Tokens that each step of the model yields with speculative decoding; 1 is what it yields "
            "without. Close to 1: drafting costs more than it gains, so switch it off.",
            unit="short",
            width=6,
            queries=(Query(of_model("slipway:speculative_accepted_length:mean5m"), "tokens per step"),),
        ),
        Panel(
            title="GPU memory",
            description="Memory in use on the GPUs of its pods. Close to the size of the device is normal: vLLM "
            "reserves it.",
            unit="bytes",
            queries=(Query(of_model("slipway:gpu_memory_used:bytes"), "used"),),
            needs="NVIDIA's DCGM exporter",
        ),
        Panel(
            title="GPU utilization",
            description="Share of the time in which its GPUs computed. Low with requests waiting: the limit is "
            "elsewhere, such as the CPU or the network. Low without requests: the device is paid for and idle.",
            unit="percentunit",
            maximum=1,
            queries=(Query(of_model("slipway:gpu_utilization:ratio"), "busy"),),
            needs="NVIDIA's DCGM exporter",
        ),
    ),
)

REPLICAS = Row(
    "Replicas and cold start",
    (
        Panel(
            title="Replicas",
            description="Wanted, ready and warming, between the spec's limits. Wanted at max for long: raise "
            "maxReplicas, or the model is too slow. Warming for longer than the expected cold start: see its pods.",
            unit="short",
            queries=(Query(of_model("slipway:replicas"), "{{kind}}"),),
        ),
        Panel(
            title="Last cold start, by phase",
            description="How long the last start took, by phase. The longest phase is where to look: pulling an image, "
            "fetching the model, loading it or compiling. docs/start-and-stop.md explains each.",
            unit="s",
            queries=(
                Query(of_model("slipway:cold_start_seconds", phase="~.+"), "{{phase}}"),
                Query(largest("slipway_expected_cold_start_seconds"), "expected"),
            ),
            target="expected",
        ),
    ),
)

DEPLOYMENT = Dashboard(
    uid="slipway-deployment",
    title="Slipway: one model",
    description="A request's walk, latency, engine, replicas and cold start of one LLMDeployment.",
    selects="model",
    rows=(NOW, WALK, LATENCY, ENGINE, REPLICAS),
)
