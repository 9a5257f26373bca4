"""The operator and the runtime have the same contract, and its statements about the pod are true."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import slipway.contract
import slipway_runtime.contract
from slipway.api.engine_notes import OUR_WORDS
from slipway.api.reasons import Reason
from slipway.contract import pod
from slipway.contract.engine import Engine
from slipway.contract.engines import BUILT_IN, ENGINES, OTHERS
from slipway.operator.rendering.engines import CODE
from slipway_runtime.contract import sentences
from slipway_runtime.contract.reasons import Reason as RuntimesReason
from slipway_runtime.failure import Failure, termination_message
from support.builders.objects import Object
from support.repository import RUNTIMES, documents

OPERATORS, RUNTIMES_OWN = Path(slipway.contract.__file__).parent, Path(slipway_runtime.contract.__file__).parent
SHARED = sorted(file.name for file in OPERATORS.glob("*.py") if file.name != "__init__.py")
BY_NAME = {each["metadata"]["name"]: each for each in documents(RUNTIMES)}
each_built_in = pytest.mark.parametrize("engine", BUILT_IN, ids=lambda engine: engine.name)


def container_of(runtime: str) -> Object:
    found: Object = BY_NAME[runtime]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("name", SHARED)
def test_the_operator_and_the_runtime_contain_the_same_contract_file(name: str) -> None:
    assert (OPERATORS / name).read_bytes() == (RUNTIMES_OWN / name).read_bytes()


def test_the_reasons_of_the_runtime_are_in_one_file_of_the_runtime() -> None:
    assert {file.name for file in RUNTIMES_OWN.glob("*.py")} - {*SHARED, "__init__.py"} == {"reasons.py"}


@pytest.mark.parametrize("reason", RuntimesReason)
def test_a_reason_means_the_same_on_both_sides(reason: RuntimesReason) -> None:
    assert Reason(reason.value).meaning == reason.meaning


# --- sentences -------------------------------------------------------------------------------------------------------


def test_no_sentence_occurs_twice() -> None:
    """Not even as a part of another row."""
    parts = [part for pattern, *_ in sentences.ROWS for part in re.split(r"\|(?![^(]*\))", pattern)]
    assert sorted(part for part in parts if parts.count(part) > 1) == []


@pytest.mark.parametrize("row", sentences.ROWS, ids=lambda row: row[0][:40])
def test_a_sentence_has_a_reason_that_the_runtime_can_end_with(row: tuple[str, str, str]) -> None:
    assert row[1] in {*RuntimesReason}


# --- the pod ---------------------------------------------------------------------------------------------------------


def test_the_termination_message_starts_as_the_contract_says() -> None:
    assert termination_message(Failure(RuntimesReason.UNKNOWN, "?")).startswith(pod.TERMINATION_START)


@each_built_in
def test_a_runtime_of_a_built_in_engine_has_the_ports_and_probes_of_the_contract(engine: Engine) -> None:
    for name in engine.runtimes.values():
        container = container_of(name)
        assert [each["containerPort"] for each in container["ports"]] == [pod.ENGINE_PORT, pod.RUNTIME_PORT]
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
        assert paths == {"startup": pod.STARTUP_PATH, "readiness": pod.READY_PATH, "liveness": pod.LIVE_PATH}
        assert container["terminationMessagePath"] == pod.TERMINATION_LOG
        assert container["args"][:2] == ["serve", engine.name]
        assert f"--model={pod.MODEL_FOLDER}" in container["args"]


def test_every_runtime_of_the_chart_belongs_to_an_engine() -> None:
    ours = {name for each in BUILT_IN for name in each.runtimes.values()}
    assert {*BY_NAME} == ours | {*OTHERS}


@pytest.mark.parametrize("name", OTHERS)
def test_the_runtime_of_a_third_party_engine_is_probed_at_the_port_and_path_of_the_engine(name: str) -> None:
    container, engine = container_of(name), OTHERS[name]
    assert container["readinessProbe"]["httpGet"]["path"] == engine.ready_path
    assert container["livenessProbe"]["httpGet"]["path"] == engine.live_path


# --- engines ---------------------------------------------------------------------------------------------------------


def test_the_activator_reads_the_metrics_of_all_built_in_engines() -> None:
    read = {series.name for series in (*OUR_WORDS.in_flight, *OUR_WORDS.progress)}
    assert read == {name for each in BUILT_IN for name in (*each.metrics.in_flight, *each.metrics.progress)}


@each_built_in
def test_a_built_in_engine_has_a_folder_with_all_of_its_files(engine: Engine) -> None:
    folder = RUNTIMES_OWN.parent / "engines" / engine.name
    assert {"__init__.py", "engine.yaml", "sentences.yaml", "flags.yaml"} <= {file.name for file in folder.iterdir()}
    assert import_module(f"slipway_runtime.engines.{engine.name}").launch


@each_built_in
def test_each_option_that_needs_code_has_code(engine: Engine) -> None:
    assert {option.code for option in engine.options.values()} - {""} == {*CODE.get(engine.name, {})}


@each_built_in
def test_a_built_in_engine_is_used_with_its_devices_and_limits(engine: Engine) -> None:
    assert engine.most_in_flight
    assert engine.needs_devices == (set(engine.runtimes) != {"CPU"})
    assert ENGINES[engine.name] is engine
