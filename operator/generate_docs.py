"""Writes the tables of docs/reference/ from the code that they describe: reasons, flags, metrics, what may be asked."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import api_reference
import click
from slipway.activator.main import main as activator
from slipway.activator.metrics import FOLLOWING, OF_MODELS, WAITING, WHOLE
from slipway.api import mounts, variables
from slipway.api.names import METRICS_PREFIX
from slipway.api.reasons import ConditionType, Reason, State
from slipway.contract.flags import HARMLESS, REASONS
from slipway.contract.pages import PAGES
from slipway.kube.metrics import WatchMetrics
from slipway.nodecache.main import main as node_cache
from slipway.nodecache.metrics import NodeCacheMetrics
from slipway.operator.reconciling.main import main as operator
from slipway.operator.reconciling.metrics import OperatorMetrics
from slipway.process.exposition import Description
from slipway.process.metrics import MetricsRegistry

ROOT = Path(__file__).parent.parent
REFERENCE, RUNBOOKS = ROOT / "docs/reference", ROOT / "runbooks"


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    (REFERENCE / "status.md").write_text(_status())
    (REFERENCE / "fields.md").write_text(api_reference.page())
    (REFERENCE / "operator.md").write_text(_operator())
    (REFERENCE / "activator.md").write_text(_activator())
    (REFERENCE / "node-cache.md").write_text(_node_cache())
    (REFERENCE / "extra-args.md").write_text(_extra_args())
    (REFERENCE / "pod.md").write_text(_pod())


def _status() -> str:
    reasons = ((_with_runbook(reason), reason.meaning, "yes" if reason.is_final else "") for reason in Reason)
    codes = ((f"`{code}`", _with_runbook(page)) for code, page in PAGES.items() if code not in {*Reason})
    return _page(
        "What the status of an LLMDeployment says",
        "`kubectl get llm` shows the state, `kubectl describe llm NAME` all of it.",
        "## States",
        _table(("state", "meaning"), ((f"`{each}`", each.meaning) for each in State)),
        "## Conditions",
        "All but the last two are good when `True`. Argo CD, Flux and `kubectl wait` read those two.",
        _table(("condition", "meaning"), ((f"`{each}`", each.meaning) for each in ConditionType)),
        "## Reasons",
        "Conditions, events and metrics use the same words. Final: waiting doesn't help, a person has to act.",
        _table(("reason", "meaning", "final"), reasons),
        "## Codes of errors",
        "The `code` of an error that a client gets is one of the reasons above, or one of these; the message says what "
        "is wrong with the request, or with the model.",
        _table(("code", "runbook"), codes),
    )


def _with_runbook(name: str) -> str:
    """The name, which leads to the page where there is one."""
    return f"[`{name}`](../../runbooks/{name}.md)" if (RUNBOOKS / f"{name}.md").exists() else f"`{name}`"


def _extra_args() -> str:
    let_through = ((f"`{engine}`", _names(flags)) for engine, flags in HARMLESS.items())
    refused = ((_names(flags), f"{why[0].upper()}{why[1:]}.") for why, flags in REASONS.items())
    return _page(
        "What `engine.extraArgs` may hold",
        "Each item is one whole argument: `--seed=1`, or `--enforce-eager`. The flags are those of vLLM 0.32, and "
        "for llama.cpp the parameters of xllamacpp. Abbreviations are not accepted, and a flag that is in neither "
        "list is refused. A ServingRuntime of your own takes any argument but the dangerous ones.",
        "## Allowed",
        "Each `--x` that is a switch also as `--no-x`.",
        _table(("engine", "flags"), let_through),
        "## Refused",
        _table(("flags", "why"), refused),
    )


def _pod() -> str:
    refused = ((_names(_readable(names)), f"{why[0].upper()}{why[1:]}.") for why, names in variables.REASONS.items())
    return _page(
        "What `pod.env` and `pod.volumeMounts` may hold",
        "To Slipway's own engines, vllm and llamacpp, goes what is known to be harmless. Their images have hundreds of "
        "packages, each with variables and folders of its own from which it takes code, compilers or settings, and the "
        "next version brings others: so what isn't in a list here is refused. A ServingRuntime of your own takes any "
        "variable and any folder but the dangerous ones.",
        "## Folders for volumes of Slipway's engines",
        "Each with all that is below it; `*` stands for any one name.",
        " ".join(f"`{place}`" for place in mounts.PLACES),
        f"Kept for what is there already: {' '.join(f'`{place}`' for place in mounts.KEPT)}",
        "## Variables of Slipway's engines",
        f"Those that begin with {' '.join(f'`{name}`' for name in variables.BEGINNINGS)}, but for what is refused "
        "below. Those with `APP_` are yours: no program in the images reads them. And these:",
        _names(variables.NAMES),
        f"Secrets are given by `valueFrom` alone: {' '.join(f'`{name}`' for name in variables.SECRETS)}",
        "## Refused for every engine",
        "`*` stands for any letters. Of these, the ones above are let through nonetheless.",
        _table(("variables", "why"), refused),
        "## Folders refused to volumes of other runtimes",
        " ".join(f"`{place}`" for place in (*mounts.TAKEN, *mounts.KEPT)),
        f"And these themselves: {' '.join(f'`{place}`' for place in mounts.ABOVE)}",
    )


def _readable(patterns: Iterable[str]) -> Iterable[str]:
    """As people write them: a pattern finds the beginning of a name, unless it ends with `$`."""
    for pattern in patterns:
        name = pattern.replace("[A-Z0-9_]*", "*").replace("[A-Z_]*", "*")
        yield name.removesuffix("$") if name.endswith("$") else f"{name}*"


def _names(flags: Iterable[str]) -> str:
    return " ".join(f"`{flag}`" for flag in sorted(flags))


def _flags(program: click.Command) -> str:
    """Of all its flags that have a variable: --help and --version have none."""
    options = [each for each in program.params if isinstance(each, click.Option) and each.envvar]
    rows = ((f"`{each.opts[0]}`", f"`{each.envvar}`", _default_of(each), each.help or "") for each in options)
    return _table(("flag", "variable", "default", "meaning"), rows)


def _default_of(option: click.Option) -> str:
    return option.show_default if isinstance(option.show_default, str) else str(option.default or "")


def _activator() -> str:
    return _page(
        "The activator",
        "`slipway-activator` runs as a Deployment of two or more replicas, each of which holds requests. Every model "
        "has a port of its own there, from 20000 to 29999. Which one is whose, the operator writes into the ConfigMaps "
        "`slipway-activator-ports-NN` of Slipway's own namespace; what is written elsewhere counts for nothing.",
        "## Flags",
        "Each can be set by its variable as well; the flag wins. A value that can't be right is refused at the start.",
        _flags(activator),
        "## Headers of answers",
        _table(
            ("header", "meaning"),
            (
                ("`Slipway-Held-Ms`", "the answer came through the activator, and waited so long for a replica"),
                ("`Retry-After`", "with 429, 503 and 504: the seconds after which a replica should be there"),
            ),
        ),
        "## Management port",
        _table(
            ("path", "meaning"),
            (
                ("`/livez`", "503 when watches have missed changes for a minute: a restart helps"),
                ("`/readyz`", "503 until the caches are filled and KEDA is answered"),
                ("`/metrics`", "for Prometheus"),
            ),
        ),
        "## Metrics",
        _table(("metric", "kind", "labels", "meaning"), _described(_metrics_of_activator())),
    )


def _metrics_of_activator() -> Iterable[Description]:
    registry = MetricsRegistry(METRICS_PREFIX)
    watches = WatchMetrics(registry)
    watches.watch_ages(dict)
    watches.unfilled_caches(lambda: 0)
    return [*WAITING, *FOLLOWING, *OF_MODELS, *WHOLE, *registry.descriptions]


def _operator() -> str:
    return _page(
        "The operator",
        "`slipway-operator` runs as a Deployment of two replicas; a Lease decides which of them leads.",
        "## Flags",
        "Each can be set by its variable as well; the flag wins. A value that can't be right is refused at the start.",
        _flags(operator),
        "## Management port",
        _table(
            ("path", "meaning"),
            (
                ("`/livez`", "503 when watches have missed changes for a minute: a restart helps"),
                ("`/readyz`", "503 until the caches are filled"),
                ("`/metrics`", "for Prometheus"),
            ),
        ),
        "## Metrics",
        _table(("metric", "kind", "labels", "meaning"), _described(_metrics_of_operator())),
    )


def _node_cache() -> str:
    registry = MetricsRegistry(METRICS_PREFIX)
    NodeCacheMetrics(registry, "")
    return _page(
        "The node plugin",
        "`slipway-node-cache` runs on each node, as a DaemonSet, if the chart's value `modelCache.node.enabled` is "
        "true. It is a CSI driver, `models.slipway.dev`, for inline volumes of pods. [The cache of "
        "models](../model-cache.md) says what it is for.",
        "## Flags",
        "Each can be set by its variable as well; the flag wins. A value that can't be right is refused at the start.",
        _flags(node_cache),
        "## Attributes of a volume",
        _table(
            ("attribute", "meaning"),
            (
                (
                    "`keys`",
                    "the models that the pod uses, separated by commas: while the pod is there, they are not removed. "
                    "Each is a folder of that name: `0123456789abcdef` or `0123456789abcdef-01234567`",
                ),
            ),
        ),
        "## Management port",
        _table(
            ("path", "meaning"),
            (
                ("`/livez`", "200 as long as the process runs"),
                ("`/readyz`", "503 until the kubelet has registered the driver"),
                ("`/metrics`", "for Prometheus"),
            ),
        ),
        "## Metrics",
        _table(("metric", "kind", "labels", "meaning"), _described(registry.descriptions)),
    )


def _metrics_of_operator() -> Iterable[Description]:
    registry = MetricsRegistry(METRICS_PREFIX)
    metrics = OperatorMetrics(registry)
    metrics.queue.watch_queue(depth=lambda: 0, oldest=lambda: 0)
    metrics.watches.watch_ages(dict)
    metrics.watches.unfilled_caches(lambda: 0)
    metrics.watch_models(dict)
    metrics.watch_compile_caches(dict)
    metrics.watch_model_caches(dict)
    metrics.watch_each_model(list)
    metrics.watch_prices(dict)
    return registry.descriptions


def _described(descriptions: Iterable[Description]) -> Iterable[Sequence[str]]:
    for each in descriptions:
        yield f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), each.help


def _page(title: str, *paragraphs: str) -> str:
    return (
        "\n\n".join(
            [f"# {title}", "<!-- Written by `make generate`; change what it describes instead. -->", *paragraphs]
        )
        + "\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
