"""The runtimes of third-party engines in the chart match each other, and follow the rules."""

from __future__ import annotations

import pytest
from slipway.contract.engines import OTHER_RUNTIMES
from slipway.contract.pod import ENGINE_PORT
from slipway.operator.planning.engines import ON_CPUS
from support.charts.third_party_runtimes import BY_ENGINE, NOTES, container_of, environment_of
from support.fakes.third_party_engine import ENGINES

each = pytest.mark.parametrize("name", BY_ENGINE)


def test_there_is_a_runtime_and_a_scripted_engine_for_each_supported_engine() -> None:
    assert sorted(f"slipway-{name}" for name in BY_ENGINE) == sorted(OTHER_RUNTIMES)
    assert {*BY_ENGINE} == {*ENGINES}
    assert {*ON_CPUS} <= {*OTHER_RUNTIMES}


@each
def test_a_runtime_has_all_annotations_to_sleep_scale_and_drain(name: str) -> None:
    notes = NOTES[name]
    assert notes.metrics.words.in_flight
    assert notes.metrics.words.progress
    assert notes.metrics.port
    assert notes.drains_for is not None


@each
def test_the_engine_is_started_at_the_port_of_its_annotation(name: str) -> None:
    engine, container = ENGINES[name], container_of(BY_ENGINE[name])
    flags = dict(argument.partition("=")[::2] for argument in container.get("args", []))
    settings = {**environment_of(BY_ENGINE[name]), **flags}
    ports = [port["containerPort"] for port in container["ports"]]
    assert int(settings[engine.port]) == ports[0] == ENGINE_PORT
    assert int(settings[engine.metrics_port or engine.port]) == NOTES[name].metrics.port
    assert NOTES[name].metrics.port in ports
    assert not engine.switch or engine.switch in settings


@each
def test_the_engine_finds_the_model_where_kserve_puts_it(name: str) -> None:
    container = container_of(BY_ENGINE[name])
    words = [*container.get("command", []), *container.get("args", []), *environment_of(BY_ENGINE[name]).values()]
    assert any(word.endswith("/mnt/models") for word in words)


@each
def test_probes_and_metrics_have_the_port_and_path_of_the_engine(name: str) -> None:
    container = container_of(BY_ENGINE[name])
    for kind in ("startup", "readiness"):
        assert container[f"{kind}Probe"]["httpGet"] == {"path": ENGINES[name].health, "port": "http"}
    assert NOTES[name].metrics.path == ENGINES[name].metrics_path


@each
def test_an_engine_has_half_an_hour_to_start(name: str) -> None:
    startup = container_of(BY_ENGINE[name])["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 1800


@each
def test_the_drain_annotation_is_not_longer_than_the_engine_drains(name: str) -> None:
    assert (NOTES[name].drains_for or 0) <= ENGINES[name].drains_for


def test_triton_waits_for_its_requests_as_long_as_its_runtime_says() -> None:
    assert f"--exit-timeout-secs={NOTES['triton'].drains_for:.0f}" in container_of(BY_ENGINE["triton"])["args"]


@each
def test_a_third_party_runtime_is_never_selected_automatically(name: str) -> None:
    assert not any(format_["autoSelect"] for format_ in BY_ENGINE[name]["spec"]["supportedModelFormats"])


@each
def test_a_third_party_runtime_runs_without_privileges(name: str) -> None:
    context = container_of(BY_ENGINE[name])["securityContext"]
    assert context["runAsNonRoot"]
    assert context["runAsUser"] != 0
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@each
def test_a_third_party_runtime_contains_nothing_that_kserve_takes_for_a_template(name: str) -> None:
    assert "{{" not in str(container_of(BY_ENGINE[name]))
