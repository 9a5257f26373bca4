"""The scrape configuration that docs/monitoring.md shows for a Prometheus without its operator."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from support.builders.objects import Object

PAGE = Path(__file__).parents[3] / "docs/monitoring.md"
DISCOVERY = "kubernetes_sd_configs"


def scrape_jobs(pods: Path) -> list[Object]:
    """Returns the jobs, with service discovery by the files in the folder `pods`: `support.monitoring.discovery`."""
    [shown] = re.findall(r"```yaml\n# prometheus\.yml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [_by_files(job, pods) for job in yaml.safe_load(shown)["scrape_configs"]]


def _by_files(job: Object, pods: Path) -> Object:
    [discovery] = job.pop(DISCOVERY)
    assert discovery.pop("role") == "pod"
    names = discovery.pop("namespaces", {"names": ["*"]})["names"]
    assert not discovery, f"files can't do this: {discovery}"
    return job | {"file_sd_configs": [{"files": [str(pods / f"{name}.json") for name in names]}]}
