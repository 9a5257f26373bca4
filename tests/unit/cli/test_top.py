"""`top`: what it computes of metrics, where each value is from, and what it shows without a right."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from slipway_cli.cluster.metrics import Reading, between, quantile, rate, reading_of, series_in
from slipway_cli.cluster.state import State
from slipway_cli.cluster.usage import History, held_in, use_of
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl
from support.programs.terminal import Ran, in_pipe, in_terminal
from support.repository import ROOT

EXPOSITIONS = ROOT / "monitoring/expositions"
POD = ("chat", "m-1")
LLAMACPP: dict[str, Any] = {"engine": {"name": "llamacpp"}}
PATH = "/api/v1/namespaces/{}/pods/{}:8081/proxy/metrics"
METRICS = """\
llamacpp:requests_processing 2
slipway_requests_queued{model_name="m"} 1
llamacpp:tokens_predicted_total 100
slipway_time_to_first_token_seconds_bucket{le="0.1",model_name="m"} 0
slipway_time_to_first_token_seconds_bucket{le="0.2",model_name="m"} 10
slipway_time_to_first_token_seconds_bucket{le="+Inf",model_name="m"} 10
"""
HELD = 'slipway_activator_held{namespace="chat",llmdeployment="m"} 3\n'


def activator() -> dict[str, Any]:
    pod = cli_worlds.pod("slipway-activator-1", "none", namespace="slipway-system", labels={})
    return {**pod, "spec": {"containers": [{"name": "activator"}]}}


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    return FakeKubectl(
        tmp_path,
        [
            cli_worlds.deployment("m", status=cli_worlds.SERVING, spec=LLAMACPP),
            cli_worlds.deployment("asleep", status=cli_worlds.IDLE, spec=LLAMACPP),
            cli_worlds.pod("m-1", "m"),
            activator(),
        ],
        metrics={PATH.format(*POD): METRICS, PATH.format("slipway-system", "slipway-activator-1"): HELD},
    )


def top(kubectl: FakeKubectl, *arguments: str) -> Ran:
    return in_pipe(["slipway", "top", "--interval=500ms", *arguments], env=kubectl.env)


def test_it_shows_the_busiest_first_with_what_the_metrics_say(kubectl: FakeKubectl) -> None:
    found = top(kubectl)
    assert (found.code, found.err) == (0, "")
    header, first, second, *rest = found.lines
    assert header.split("  ")[0] == "NAME"
    assert first.split() == ["m", "Serving", "1/1", "3", "3", "0.0", "195ms*", "-", "-"]
    assert second.split() == ["asleep", "Idle", "0/0", "0", "0", "0.0", "-", "-", "-"]
    assert rest == ["*: since the pods started; in the last minute no request has ended."]


def test_a_document_says_where_each_value_is_from(kubectl: FakeKubectl) -> None:
    parsed = json.loads(top(kubectl, "-o", "json").out)
    assert parsed["kind"] == "Top"
    [m] = [each for each in parsed["items"] if each["name"] == "m"]
    assert (m["inFlight"], m["held"], m["timesOf"]) == (3, 3, "sincePodsStarted")
    assert parsed["sources"]["perHour"] == "status.cost.perHour"
    assert top(kubectl, "-o", "name", "--sort-by=name").lines[0] == "llmdeployment.slipway.dev/asleep"


@pytest.mark.parametrize(
    ("failures", "metrics", "said"),
    [
        (
            {"/api/v1/namespaces/chat/pods": "Error from server (Forbidden): no"},
            True,
            "the right to list pods in namespace chat is missing",
        ),
        (
            {"/api/v1/namespaces/slipway-system/pods": "Error from server (Forbidden): no"},
            True,
            "HELD: the right to list pods in namespace slipway-system is missing",
        ),
        ({}, False, "the right to get pods/proxy in namespace chat is missing"),
    ],
)
def test_without_a_right_a_column_is_empty_and_the_right_is_named(
    kubectl: FakeKubectl, failures: dict[str, str], metrics: bool, said: str
) -> None:
    kubectl.failures = failures
    if not metrics:
        kubectl.metrics = {}
    found = top(kubectl)
    assert found.code == 0
    assert said in found.text
    assert "-" in found.lines[1].split()


def test_one_model_can_be_named(kubectl: FakeKubectl) -> None:
    assert [line.split()[0] for line in top(kubectl, "m").lines[:2]] == ["NAME", "m"]
    assert "asleep" not in top(kubectl, "m").text
    assert top(kubectl, "none").code == 3
    assert top(kubectl, "m", "-A").code == 2


def test_another_installation_is_named(kubectl: FakeKubectl) -> None:
    found = top(kubectl, "--slipway-namespace=elsewhere")
    assert "HELD: there is no activator in namespace elsewhere" in found.text


def test_a_model_that_is_not_well_is_exit_code_1(kubectl: FakeKubectl) -> None:
    kubectl.objects.append(cli_worlds.deployment("ill", status=cli_worlds.FAILED, spec=LLAMACPP))
    assert top(kubectl).code == 1
    assert top(kubectl, "-n", "empty").code == 0


@pytest.mark.parametrize("interval", ["0s", "2h", "soon"])
def test_an_interval_out_of_range_is_usage(kubectl: FakeKubectl, interval: str) -> None:
    found = in_pipe(["slipway", "top", f"--interval={interval}"], env=kubectl.env)
    assert (found.code, found.out) == (2, "")
    assert "--interval" in found.err


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(kubectl: FakeKubectl, width: int) -> None:
    found = in_terminal(["slipway", "top", "--interval=500ms"], width=width, env=kubectl.env)
    assert found.code == 0
    assert [line for line in found.lines if len(line) > width] == []


def test_watching_ends_with_ctrl_c_and_leaves_the_last_table(kubectl: FakeKubectl) -> None:
    found = in_terminal(
        ["slipway", "top", "-w", "--interval=500ms"], width=100, keys="\x03", later=2.0, env=kubectl.env
    )
    assert found.code == 0, found.text
    assert "\x1b[?1049h" in found.out
    assert "m " in found.out.rpartition("\x1b[?1049l")[2]


# --- what is computed ------------------------------------------------------------------------------------------------


def test_the_metrics_of_real_engines_are_read() -> None:
    for file, engine, has_kv in (("vllm-0.32.0.txt", "vllm", True), ("llamacpp-2026.10.11549.txt", "llamacpp", False)):
        found = reading_of((EXPOSITIONS / file).read_text(), engine, 1.0)
        assert found.in_flight is not None
        assert found.output_tokens
        assert (quantile(0.95, found.ttft) or 0) > 0
        assert (found.kv_usage is not None) is has_kv
    assert reading_of("x 1\n", "an-engine-of-ones-own", 1.0) == Reading(1.0)


def test_lines_that_are_none_are_skipped() -> None:
    text = 'a{x="1",y="a\\"b"} 2 1700000000\n# a 3\na nonsense\nb 4\n\na NaN\n'
    assert series_in(text, ["a"]) == {"a": [({"x": "1", "y": 'a\\"b'}, 2.0), ({}, 0.0), ({}, 0.0)]}


def test_a_rate_is_the_difference_and_survives_a_restart() -> None:
    assert rate(10, 30, 2.0) == 10
    assert rate(100, 30, 2.0) == 15
    assert rate(None, 30, 2.0) is None
    assert rate(1, 2, 0.0) is None


def test_a_quantile_is_within_its_bucket() -> None:
    buckets = {0.1: 0.0, 0.2: 10.0, math.inf: 10.0}
    assert quantile(0.5, buckets) == pytest.approx(0.15)
    assert quantile(0.99, {0.1: 1.0, math.inf: 100.0}) == 0.1  # no more is known
    assert quantile(0.5, {}) is None
    assert between({0.1: 5.0}, {0.1: 7.0}) == {0.1: 2.0}
    assert between({0.1: 5.0}, {0.1: 1.0}) == {0.1: 1.0}  # the engine has started again


def test_rates_and_times_are_those_of_the_last_readings() -> None:
    state = State(cli_worlds.deployment("m", status=cli_worlds.SERVING))
    history = History()
    slow, fast = {0.1: 0.0, 1.0: 9.0, math.inf: 9.0}, {0.1: 90.0, 1.0: 99.0, math.inf: 99.0}
    history.add({POD: Reading(0.0, in_flight=1, output_tokens=0, kv_usage=0.2, ttft=slow)})
    assert use_of(state, [POD], history, {}).is_since_start
    history.add({POD: Reading(10.0, in_flight=2, output_tokens=500, kv_usage=0.4, ttft=fast)})
    found = use_of(state, [POD], history, {("chat", "m"): 7.0})
    assert (found.in_flight, found.tokens, found.kv, found.held) == (2, 50, 0.4, 7)
    assert (found.ttft or 1) <= 0.1
    history.keep([])
    assert use_of(state, [], history, None).tokens is None


def test_readings_older_than_a_minute_are_forgotten() -> None:
    history = History()
    for at in range(0, 300, 10):
        history.add({POD: Reading(float(at))})
    assert history.pods[POD][0].at == 230


def test_held_requests_of_all_activators_are_added() -> None:
    assert held_in([HELD, HELD, ""]) == {("chat", "m"): 6.0}
