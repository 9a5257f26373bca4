"""How models wake: how long, in which phase, and what failed."""

from __future__ import annotations

from slipway_monitoring.dashboards.panels import (
    EACH_MODEL,
    Dashboard,
    Panel,
    Query,
    Row,
    by_model,
    grown_in_an_hour,
    in_namespaces,
    or_zero_of_each,
)

HELD = in_namespaces("slipway_activator_hold_seconds_bucket")


CLIENTS = Row(
    "What clients notice",
    (
        Panel(
            title="Requests held",
            description="Requests that wait for a replica, by model. Each peak should end within the expected cold "
            "start. One that doesn't: see wakes that failed, below.",
            unit="short",
            stacked=True,
            queries=(
                Query(
                    or_zero_of_each(by_model("sum", in_namespaces("slipway:requests_held"))),
                    EACH_MODEL,
                ),
            ),
        ),
        Panel(
            title="How long requests were held",
            description="Of the requests that were held and then forwarded. p95 above the expected cold start: starts "
            "have become slower, see the phases below.",
            unit="s",
            queries=tuple(
                Query(f"histogram_quantile({quantile}, sum by (le) (rate({HELD}[5m])))", f"p{quantile}")
                for quantile in (0.5, 0.95, 0.99)
            ),
        ),
    ),
)

STARTS = Row(
    "Starts",
    (
        Panel(
            title="Last cold start, by phase",
            description="How long the last start of each model took in each phase. The longest one is where to look: "
            "image, model files, loading, compiling. docs/start-and-stop.md explains each.",
            unit="s",
            queries=(
                Query(
                    f"{in_namespaces('slipway:cold_start_seconds', phase='~.+')} unless "
                    f"{in_namespaces('slipway:cold_start_seconds', phase='total')}",
                    f"{EACH_MODEL} {{{{phase}}}}",
                ),
            ),
        ),
        Panel(
            title="Last cold start and the expected one",
            description="Total of the last start by model, and what is expected of the next. Far above the expected "
            "one: see the runbook of SlipwayColdStartSlow.",
            unit="s",
            queries=(
                Query(in_namespaces("slipway:cold_start_seconds", phase="total"), EACH_MODEL),
                Query(by_model("max", in_namespaces("slipway_expected_cold_start_seconds")), f"expected {EACH_MODEL}"),
            ),
        ),
        Panel(
            title="Wakes",
            description="Wakes from zero in the last hour, by result. Any failed one cost its clients an error: see "
            "the runbook of SlipwayWakeFailing.",
            unit="short",
            queries=(Query(grown_in_an_hour("slipway_wakes_total", "result"), "{{result}}"),),
        ),
        Panel(
            title="Failures of pods",
            description="Starts and pods that failed in the last hour, by cause. None is normal. "
            "docs/reference/status.md has a line for each cause with what to do.",
            unit="short",
            stacked=True,
            queries=(
                Query(
                    grown_in_an_hour("slipway_pod_failures_total", "reason"),
                    "{{reason}}",
                    healthy_empty="no pod has failed",
                ),
            ),
        ),
        Panel(
            title="Compiled code",
            description="Pods by what became of their compile cache. Pods that compile at each start waste minutes: "
            "see docs/compile-cache.md. Only vLLM compiles.",
            unit="short",
            stacked=True,
            queries=(Query(f"sum by (state) ({in_namespaces('slipway_runtime_compile_cache_state')})", "{{state}}"),),
        ),
        Panel(
            title="Oldest request held",
            description="How long the oldest request of each model has waited so far. It reaches "
            "spec.scaling.hold.timeout: its client gets a 503 with the reason.",
            unit="s",
            queries=(
                Query(
                    or_zero_of_each(by_model("max", in_namespaces("slipway_activator_oldest_hold_seconds"))),
                    EACH_MODEL,
                ),
            ),
        ),
    ),
)

COLD_STARTS = Dashboard(
    uid="slipway-cold-starts",
    title="Slipway: cold starts",
    description="How models wake: how long requests are held, which phase takes the time, and what failed.",
    selects="namespaces",
    rows=(CLIENTS, STARTS),
)
