"""Engine arguments with the effect of a refused flag: process 1 checks them last."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime.contract.flags import HARMLESS
from slipway_runtime.engines import llamacpp
from slipway_runtime.engines.engine import StartRefusedError, Wish
from slipway_runtime.engines.flags import WHY_REFUSED, WRITTEN_FLAGS, objections
from slipway_runtime.engines.vllm import refuse

WRITTEN_BY_THE_OPERATOR = (
    *("--max-model-len=4096", "--max-num-seqs=64", "--quantization=fp8", "--kv-cache-dtype=fp8"),
    *("--enable-prefix-caching", '--speculative-config={"method":"ngram","num_speculative_tokens":4}'),
    *("--enable-lora", "--max-loras=1", "--lora-modules", "sql=/mnt/loras/sql", "--tensor-parallel-size=2"),
    *("--allowed-media-domains=images.example",),
)


def why_not(*words: str, allowed: tuple[str, ...] = ()) -> list[str]:
    return [f"{each.flag} {each.why}" for each in objections("vllm", words, allowed)]


def test_the_operators_own_arguments_and_harmless_ones_are_accepted() -> None:
    assert (
        why_not(*WRITTEN_BY_THE_OPERATOR, "--seed=1", "--no-enable-chunked-prefill", "-O3", "--watermark", "-1") == []
    )


@pytest.mark.parametrize("flag", sorted(set(WHY_REFUSED) - WRITTEN_FLAGS))
@pytest.mark.parametrize("shape", ["{}", "{}=x", "{}.key=x", "{}.key+=x"])
def test_a_listed_flag_is_refused_in_any_spelling(flag: str, shape: str) -> None:
    assert why_not(shape.format(flag))
    assert why_not(shape.format(flag.replace("-", "_").replace("_", "-", 2) if flag.startswith("--") else flag))


@pytest.mark.parametrize("flag", sorted(flag for flag in WHY_REFUSED if flag.startswith("--")))
def test_no_prefix_of_a_refused_flag_is_accepted_as_another_flag(flag: str) -> None:
    harmless = {*HARMLESS["vllm"]} | WRITTEN_FLAGS
    shortened = [flag[:end] for end in range(3, len(flag)) if flag[:end] not in harmless]
    assert [each for each in shortened if not why_not(each + "=x")] == []


@pytest.mark.parametrize(
    "word",
    [
        *("--max-num-seq=9999", "--max_num_seq", "--tensor-parallel=8", "-tp8", "-q8", "-n2", "-Ofull", "--", "-"),
        *("--no-such-flag", "--middleware=evil.Mw", "--config=/x", "--config", "-cc", "-cc.backend=evil.f"),
        *("--scheduler-cls=evil.S", "--no-trust-remote", "--trust_remote-code", "--hf-token=x"),
    ],
)
def test_shortened_glued_and_unknown_flags_are_refused(word: str) -> None:
    assert why_not(word)


@pytest.mark.parametrize(
    "again",
    ["--max-num-seqs=9999", "--max_num_seqs=9999", "-tp=8", "-q", "--speculative-config.method=draft", "-sc={}"],
)
def test_flags_that_the_operator_sets_cannot_be_given_twice(again: str) -> None:
    assert [each for each in why_not(*WRITTEN_BY_THE_OPERATOR, again) if "is given twice" in each]


@pytest.mark.parametrize(
    "words",
    [
        ['--hf-overrides={"auto_map": {"AutoConfig": "evil.C"}}'],
        ["--hf-overrides", '{"text_config": [{"trust_remote_code": true}]}'],
        ["--hf-overrides.auto_map.AutoConfig=evil.C"],
        ['--speculative-config={"method": "custom_class", "model": "evil.P"}'],
        ["--speculative-config.method", "custom_class"],
        ['--reasoning-config={"reasoning_parser_plugin": "/x.py"}'],
        ["--attention-config.worker_cls+=evil.W"],
    ],
)
def test_json_that_loads_code_by_name_is_refused(words: list[str]) -> None:
    assert [each for each in why_not(*words) if "loads code by name" in each]


def test_a_dangerous_feature_may_be_turned_off() -> None:
    assert why_not("--no-enable-log-requests", "--no-trust-remote-code") == []


def test_process_1_refuses_with_one_sentence_that_names_the_remedy() -> None:
    with pytest.raises(
        StartRefusedError, match="--middlewar may be short for --middleware, which is refused because it loads"
    ):
        refuse(wish("--middlewar=evil.Mw"), set())
    with pytest.raises(StartRefusedError, match="--trust-remote-code is refused because it runs code") as refusal:
        refuse(wish("--trust-remote-code"), set())
    assert refusal.value.failure.remedy == "Leave it out, or allow it with --allow=trust-remote-code."
    refuse(wish("--trust-remote-code"), {"trust-remote-code"})


def wish(*flags: str, **environment: str) -> Wish:
    return Wish(model=Path("/m"), host="127.0.0.1", port=1, flags=flags, environment=environment)


# --- llama.cpp -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        *("--endpoint_slots=true", "--endpoint-props=true", "--mcp_servers_json={}", "--ui_mcp_proxy=true"),
        *("--media_path=/", "--slot_save_path=/tmp", "--public_path=/", "--models_dir=/", "--api_prefix=/x"),
        *("--ssl_file_key=/x", "--video_ffmpeg_bin_dir=/tmp", "--path_prompts_log_dir=/tmp", "--hf_token=x"),
        *("--models_preset_hf=x/y", "--sleep_idle_seconds=1", "--server_tools_runtime=x", "--verbosity=9"),
        *("--model.url=http://x", "--hostnames=x", "--port=1", "--n_ctx=9", "--system_prompt=x"),
    ],
)
def test_a_parameter_of_llama_cpp_that_does_not_tune_it_is_refused(word: str) -> None:
    with pytest.raises(StartRefusedError):
        llamacpp.parameters_of([word])


@pytest.mark.parametrize("name", ["LLAMA_ARG_MODELS_DIR", "LLAMA_API_KEY", "GGML_BACKEND_PATH", "LD_PRELOAD"])
def test_a_variable_that_changes_llama_cpp_is_refused(name: str) -> None:
    with pytest.raises(StartRefusedError, match=name):
        llamacpp.launch(wish(**{name: "x"}))
