"""A model's files are hostile, and so is what a tenant writes in place of their report: the Job ends with a report or a
reason, and the operator takes a bounded part of it, whatever it says.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slipway.api import units
from slipway.api.llmdeployment import LLMDeployment
from slipway.contract.pod import REPORT_LIMIT, REPORT_START, TERMINATION_LIMIT
from slipway.models.sources import known_of
from slipway.objects.kinds import Object
from slipway.observing.inspection import Reported, outcome_of
from slipway.observing.inspection_report import decoded, facts_in
from slipway.observing.jobs import Failed, Running
from slipway.observing.push_record import next_try, record_in
from slipway.observing.snapshot import Inspection, Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, Unplannable, make_plan
from slipway.operator.reconciling.deciding import decide
from slipway.operator.rendering.inspection import RESOURCES
from slipway_runtime.models import report_command
from support.builders import inspections
from support.builders.inspections import CONFIG, CONTENT, job, report
from support.builders.model_files import LLAMA_CONFIG, LLAMA_GGUF, write_checkpoint, write_gguf
from support.builders.rendering import deployment, profile
from support.builders.stored import llm
from support.programs.operator_loop import NOW

# --- the Job ---------------------------------------------------------------------------------------------------------


@contextmanager
def no_more_than(size: int, *, seconds: float) -> Iterator[None]:
    """Fails if Python has more than these bytes allocated at a time, or takes more CPU time than that."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= size
    assert time.process_time() - start <= seconds


def message_of(path: Path, log: Path) -> str:
    """The termination message, which Kubernetes would not cut."""
    report_command(path, log)
    text = log.read_text()
    assert len(text.encode()) <= TERMINATION_LIMIT
    return text


HOSTILE = {
    "very many members": {f"k{number}": number for number in range(200_000)},
    "objects in objects": {f"a{a}": {f"b{b}": {f"c{c}": c for c in range(20)} for b in range(100)} for a in range(100)},
    "long strings": {f"k{number}": "x" * 100 for number in range(50_000)},
    "long lists": {f"k{number}": [1] * 512 for number in range(1_000)},
    "lists in lists": {f"k{number}": [[[[[1] * 9] * 9] * 9] * 9] * 9 for number in range(3)},
    "random text that can't be compressed": {f"k{n}": os.urandom(48).hex() for n in range(400)},
    "long names": {"x" * 10_000 + str(number): 1 for number in range(100)},
    "control sequences": {"\x1b[31m": "\x1b[2J", "architectures": ["\u202e"]},
    "quantized layers": {"quantization_config": {f"q{number}": {"bits": 4} for number in range(100_000)}},
}


@pytest.mark.parametrize("more", HOSTILE.values(), ids=HOSTILE)
def test_any_config_becomes_a_report_that_fits_or_a_reason(tmp_path: Path, more: Object) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG | more))
    size = (folder / "config.json").stat().st_size
    with no_more_than(size * 24 + (8 << 20), seconds=60):
        message = message_of(folder, tmp_path / "log")
    facts = decoded(message)
    if facts is None:
        assert json.loads(message)["reason"] == "ModelCorrupt"
    else:
        assert json.loads(facts)["config"]["num_hidden_layers"] == LLAMA_CONFIG["num_hidden_layers"]


def test_any_gguf_header_becomes_a_report_that_fits(tmp_path: Path) -> None:
    more = {f"llama.k{number}": os.urandom(40).hex() for number in range(2_000)}
    message = message_of(write_gguf(tmp_path / "a.gguf", LLAMA_GGUF | more, shapes={}), tmp_path / "log")
    facts = decoded(message)
    assert facts
    assert len(json.loads(facts)["omitted"]) == 9


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["9" * 200, -1, 1e308]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from([*CONFIG, "text_config"]), each),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(more=st.dictionaries(st.sampled_from([*CONFIG, "quantization_config", "text_config"]), VALUES, max_size=3))
def test_whatever_a_config_says_there_is_a_message(tmp_path_factory: pytest.TempPathFactory, more: Object) -> None:
    folder = write_checkpoint(tmp_path_factory.getbasetemp() / "reported")
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG | more))
    message = message_of(folder, folder.parent / "log-of-reported")
    assert decoded(message) or json.loads(message)["reason"] in ("ModelCorrupt", "ModelNotFound")


def test_the_memory_limit_of_the_job_has_room_for_the_largest_header_that_is_read(tmp_path: Path) -> None:
    """One file with as many tensors as a header may have; the largest models have fewer in all their files. With the
    most that all files together may have, it took 275 MiB (2026-11-30, once)."""
    tensors = {f"model.layers.{n}.x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 0]} for n in range(250_000)}
    text = json.dumps(tensors, separators=(",", ":")).encode()
    folder = write_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    command = [sys.executable, "-m", "slipway_runtime", "inspect", str(folder), f"--report={tmp_path / 'log'}"]
    assert peak_of(command) <= units.amount(RESOURCES["limits"]["memory"]) * 3 / 4
    assert decoded((tmp_path / "log").read_text())


def peak_of(command: list[str]) -> int:
    """Bytes of memory. A small process starts it, because a child's peak includes that of its parent."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=True)
    return int(done.stdout) << 10


# --- the operator: the message ---------------------------------------------------------------------------------------


def packed(data: bytes) -> str:
    return REPORT_START + base64.b85encode(data).decode()


def bomb(size: int) -> bytes:
    """Compressed a second time, since zlib's ratio is 1,000 at most; the operator decompresses once."""
    packing = zlib.compressobj(9)
    return b"".join([packing.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + packing.flush()


def test_a_message_that_would_decompress_to_megabytes_takes_no_more_than_a_report_may() -> None:
    message = packed(bomb(3 << 20))
    assert len(message) <= TERMINATION_LIMIT
    with no_more_than(4 * REPORT_LIMIT, seconds=1):
        assert decoded(message) is None


def test_json_whose_values_take_far_more_memory_than_its_text_is_bounded_by_its_length() -> None:
    text = f'{{"a":[{",".join(["[]"] * (REPORT_LIMIT // 3 - 5))}]}}'
    with no_more_than(64 * REPORT_LIMIT, seconds=1):
        assert decoded(packed(zlib.compress(text.encode())))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), start=st.sampled_from([REPORT_START, "", "slipway-report-2:"]))
def test_any_message_is_a_report_or_none(data: bytes, start: str) -> None:
    for message in (start + data.decode(errors="replace"), packed(data), packed(zlib.compress(data))):
        facts = decoded(message)
        assert facts is None or facts_in(facts) is not None


# --- the operator: the content ---------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["BF16", "float32", "mla", "sliding_attention"]),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.sampled_from([*CONFIG, *CONTENT, *CONTENT["tensors"], "gguf", "tokens"]), each, max_size=4)
    ),
    max_leaves=12,
)
PROFILES = [profile("gpu")]


@settings(max_examples=150, deadline=None)
@given(
    config=st.dictionaries(st.sampled_from([*CONFIG, "quantization_config", "text_config"]), JSON, max_size=3),
    tensors=st.dictionaries(st.sampled_from([*CONTENT["tensors"]]), JSON, max_size=3),
    more=st.dictionaries(
        st.sampled_from(["gguf", "tokens", "files", "omitted", "revision", "config"]), JSON, max_size=2
    ),
)
def test_a_plan_or_a_sentence_follows_from_any_report(config: Object, tensors: Object, more: Object) -> None:
    content = CONTENT | {"config": CONFIG | config, "tensors": CONTENT["tensors"] | tensors} | more
    stored = decoded(report(content))
    if stored is None:
        return
    known = known_of("pvc://models/llama", inspection=facts_in(stored))
    plan = make_plan(deployment(engine={"name": "vllm"}).spec, PROFILES, name="llama", known=known)
    assert isinstance(plan, Plan | Unplannable)


# --- the operator: objects that a tenant forges ----------------------------------------------------------------------

TERMINATED = {
    "exitCode": st.integers(0, 255),
    "message": st.text(max_size=50) | st.sampled_from([report(), report()[:-5], '{"reason": 1}', '{"reason"']),
    "reason": st.sampled_from(["Completed", "Error", "OOMKilled", "StartError", ""]),
    "finishedAt": st.sampled_from(["", "2026-11-21T10:00:00Z", "9999-12-31T23:59:59Z"]),
}
ODD: st.SearchStrategy[Any] = st.none() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})


@settings(max_examples=150, deadline=None)
@given(
    model=st.dictionaries(
        st.sampled_from(["source", "digest", "sync", "facts", "evidence", "readAt", "failure"]),
        ODD | st.dictionaries(st.sampled_from(["tries", "at", "reason", "message", "digest"]), ODD),
    )
    | ODD
)
def test_any_record_in_the_status_gives_a_decision(model: Any) -> None:
    raw = llm(engine={"name": "vllm"})
    raw["metadata"] |= {"uid": "4711", "generation": 1}
    seen = Inspection(claim=inspections.claim(), runtime=inspections.runtime())
    snapshot = Snapshot(now=NOW, llm_deployment={**raw, "status": {"model": model}}, inspection=seen)
    decision = decide(snapshot, Installation())
    assert decision.bug is None
    assert isinstance(decision.plan, Unplannable)


@settings(max_examples=100, deadline=None)
@given(
    cache=st.dictionaries(
        st.sampled_from(["pushed", "pushFailure"]),
        ODD | st.dictionaries(st.sampled_from(["image", "identity", "size", "at", "tries", "reason"]), ODD),
    )
    | ODD
)
def test_any_record_of_an_image_gives_no_image_of_another_repository(cache: Any) -> None:
    spec = {"name": "vllm", "compileCache": {"kind": "Image", "repository": "registry.example.com/caches"}}
    raw = llm(engine=spec)
    raw["metadata"] |= {"uid": "4711", "generation": 1}
    record = record_in({"compileCache": cache}, LLMDeployment.model_validate(raw))
    assert record.pushed is None
    assert record.failure is None or isinstance(next_try(record.failure, NOW), datetime)


@settings(max_examples=100, deadline=None)
@given(
    terminated=st.fixed_dictionaries({}, optional=TERMINATED) | st.none(),
    phase=st.sampled_from(["Succeeded", "Failed", "Pending", ""]),
    conditions=st.lists(
        st.fixed_dictionaries({"type": st.sampled_from(["Failed", "Complete"]), "status": st.just("True")})
    ),
)
def test_any_pod_and_job_have_an_outcome(terminated: Any, phase: str, conditions: list[Object]) -> None:
    of = job()
    of["status"] = {"conditions": conditions}
    pod = inspections.pod(of, phase=phase, state={"terminated": terminated})
    snapshot = Snapshot(now=NOW, inspection=Inspection(jobs={"x": of}, pods=(pod,)))
    assert isinstance(outcome_of(of, snapshot), Running | Reported | Failed)
