"""Writes docs/reference/runtime.md from the code that it describes: options, paths, exit codes, metrics."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from slipway_runtime import cli
from slipway_runtime.contract.flags import REASONS
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.control import Counts
from slipway_runtime.engines.llamacpp import FOREIGN
from slipway_runtime.engines.vllm import DANGEROUS_VARIABLES
from slipway_runtime.guard.metrics import Metrics
from slipway_runtime.guard.routes import SERVED, Kind
from slipway_runtime.preflight.checks import CHECKS
from slipway_runtime.supervisor.metrics import own_metrics
from slipway_runtime.supervisor.phases import Phases
from slipway_runtime.supervisor.state import State

PAGE = Path(__file__).parent.parent / "docs/reference/runtime.md"

Rows = Iterable[Sequence[str]]

STATES = {
    State.STARTING: "The engine loads.",
    State.READY: "Requests are answered.",
    State.LEAVING: "Asked to stop. Requests are still answered, until no Service leads here any more.",
    State.DRAINING: "New requests get 503; those in flight are finished.",
    State.CUTTING: "Requests that outlast the drain end with an error.",
    State.STOPPING: "The engine is asked to end, or killed.",
    State.ENDED: "The engine has ended.",
}
PATHS = {
    "/startupz": "200 once the engine has answered for the first time",
    "/readyz": "200 while requests are answered and the pod isn't stopping; `?wait=10` waits up to 10 s for it",
    "/livez": "503 when the engine makes no progress; the pod then ends on its own, with the reason",
    "/info": "versions, facts of the model, flags with their reasons, capacity, phases with their times, as JSON",
    "/metrics": "the runtime's metrics, the guard's and the engine's, in one scrape",
}
WHO = {
    Kind.OPEN: "everyone",
    Kind.KEYED: "clients with a key",
    Kind.LIMITED: "clients with a key, within the limits",
    Kind.WORK: "clients with a key, within the limits; counted and measured",
}


def main() -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n\n".join(page()) + "\n")


def page() -> Iterator[str]:
    yield "# The runtime in a model's pod"
    yield "<!-- Written by `make generate`; change what it describes instead. -->"
    yield "`slipway-runtime` is process 1 of a model's pod: it checks, starts the engine, watches it, and ends it."
    yield "## Commands"
    yield table(("command", "meaning"), commands())
    for engine in ("llamacpp", "vllm"):
        yield f"## `slipway-runtime serve {engine}`"
        yield table(("option", "default", "meaning"), options(engine))
    yield "## Flags and variables of engines that are refused"
    yield (
        "Also refused is every flag that is in none of Slipway's lists, is abbreviated, or has JSON that loads code\n"
        "by name. Flags that the operator writes may be given once. `serve vllm` allows what `--allow=NAME` names,\n"
        "for people who run the image without the operator; the operator never gives that option."
    )
    yield table(("flags", "why"), refused())
    yield table(("variable of vLLM", "why"), ((f"`{each.name}`", each.why) for each in DANGEROUS_VARIABLES))
    yield table(
        ("variable of llama.cpp", "why"), ((f"`{each}…`", "it changes llama.cpp unchecked") for each in FOREIGN)
    )
    yield "## Checks before the start"
    yield "They run one by one before the engine is started; the first that fails ends the pod with its reason."
    yield "\n".join(f"- {check.__name__.replace('_', ' ')}" for check in CHECKS)
    yield "## States"
    yield table(("state", "meaning"), ((f"`{state}`", STATES[state]) for state in State))
    yield "## Management port"
    yield table(("path", "answer"), ((f"`{path}`", meaning) for path, meaning in PATHS.items()))
    yield "## Paths that are served"
    yield "All others get 404, whatever the engine would answer. A key is needed if `--api-keys` is given."
    yield table(("path", "for whom"), ((f"`{r.method} {r.path}`", WHO[r.kind]) for r in SERVED))
    yield "## Exit codes"
    yield "0 after being asked to stop. Otherwise, the termination message is a line of JSON that names the reason."
    yield table(("code", "reason", "meaning"), ((str(each.exit_code), f"`{each}`", each.meaning) for each in Reason))
    yield "## Metrics"
    yield "The engine's metrics are shown next to these, under their own names."
    yield table(("metric", "kind", "labels", "meaning"), metrics())


def refused() -> Rows:
    for why, flags in sorted(REASONS.items()):
        yield " ".join(f"`{flag}`" for flag in sorted(flags)), why


def commands() -> Rows:
    [action] = [each for each in cli.parser()._actions if isinstance(each, argparse._SubParsersAction)]
    for choice in action._choices_actions:
        yield f"`{choice.dest}`", choice.help or ""


def options(engine: str) -> Rows:
    parser = cli.parser()
    for word in ("serve", engine):
        [action] = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        parser = action.choices[word]
    for each in parser._actions:
        if each.option_strings[0] != "-h":
            default = "" if each.default in (None, []) else f"`{each.default}`"
            yield f"`{each.option_strings[-1]}`", default, each.help or ""


def metrics() -> Rows:
    text = own_metrics(
        labels={"engine": "", "engine_version": ""},
        state=State.READY,
        moments=Phases().moments,
        counts=Counts(),
        silence=0.0,
        scraped=True,
        dropped=0,
    )
    for family in (*text_string_to_metric_families(text), *of_the_guard()):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation


def of_the_guard() -> Iterator[Metric]:
    registry = CollectorRegistry()
    counted = Metrics(registry, "")
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
