"""What an engine's log says of its memory, as numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime.engines import llamacpp, vllm
from slipway_runtime.engines.engine import Launch, Wish, Work
from slipway_runtime.engines.measured import measured_in

MIB, GIB = 1 << 20, 1 << 30


def facts_of_vllm(*lines: str) -> dict[str, str]:
    work = Work(pending=(), progress=())
    launch = Launch(
        engine="vllm", distributions=(), command=(), port=1, work=work, facts=vllm.FACTS, joined=vllm.JOINED
    )
    return facts_of(launch, *lines)


def facts_of_llamacpp(*lines: str) -> dict[str, str]:
    return facts_of(llamacpp.launch(Wish(model=Path("/mnt/models/a.gguf"), host="127.0.0.1", port=1)), *lines)


def facts_of(launch: Launch, *lines: str) -> dict[str, str]:
    facts: dict[str, str] = {}
    for line in lines:
        facts = launch.with_facts_in(line, facts)
    return facts


def test_llamacpps_buffers_add_up_over_its_lines() -> None:
    # Gemma 3 270M with 4 slots, as xllamacpp 2026.10.11549 logs it
    found = facts_of_llamacpp(
        "0.00.946.966 I load_tensors:   CPU_Mapped model buffer size =   235.16 MiB",
        "0.00.950.190 I load_tensors:   CPU_REPACK model buffer size =    12.66 MiB",
        "0.00.978.409 I llama_context:        CPU  output buffer size =     4.00 MiB",
        "0.00.978.572 I llama_kv_cache:        CPU KV buffer size =    48.00 MiB",
        "0.01.005.211 I llama_kv_cache: size =   48.00 MiB (  4096 cells,   3 layers,  4/4 seqs), K (f16):   24.00 MiB",
        "0.01.045.812 I llama_kv_cache: size =   60.00 MiB (  1024 cells,  15 layers,  4/4 seqs), K (f16):   30.00 MiB",
        "0.01.047.954 I sched_reserve:        CPU compute buffer size =    23.28 MiB",
        "0.01.047.999 I sched_reserve:        CPU compute buffer size =    20.00 MiB",
        "0.08.041.082 I srv    load_model: initializing, n_slots = 4, n_ctx_slot = 4096, kv_unified = 'false'",
    )
    assert measured_in(found) == {
        "weights": round(235.16 * MIB),  # repacked weights are copies of mapped ones
        "kvCache": 108 * MIB,
        "activation": round(23.28 * MIB),
        "kvTokens": 16384,
    }


def test_slots_that_share_a_cache_have_its_tokens_together() -> None:
    found = facts_of_llamacpp("srv load_model: initializing, n_slots = 4, n_ctx_slot = 4096, kv_unified = 'true'")
    assert measured_in(found) == {"kvTokens": 4096}


def test_an_older_llamacpp_reports_its_slots_alone() -> None:
    found = facts_of_llamacpp("srv    load_model: initializing slots, n_slots = 2, n_ctx_slot = 4096")
    assert measured_in(found) == {"kvTokens": 8192}


def test_with_several_devices_the_one_with_the_most_counts() -> None:
    found = facts_of_vllm(
        "(Worker_TP1 pid=8) INFO Model loading took 7.54 GiB memory and 2.1 seconds",
        "(Worker_TP0 pid=7) INFO Model loading took 7.52 GiB memory and 2.1 seconds",
        "(EngineCore pid=6) INFO GPU KV cache size: 1,961,184 tokens, Maximum concurrency for 131,072 tokens per "
        "request: 14.96x",
    )
    assert measured_in(found) == {"weights": round(7.54 * GIB), "kvTokens": 1_961_184}


def test_where_graphs_are_captured_after_the_start_their_sum_is_unknown() -> None:
    captured = "(EngineCore pid=6) INFO Graph capturing finished in 3 secs, took 0.89 GiB"
    assert measured_in(facts_of_vllm(captured)) == {"graphs": round(0.89 * GIB)}
    later = "slipway-fast-start: the engine core captures the graphs of 33 batch sizes later"
    assert measured_in(facts_of_vllm(later, captured)) == {}


@pytest.mark.parametrize("text", ["", "-1", "0", "nan", "inf", "9" * 30, "1.2.3", "many"])
def test_a_number_that_cannot_be_true_is_left_out(text: str) -> None:
    assert measured_in({"kvTokens": text, "weightsGiB": text}) == {}
