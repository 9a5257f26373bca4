"""The parameters with which llama.cpp is started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway_runtime.engines import llamacpp
from slipway_runtime.engines.engine import Launch, StartRefusedError, Wish
from slipway_runtime.engines.llamacpp import Settings, fill, parameters_of


def launched(
    *flags: str,
    name: str | None = None,
    mode: str = "Balanced",
    context_length: int | None = None,
    parallel: int | None = None,
) -> Launch:
    model = Path("/mnt/models/tiny.gguf")
    wish = Wish(model=model, name=name, host="127.0.0.1", port=8080, mode=mode, flags=flags)
    return llamacpp.launch(wish, context_length=context_length, parallel=parallel)


def filled(launch: Launch, **parameters: object) -> Any:
    """xllamacpp's CommonParams, as the engine's process fills them."""
    common = SimpleNamespace(
        model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace(), **parameters
    )
    return fill(common, Settings.from_json(launch.command[-1]))


def test_it_serves_the_model_under_its_file_name_or_a_given_name() -> None:
    assert filled(launched()).model.path == "/mnt/models/tiny.gguf"
    assert filled(launched()).model_alias == {"tiny"}
    assert filled(launched(name="gemma")).model_alias == {"gemma"}


def test_each_parallel_request_gets_the_full_context_length() -> None:
    parameters_set = filled(launched(context_length=1000, parallel=3))
    assert (parameters_set.n_parallel, parameters_set.n_ctx) == (3, 3000)


@pytest.mark.parametrize(("mode", "parallel"), [("Latency", 1), ("Balanced", 4), ("Throughput", 8)])
def test_a_mode_determines_how_many_requests_share_the_cpus(mode: str, parallel: int) -> None:
    launch = launched(mode=mode)
    assert filled(launch).n_parallel == parallel
    assert any(choice.setting == f"parallel={parallel}" and mode in choice.reason for choice in launch.choices)


def test_given_flags_are_not_reported_as_choices() -> None:
    settings = {choice.setting.partition("=")[0] for choice in launched(context_length=1000, parallel=3).choices}
    assert settings == {"threads"}


def test_other_clients_requests_are_not_exposed() -> None:
    assert filled(launched()).endpoint_slots is False


def test_a_parameter_is_set_by_name_and_converted_to_its_type() -> None:
    parameters_set = filled(
        launched("--n_batch=512", "--cache_prompt=false", "--rope-freq-base=0.5"),
        n_batch=2048,
        cache_prompt=True,
        rope_freq_base=0.0,
    )
    assert (parameters_set.n_batch, parameters_set.cache_prompt, parameters_set.rope_freq_base) == (512, False, 0.5)


@pytest.mark.parametrize(("flag", "message"), [("--n_batch=many", "wrong type"), ("--n_keep=1", "has no parameter")])
def test_an_unknown_parameter_is_refused(flag: str, message: str) -> None:
    with pytest.raises(StartRefusedError, match=message):
        filled(launched(flag), n_batch=2048)


@pytest.mark.parametrize("flag", ["n_batch=1", "--n_batch", "--port=1", "--n_ctx=1"])
def test_an_invalid_or_reserved_parameter_is_refused(flag: str) -> None:
    with pytest.raises(StartRefusedError):
        parameters_of([flag])
