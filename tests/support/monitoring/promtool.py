"""promtool: it checks rules, and runs tests of them as Prometheus would evaluate them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

from support.monitoring.programs import ensure


@cache
def promtool() -> Path:
    found = default_cache()
    return ensure(found, Steps(found)).promtool


def check(rules: Path) -> str:
    """Returns what promtool has to say against a file of rules; empty if nothing."""
    return _errors("check", "rules", rules)


def check_configuration(file: Path) -> str:
    """Returns what promtool has to say against a configuration of Prometheus; empty if nothing."""
    return _errors("check", "config", file)


def run_tests(rules: Mapping[str, Any], tests: Mapping[str, Any], folder: Path) -> str:
    """Runs the `tests` of a file for promtool with these rules, and returns the errors; empty if there are none."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
    told = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "30s",
        "group_eval_order": [group["name"] for group in rules["groups"]],  # random otherwise
        **tests,
    }
    (folder / "tests.yaml").write_text(yaml.safe_dump(told))
    return _errors("test", "rules", folder / "tests.yaml")


def needed_for(alert: str, rules: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the rules of one alert, and the recording rules that they need: a test of days evaluates each of them
    thousands of times."""
    names, found = {alert}, []
    for group in reversed(rules["groups"]):
        kept = []
        for rule in reversed(group["rules"]):
            if rule.get("alert", rule.get("record")) in names:
                names |= set(re.findall(r"slipway:[a-z0-9_:]+", rule["expr"]))
                kept.append(rule)
        if kept:
            found.append({**group, "rules": kept[::-1]})
    return {"groups": found[::-1]}


def _errors(*arguments: str | Path) -> str:
    done = subprocess.run([promtool(), *arguments], capture_output=True, text=True, check=False)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""
