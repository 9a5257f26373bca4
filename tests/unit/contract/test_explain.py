"""The operator and the runtime in the pod derive the same reason from the log of an engine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from slipway.api.reasons import Reason as OperatorsReason
from slipway.observing.containers import Container, crashed
from slipway.observing.words import ENGINE, explain
from slipway_runtime.diagnosis import diagnose
from support.builders import recorded_snapshots
from support.faults.failing_starts import FIXTURES as STARTS
from support.faults.pod_failures import POD_FAILURES

RECORDED_PODS = Path(__file__).parents[1] / "observing/fixtures"
ENDED = {"exitCode": 1, "reason": "Error"}


def by_the_operator(text: str, code: int) -> tuple[str, str]:
    """Returns reason and message of a container that ended with this text and has no message of the runtime."""
    status = {"restartCount": 0, "state": {"terminated": {**ENDED, "exitCode": code, "message": text}}}
    container = Container({"name": "kserve-container"}, status, (), is_init=False, since=None, has_been_ready=False)
    cause = crashed(container, datetime.now(UTC))
    assert cause
    return cause.reason, cause.message


def by_the_runtime(text: str, code: int) -> tuple[str, str]:
    failure = diagnose(text.splitlines(), code, "loading")
    return failure.reason, failure.remedy


def recorded_start(file: Path) -> tuple[int, str]:
    about, _, text = file.read_text().partition("\n")
    return int(about.rpartition(" ")[2]), text


@pytest.mark.parametrize("file", sorted(STARTS.glob("*.txt")), ids=lambda file: file.stem)
def test_a_recorded_start_that_failed_has_one_reason_and_one_remedy(file: Path) -> None:
    code, text = recorded_start(file)
    reason, message = by_the_operator(text, code)
    expected, remedy = by_the_runtime(text, code)
    assert reason == expected
    assert message.endswith(remedy)


@pytest.mark.parametrize("file", sorted(STARTS.glob("*.txt")), ids=lambda file: file.stem)
def test_the_tail_of_a_log_leads_to_the_same_reason(file: Path) -> None:
    """If the runtime had no time to report, the kubelet stores the last 2,048 bytes or 80 lines of the log."""
    code, text = recorded_start(file)
    end = "\n".join(text[-2048:].splitlines()[-80:])
    assert by_the_operator(end, code)[0] in (by_the_runtime(text, code)[0], OperatorsReason.ENGINE_CRASHED)


def messages_of_engines() -> dict[str, str]:
    """Returns the termination messages of model containers in recorded pods, by the recording."""
    found = {}
    for file in sorted(RECORDED_PODS.glob("*.json")):
        for pod in recorded_snapshots.load(file).pods:
            for each in pod["status"].get("containerStatuses", []):
                states = (each.get("state", {}), each.get("lastState", {}))
                ends = [state["terminated"] for state in states if "terminated" in state]
                if ends and ends[0].get("message") and ends[0].get("reason") == "Error":
                    found[file.stem] = ends[0]["message"]
    return found


def test_there_are_recordings_of_engines_that_failed() -> None:
    assert len(messages_of_engines()) >= 8


@pytest.mark.parametrize(("name", "text"), messages_of_engines().items(), ids=messages_of_engines())
def test_a_recorded_pod_that_failed_has_one_reason(name: str, text: str) -> None:
    assert by_the_operator(text, 1)[0] == by_the_runtime(text, 1)[0]


@pytest.mark.parametrize("provocation", [each for each in POD_FAILURES if each.name in messages_of_engines()])
def test_the_reason_of_a_recorded_pod_is_the_one_that_was_provoked(provocation: object) -> None:
    name, reason = getattr(provocation, "name", ""), getattr(provocation, "reason", "")
    found = by_the_runtime(messages_of_engines()[name], 1)[0]
    assert found == (
        "EngineCrashed" if reason == "CrashLoop" else reason
    )  # The reason depends on the number of restarts, which only the operator counts.


FREE_MEMORY = (
    "ValueError: Free memory on device cuda:0 (3.1/79.2 GiB) is less than desired GPU memory utilization (0.92)."
)
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
NO_WEIGHTS = "RuntimeError: Cannot find any model weights with `/mnt/models`"
BAD_FLAG = "api_server.py: error: unrecognized arguments: --nope"
MIXED = [
    ([FREE_MEMORY, OUT_OF_MEMORY], "GpuBusy"),  # Another process uses the memory, which is why there is too little.
    ([NO_WEIGHTS, BAD_FLAG], "ModelNotFound"),
    (["ggml_gallocr_reserve_n_impl: failed to allocate CUDA0 buffer of size 4296165408"], "GpuOutOfMemory"),
    (["ggml_gallocr_reserve_n_impl: failed to allocate CPU buffer of size 4296165408"], "HostOutOfMemory"),
]


@pytest.mark.parametrize(("lines", "reason"), MIXED)
def test_a_text_with_several_known_lines_has_one_reason_in_any_order(lines: list[str], reason: str) -> None:
    for text in ("\n".join(lines), "\n".join(reversed(lines))):
        assert by_the_operator(text, 1)[0] == by_the_runtime(text, 1)[0] == reason


def test_text_from_a_client_in_the_log_is_not_a_cause_on_either_side() -> None:
    quoted = '(APIServer pid=7) INFO: 10.0.0.1:5 - "GET /v1/models?torch.OutOfMemoryError HTTP/1.1" 200 OK'
    assert explain(quoted, ENGINE) is None
    assert by_the_operator(quoted, 1)[0] == by_the_runtime(quoted, 1)[0] == OperatorsReason.ENGINE_CRASHED
