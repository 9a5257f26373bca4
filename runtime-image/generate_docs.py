"""Writes docs/reference/runtime.md from the code that it describes: options, paths, exit codes, metrics."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from slipway_runtime import cli
from slipway_runtime.compiled.cache import EXAMPLE, FIELDS, STATES
from slipway_runtime.contract.flags import REASONS
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.control import Counts
from slipway_runtime.engines.llamacpp import FOREIGN
from slipway_runtime.engines.vllm import DANGEROUS_VARIABLES
from slipway_runtime.guard.metrics import GuardMetrics
from slipway_runtime.guard.routes import SERVED
from slipway_runtime.preflight.checks import CHECKS
from slipway_runtime.supervisor.management import PATHS
from slipway_runtime.supervisor.metrics import own_metrics
from slipway_runtime.supervisor.phases import PhaseRecorder
from slipway_runtime.supervisor.state import PodState
from slipway_runtime.supervisor.usage import FIELDS as USAGE_FIELDS

PAGE = Path(__file__).parent.parent / "docs/reference/runtime.md"

Rows = Iterable[Sequence[str]]


def main() -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n\n".join(page()) + "\n")


def page() -> Iterator[str]:
    yield "# The runtime in a model's pod"
    yield "<!-- Written by `make generate`; change what it describes instead. -->"
    yield "`slipway-runtime` is process 1 of a model's pod: it checks, starts, watches and stops the engine."
    yield "## Commands"
    yield table(("command", "meaning"), commands())
    for engine in ("llamacpp", "vllm"):
        yield f"## `slipway-runtime serve {engine}`"
        yield table(("option", "default", "meaning"), options("serve", engine))
    yield "## `slipway-runtime warm vllm`"
    yield "It has the same options, and:"
    served = set(options("serve", "vllm"))
    yield table(("option", "default", "meaning"), (each for each in options("warm", "vllm") if each not in served))
    yield "## Flags and variables of engines that are refused"
    yield (
        "A flag is also refused if it is in no list of Slipway, is abbreviated, or has JSON that loads code by name.\n"
        "Flags that the operator sets may be given once. `serve vllm` accepts what `--allow=NAME` names: that is for\n"
        "people who run the image without the operator, which never passes that option."
    )
    yield table(("flags", "why"), refused())
    yield table(("variable of vLLM", "why"), ((f"`{each.name}`", each.why) for each in DANGEROUS_VARIABLES))
    yield table(
        ("variable of llama.cpp", "why"),
        ((f"`{each}…`", "it changes llama.cpp in ways that no check sees") for each in FOREIGN),
    )
    yield "## Checks before the start"
    yield "They run one after the other before the engine starts; the first that fails ends the pod with its reason."
    yield "\n".join(f"- {check.__name__.replace('_', ' ')}" for check in CHECKS)
    yield "## States"
    yield table(("state", "meaning"), ((f"`{state}`", state.meaning) for state in PodState))
    yield "## Management port"
    yield table(("path", "answer"), ((f"`{path}`", handler.__doc__ or "") for path, handler in PATHS.items()))
    yield "## What `/info` says of the compile cache"
    yield "It is in `compileCache`. A field is null as long as it isn't known. [More](../compile-cache.md)"
    yield table(("state", "meaning"), ((f"`{state}`", meaning) for state, meaning in STATES.items()))
    yield table(("field", "meaning"), ((f"`{name}`", meaning) for name, meaning in FIELDS.items()))
    yield "## What `/info` says of usage"
    yield "It is in `usage`. All numbers are of this pod since its start."
    yield table(("field", "meaning"), ((f"`{name}`", meaning) for name, meaning in USAGE_FIELDS.items()))
    yield "## Paths that are served"
    yield "All other paths get 404, whatever the engine would answer. Keys are required where `--api-keys` is set."
    yield table(("path", "callers"), ((f"`{r.method} {r.path}`", r.kind.callers) for r in SERVED))
    yield "## Exit codes"
    yield "0 after a stop signal. With any other code, the termination message is a line of JSON that names the reason."
    yield table(("code", "reason", "meaning"), ((str(each.exit_code), f"`{each}`", each.meaning) for each in Reason))
    yield "## Metrics"
    yield "The engine's metrics keep their own names and are served next to these."
    yield table(("metric", "kind", "labels", "meaning"), metrics())


def refused() -> Rows:
    for why, flags in sorted(REASONS.items()):
        yield " ".join(f"`{flag}`" for flag in sorted(flags)), why


def commands() -> Rows:
    [action] = [each for each in cli.parser()._actions if isinstance(each, argparse._SubParsersAction)]
    for choice in action._choices_actions:
        yield f"`{choice.dest}`", choice.help or ""


def options(command: str, engine: str) -> Iterator[tuple[str, str, str]]:
    parser = cli.parser()
    for word in (command, engine):
        [action] = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        parser = action.choices[word]
    for each in parser._actions:
        if each.option_strings[0] != "-h":
            default = "" if each.default in (None, []) else f"`{each.default}`"
            yield f"`{each.option_strings[-1]}`", default, each.help or ""


def metrics() -> Rows:
    text = own_metrics(
        labels={"engine": "", "engine_version": ""},
        state=PodState.READY,
        phases=PhaseRecorder(),
        counts=Counts(),
        silence=0.0,
        scraped=True,
        dropped=0,
        compiled=EXAMPLE,
    )
    for family in (*text_string_to_metric_families(text), *of_the_guard()):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation


def of_the_guard() -> Iterator[Metric]:
    registry = CollectorRegistry()
    counted = GuardMetrics(registry, "", in_place_of_engine=True)
    counted.answered("", "", 200)
    counted.refused("", "")
    counted.of("")
    counted.in_flight.inc()
    counted.spans("sent", 1)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return (family for family in families if not family.name.endswith("_created"))


def table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
