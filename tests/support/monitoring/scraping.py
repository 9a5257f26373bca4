"""PodMonitors → Prometheus' scrape configuration, as the Prometheus operator translates them (its 0.8x, promcfg.go).

Pure. What this translation doesn't know is refused, so that no test passes because a field was left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from support.builders.objects import Object

LIMITS = ("sampleLimit", "targetLimit", "labelLimit", "labelNameLengthLimit", "labelValueLengthLimit")
KNOWN_MONITOR = {"selector", "podMetricsEndpoints", "podTargetLabels", "jobLabel", *LIMITS}
KNOWN_ENDPOINT = {
    "port",
    "portNumber",
    "path",
    "scheme",
    "params",
    "interval",
    "scrapeTimeout",
    "honorLabels",
    "honorTimestamps",
    "relabelings",
    "metricRelabelings",
}
POD = "__meta_kubernetes_pod"


class UnknownFieldError(Exception):
    """The Prometheus operator would do something with it that this translation doesn't."""


def scrape_configs(monitors: Iterable[Object], pods: Path, *, interval: str = "") -> list[Object]:
    """Returns a scrape configuration for each endpoint of each PodMonitor.

    `pods` has a file with the targets of each namespace, by `discovery`. `interval` replaces that of all endpoints.
    """
    return [each for monitor in monitors for each in _of_monitor(monitor, pods, interval)]


def _of_monitor(monitor: Object, pods: Path, interval: str) -> Iterator[Object]:
    spec = monitor["spec"]
    _refuse_others(spec, KNOWN_MONITOR, "a PodMonitor's spec")
    for number, endpoint in enumerate(spec["podMetricsEndpoints"]):
        _refuse_others(endpoint, KNOWN_ENDPOINT, "an endpoint of a PodMonitor")
        yield _of_endpoint(monitor["metadata"], spec, endpoint, number, pods, interval)


def _of_endpoint(metadata: Object, spec: Object, endpoint: Object, number: int, pods: Path, interval: str) -> Object:
    namespace, name = metadata["namespace"], metadata["name"]
    every = interval or endpoint.get("interval", "30s")
    return {
        "job_name": f"podMonitor/{namespace}/{name}/{number}",
        "honor_labels": endpoint.get("honorLabels", False),
        "honor_timestamps": endpoint.get("honorTimestamps", True),
        "file_sd_configs": [{"files": [str(pods / f"{namespace}.json")]}],
        "scrape_interval": every,
        "scrape_timeout": every if interval else endpoint.get("scrapeTimeout", "10s"),
        "metrics_path": endpoint.get("path", "/metrics"),
        "scheme": endpoint.get("scheme", "http"),
        "params": endpoint.get("params", {}),
        **{limit: spec[limit] for limit in LIMITS if limit in spec},
        "relabel_configs": [
            {"sourceLabels": ["job"], "targetLabel": "__tmp_prometheus_job_name"},
            {"action": "drop", "sourceLabels": [f"{POD}_phase"], "regex": "(Failed|Succeeded)"},
            *_selected(spec["selector"]),
            _on_port(endpoint),
            {"sourceLabels": ["__meta_kubernetes_namespace"], "targetLabel": "namespace"},
            {"sourceLabels": [f"{POD}_container_name"], "targetLabel": "container"},
            {"sourceLabels": [f"{POD}_name"], "targetLabel": "pod"},
            *_pod_labels(spec.get("podTargetLabels", [])),
            {"targetLabel": "job", "replacement": f"{namespace}/{name}"},
            *_job_label(spec.get("jobLabel")),
            {"targetLabel": "endpoint", "replacement": str(endpoint.get("port") or endpoint.get("portNumber"))},
            *endpoint.get("relabelings", []),
        ],
        "metric_relabel_configs": list(endpoint.get("metricRelabelings", [])),
    }


def in_prometheus_words(config: Any) -> Any:
    """Rewrites the relabelings' names, as `sourceLabels` → `source_labels`; their actions are in lower case."""
    if isinstance(config, list):
        return [in_prometheus_words(each) for each in config]
    if not isinstance(config, dict):
        return config
    renamed = {re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", key): value for key, value in config.items()}
    if "action" in renamed:
        renamed["action"] = renamed["action"].lower()
    return {
        key: in_prometheus_words(value) if key in ("relabel_configs", "metric_relabel_configs") else value
        for key, value in renamed.items()
    }


# --- which pods ------------------------------------------------------------------------------------------------------


def _selected(selector: Object) -> Iterator[Object]:
    for key, value in sorted(selector.get("matchLabels", {}).items()):
        yield _keep(key, f"({re.escape(value)});true")
    for expression in selector.get("matchExpressions", []):
        key, operator = expression["key"], expression["operator"]
        values = "|".join(map(re.escape, expression.get("values", [])))
        if operator == "In":
            yield _keep(key, f"({values});true")
        elif operator == "NotIn":
            yield _keep(key, f"({values});true") | {"action": "drop"}
        elif operator in ("Exists", "DoesNotExist"):
            action = "keep" if operator == "Exists" else "drop"
            yield {"action": action, "sourceLabels": [_label(key, present=True)], "regex": "true"}
        else:
            raise UnknownFieldError(f"operator {operator} of a selector")


def _keep(key: str, regex: str) -> Object:
    return {"action": "keep", "sourceLabels": [_label(key), _label(key, present=True)], "regex": regex}


def _on_port(endpoint: Object) -> Object:
    """Only containers that declare the port."""
    if "port" in endpoint:
        return {"action": "keep", "sourceLabels": [f"{POD}_container_port_name"], "regex": endpoint["port"]}
    number = str(endpoint["portNumber"])
    return {"action": "keep", "sourceLabels": [f"{POD}_container_port_number"], "regex": number}


def _pod_labels(keys: list[str]) -> list[Object]:
    return [{"sourceLabels": [_label(key)], "targetLabel": cleaned(key), "regex": "(.+)"} for key in keys]


def _job_label(key: str | None) -> list[Object]:
    return [{"sourceLabels": [_label(key)], "targetLabel": "job", "regex": "(.+)"}] if key else []


def _label(key: str, *, present: bool = False) -> str:
    return f"{POD}_label{'present' if present else ''}_{cleaned(key)}"


def cleaned(key: str) -> str:
    """Returns a key of Kubernetes as a part of a Prometheus label."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)


def _refuse_others(given: Object, known: set[str], where: str) -> None:
    if others := sorted(given.keys() - known):
        raise UnknownFieldError(f"{', '.join(others)} of {where}")
