"""What engines' metrics show of their use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.activator.tracking.engine_metrics import LONGEST_LINE, EngineMetrics, MetricsReading, read
from slipway.activator.tracking.idleness import STALE_AFTER, ModelActivity, ModelUse
from slipway.api.engine_notes import Series, Words

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama {8b}"} 2.0
vllm:num_requests_running{engine="1",model_name="llama {8b}"} 1.0
vllm:num_requests_waiting{engine="0",model_name="llama {8b}"} 4.0
vllm:prompt_tokens_total{engine="0",model_name="llama {8b}"} 1.2e+03
vllm:generation_tokens_total{engine="0",model_name="llama {8b}"} 34.0
vllm:num_requests_running_of_another_name 99
"""
LLAMACPP = """# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
llamacpp:requests_deferred 0
slipway_requests_queued{model_name="gemma"} 5.0
slipway_requests_in_flight{model_name="gemma"} 6.0
llamacpp:prompt_tokens_total 20
llamacpp:tokens_predicted_total 5
"""
QUIET, BUSY = MetricsReading(0, 10), MetricsReading(1, 10)


@pytest.mark.parametrize(
    ("metrics", "reading"),
    [
        (VLLM, MetricsReading(7, 1234)),
        (LLAMACPP, MetricsReading(6, 25)),
        ("python_info 1\n", None),
        ("", None),
        ("<html>", None),
    ],
    ids=["vLLM", "llama.cpp", "another program", "nothing", "no metrics"],
)
def test_each_engines_metrics_are_read_by_their_own_names(metrics: str, reading: MetricsReading | None) -> None:
    assert read(metrics) == reading


@pytest.mark.parametrize(("is_silent", "reading"), [(False, None), (True, MetricsReading(0, 0))])
def test_an_engine_without_metrics_is_idle_only_if_that_is_declared(
    is_silent: bool, reading: MetricsReading | None
) -> None:
    names = Words((Series("running"),), silent_until_used=is_silent)
    assert read("", names) == read("python_info 1\n", names) == reading
    assert read("running 1\n", names) == MetricsReading(1, 0)


def test_a_metric_counts_where_it_has_all_of_the_labels() -> None:
    names = Words(in_flight=(Series("r", (("a", "x"),)), Series("r", (("a", "y"), ("b", "z")))))
    exposition = """r{a="x"} 1
r{b="z",a="y"} 10
r{ a="y", b="z", } 100
r{a="y"} 1000
r{a="xx"} 1000
r{aa="x"} 1000
r{c="a=\\"x\\"",b=",a=x"} 1000
r 1000
"""
    assert read(exposition, names) == MetricsReading(111, 0)


@pytest.mark.parametrize(
    "value", ["+Inf", "-Inf", "NaN", "+", "-", "-1", "1e7", "1e999", "1_0", "infinity", "x", "0x1", "9" * 40, "٣"]
)
@pytest.mark.parametrize("name", ["vllm:num_requests_running", "llamacpp:requests_processing"])
def test_an_invalid_reading_is_ignored(name: str, value: str) -> None:
    assert read(f"vllm:num_requests_waiting 1\n{name} {value}\n") is None


@pytest.mark.parametrize("value", ["+Inf", "NaN", "-1", "1e16"])
def test_tokens_have_to_be_valid_too(value: str) -> None:
    assert read(f"vllm:num_requests_running 1\nvllm:generation_tokens_total {value}\n") is None


def test_a_reading_whose_numbers_are_valid_only_individually_is_ignored() -> None:
    assert read("vllm:num_requests_running 900000\n" * 2) is None


def test_a_line_without_end_is_not_stored() -> None:
    metrics = EngineMetrics()
    for _ in range(100):
        metrics.add(b"a" * 10_000)
        assert len(metrics._rest) <= LONGEST_LINE
    assert metrics.reading() is None


@given(st.sampled_from([VLLM, LLAMACPP]), st.lists(st.integers(1, 60), min_size=1))
def test_the_pieces_in_which_metrics_arrive_make_no_difference(text: str, sizes: list[int]) -> None:
    metrics, rest = EngineMetrics(), text.encode()
    for size in sizes:
        metrics.add(rest[:size])
        rest = rest[size:]
    metrics.add(rest)
    assert metrics.reading() == read(text)


def test_a_replica_is_idle_since_it_was_first_seen() -> None:
    activity = ModelActivity()
    activity.record("a", QUIET, now=100)
    activity.record("a", QUIET, now=110)
    assert activity.use_of({"a"}, now=110).idle_for == 10


@pytest.mark.parametrize(
    "use", [BUSY, MetricsReading(0, 11), MetricsReading(0, 0)], ids=["a request", "tokens", "a restart"]
)
def test_any_use_restarts_the_idle_time(use: MetricsReading) -> None:
    activity = ModelActivity()
    activity.record("a", QUIET, now=100)
    activity.record("a", use, now=110)
    activity.record("a", MetricsReading(0, use.tokens), now=115)
    assert activity.use_of({"a"}, now=115).idle_for == 5


def test_one_replica_in_use_keeps_all() -> None:
    activity = ModelActivity()
    for now in (100, 105, 110):
        activity.record("a", QUIET, now=now)
        activity.record("b", BUSY, now=now)
    assert activity.use_of({"a", "b"}, now=110).idle_for == 0
    assert activity.in_flight == 1


def test_a_replica_without_metrics_is_not_idle() -> None:
    activity = ModelActivity()
    activity.record("a", QUIET, now=100)
    assert activity.use_of({"a", "b"}, now=105) == ModelUse(idle_for=0, is_over=False)
    assert activity.use_of({"a"}, now=100 + STALE_AFTER) == ModelUse(idle_for=STALE_AFTER, is_over=True)
    assert activity.use_of({"a"}, now=101 + STALE_AFTER) == ModelUse(idle_for=0, is_over=False)


def test_a_replica_that_is_gone_counts_no_more() -> None:
    activity = ModelActivity()
    activity.record("a", BUSY, now=100)
    activity.keep_only({"b"})
    assert activity.in_flight == 0


USE: dict[str, tuple[list[tuple[str, MetricsReading]], ModelUse]] = {
    "no request came": ([("a", QUIET), ("a", QUIET)], ModelUse(1, is_over=True)),
    "a request arrives": ([("a", QUIET), ("a", BUSY)], ModelUse(0, is_over=False, started=0)),
    "a request was shorter than our interval": (
        [("a", QUIET), ("a", MetricsReading(0, 11))],
        ModelUse(0, is_over=False, started=0),
    ),
    "a request came and went": ([("a", QUIET), ("a", BUSY), ("a", QUIET)], ModelUse(1, is_over=True, started=1)),
    "one request came before the other went": (
        [("a", QUIET), ("b", QUIET), ("a", BUSY), ("b", BUSY), ("a", QUIET)],
        ModelUse(1, is_over=False, started=2),
    ),
    "a request was there before the first poll": ([("a", BUSY), ("a", BUSY)], ModelUse(0, is_over=False)),
}


@pytest.mark.parametrize(("readings", "use"), USE.values(), ids=USE.keys())
def test_the_start_of_a_use_is_known_if_it_was_observed(
    readings: list[tuple[str, MetricsReading]], use: ModelUse
) -> None:
    activity = ModelActivity()
    for second, (uid, reading) in enumerate(readings):
        activity.record(uid, reading, now=second)
    assert activity.use_of({uid for uid, _ in readings}, now=len(readings) - 1) == use
