"""Prometheus and Alertmanager as processes, and the questions of a test to them.

with monitoring(programs, folder, network, rules=rules, scrapes=scrapes) as found:
    found.value("sum(up)")
    found.receiver.until("SlipwayModelFailed", "firing", within=60)
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_devcluster.cluster import DIES_WITH_US

from support.builders.objects import Object
from support.monitoring.network import HERE, LOOPBACK, Network
from support.monitoring.programs import Programs
from support.monitoring.receiver import Receiver, receiving
from support.monitoring.scraping import in_prometheus_words
from support.programs.processes import ended, until

EVERY = "1s"  # how often everything is scraped and evaluated, unless a rule's group says otherwise
STARTS_WITHIN = 30.0
WITH_ITS_FILES = 'mount -t overlay overlay -o "lowerdir=$1:/usr/share" /usr/share && shift && exec "$@"'
"""Alertmanager reads its templates from /usr/share only: it gets a view of its own of that folder."""


@dataclass(frozen=True)
class Sample:
    """One series of an instant query's result."""

    labels: Mapping[str, str]
    value: float


@dataclass
class Monitoring:
    """A running Prometheus that sends its alerts through Alertmanager to `receiver`."""

    folder: Path
    network: Network
    port: int
    receiver: Receiver
    alertmanager: int  # its port
    process: subprocess.Popen[bytes] | None = None
    _config: str = field(default="", repr=False)

    # --- configuration ----------------------------------------------------------------------------------------------

    def configure(self, *, rules: Mapping[str, Object], scrapes: Sequence[Object]) -> None:
        """Writes the configuration, and makes Prometheus load it if it has changed. `rules`: contents by file name."""
        config = {
            "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
            "rule_files": [str(self.folder / name) for name in sorted(rules)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{LOOPBACK}:{self.alertmanager}"]}]}]},
            "scrape_configs": in_prometheus_words(list(scrapes)),
        }
        whole = json.dumps([config, rules])
        if whole == self._config:
            return
        for name, content in rules.items():
            (self.folder / name).write_text(json.dumps(content))  # JSON is YAML
        (self.folder / "prometheus.yml").write_text(json.dumps(config))
        self._config = whole
        if self.process:
            status, said = self.network.post(self.port, "/-/reload")
            assert status == 200, f"Prometheus refused its configuration: {said}"

    # --- questions --------------------------------------------------------------------------------------------------

    def ask(self, path: str, **parameters: str) -> Any:
        status, body = self.network.get(self.port, f"/api/v1/{path}", **parameters)
        found = json.loads(body)
        assert status == 200, f"{path} {parameters}: {found.get('error', body)}"
        return found["data"]

    def query(self, promql: str) -> list[Sample]:
        found = self.ask("query", query=promql)
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in found["result"]]

    def value(self, promql: str) -> float | None:
        """Returns the value of the only series, or None if there is none."""
        found = self.query(promql)
        assert len(found) <= 1, f"{promql} has {len(found)} series: {found[:3]}"
        return found[0].value if found else None

    def until_data(self, promql: str, *, within: float) -> None:
        """Waits until the query has a value; NaN is none."""
        self.until(
            lambda: any(not math.isnan(sample.value) for sample in self.query(promql)),
            within=within,
            what=f"data for {promql}",
        )

    def alerts(self) -> list[Object]:
        """Returns pending and firing alerts."""
        found: list[Object] = self.ask("alerts")["alerts"]
        return found

    def until_quiet(self, alert: str, *, within: float) -> None:
        """Waits until it neither fires nor is about to: while it does, another cause makes no new notification."""
        self.until(
            lambda: alert not in {each["labels"]["alertname"] for each in self.alerts()},
            within=within,
            what=f"the end of {alert}",
        )

    def targets(self) -> list[Object]:
        found: list[Object] = self.ask("targets", state="active")["activeTargets"]
        return found

    def rules(self) -> list[Object]:
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def until(self, holds: Callable[[], object], *, within: float, what: str = "") -> None:
        """Polls, since Prometheus sends no events."""
        deadline = time.monotonic() + within
        while not holds():
            assert time.monotonic() < deadline, f"{what or 'the condition'} did not hold within {within:.0f} s"
            time.sleep(0.2)

    def report_sections(self) -> Iterator[tuple[str, str]]:
        """Returns what a failed test shows."""
        with suppress(OSError, AssertionError):
            yield "alerts of Prometheus", json.dumps(self.alerts(), indent=1)
            down = [(each["labels"], each["lastError"]) for each in self.targets() if each["health"] != "up"]
            yield "targets that Prometheus can't scrape", "\n".join(map(str, down))
        for path in sorted(self.folder.glob("*.log")):
            yield path.name, "\n".join(path.read_text(errors="replace").splitlines()[-30:])


@contextmanager
def monitoring(
    programs: Programs,
    folder: Path,
    network: Network = HERE,
    *,
    rules: Mapping[str, Object],
    scrapes: Sequence[Object] = (),
) -> Iterator[Monitoring]:
    """Runs both programs with these rules; everything of them is in `folder`, and ends with the block."""
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving(network))
        alertmanager = stack.enter_context(_alertmanager(programs, folder, network, receiver.url))
        found = Monitoring(folder, network, network.free_port(), receiver, alertmanager)
        found.configure(rules=rules, scrapes=scrapes)
        stack.enter_context(_prometheus(programs, found))
        yield found


@contextmanager
def _alertmanager(programs: Programs, folder: Path, network: Network, url: str) -> Iterator[int]:
    """Passes each alert on immediately and alone; yields the port."""
    port = network.free_port()
    route = {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    config = {
        "route": {**route, "repeat_interval": "24h"},
        "receivers": [{"name": "test", "webhook_configs": [{"url": url, "send_resolved": True}]}],
    }
    file = folder / "alertmanager.yml"
    file.write_text(json.dumps(config))
    own_view = ["unshare", "--mount", "sh", "-c", WITH_ITS_FILES, "view", str(programs.share)]
    flags = [f"--config.file={file}", f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address="]
    command: list[str | Path] = [*own_view, programs.alertmanager, *flags, f"--web.listen-address={LOOPBACK}:{port}"]
    with _process(command, folder / "alertmanager.log", network, port):
        yield port


@contextmanager
def _prometheus(programs: Programs, found: Monitoring) -> Iterator[None]:
    flags = [
        f"--config.file={found.folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={found.folder / 'prometheus'}",
        f"--web.listen-address={LOOPBACK}:{found.port}",
        "--web.enable-lifecycle",
        "--enable-feature=exemplar-storage",
    ]
    log = found.folder / "prometheus.log"
    with _process([programs.prometheus, *flags], log, found.network, found.port) as found.process:
        yield


@contextmanager
def _process(
    command: Sequence[str | Path], log: Path, network: Network, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*DIES_WITH_US, *network.inside, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "GOMAXPROCS": "2"},
        )
        with ended(process):
            until(lambda: _is_ready(network, port), process, f"the program of {log}", within=STARTS_WITHIN)
            yield process
            assert process.poll() is None, f"the program of {log} has ended: {signal.strsignal(-process.returncode)}"


def _is_ready(network: Network, port: int) -> bool:
    try:
        return network.get(port, "/-/ready")[0] == 200
    except OSError:
        return False
