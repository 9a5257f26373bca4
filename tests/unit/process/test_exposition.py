"""Metrics of which each of very many objects has a few lines."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families
from slipway.process.exposition import LINES_PER_PIECE, Description, Distribution, ObjectMetrics, Sample
from slipway.process.metrics import MetricsRegistry

REPLICAS = Description("slipway_replicas", "gauge", ("llmdeployment", "kind"), "How many")
WAKES = Description("slipway_wakes_total", "counter", ("llmdeployment",), "How often")
HOLDS = Description("slipway_hold_seconds", "histogram", ("llmdeployment",), "How long")


def samples(name: str) -> Iterator[Sample]:
    yield Sample(REPLICAS, (name, "wanted"), 2)
    yield Sample(WAKES, (name,), 1.5)
    yield Sample(HOLDS, (name,), Distribution((0.5, 10.0), (3, 0, 1), 700.25))


def parsed(*names: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page = b"".join(ObjectMetrics((REPLICAS, WAKES, HOLDS), lambda: names, samples).in_steps()).decode()
    families = list(text_string_to_metric_families(page))
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def test_prometheus_reads_what_is_written() -> None:
    assert parsed("llama") == {
        ("slipway_replicas", (("kind", "wanted"), ("llmdeployment", "llama"))): 2,
        ("slipway_wakes_total", (("llmdeployment", "llama"),)): 1.5,
        ("slipway_hold_seconds_bucket", (("le", "0.5"), ("llmdeployment", "llama"))): 3,
        ("slipway_hold_seconds_bucket", (("le", "10.0"), ("llmdeployment", "llama"))): 3,
        ("slipway_hold_seconds_bucket", (("le", "+Inf"), ("llmdeployment", "llama"))): 4,
        ("slipway_hold_seconds_sum", (("llmdeployment", "llama"),)): 700.25,
        ("slipway_hold_seconds_count", (("llmdeployment", "llama"),)): 4,
    }


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", 'x"} 1\nslipway_leader{y="', "é\u2028"])
def test_a_label_value_stays_a_value_whatever_is_in_it(name: str) -> None:
    assert parsed(name)["slipway_wakes_total", (("llmdeployment", name),)] == 1.5


def test_the_lines_of_a_metric_follow_one_another_however_many_objects_there_are() -> None:
    names = [f"model-{each}" for each in range(3 * LINES_PER_PIECE)]
    page = b"".join(ObjectMetrics((REPLICAS, WAKES, HOLDS), lambda: names, samples).in_steps()).decode()
    of_metric = [line.partition("{")[0].partition("_seconds_")[0] for line in page.splitlines() if line[0] != "#"]
    changes = sum(one != other for one, other in pairwise(of_metric))
    assert changes == 2
    assert len(of_metric) == len(names) * 7


def test_a_metric_without_an_object_still_has_its_help() -> None:
    metrics = MetricsRegistry("slipway")
    metrics.add_of_objects(ObjectMetrics((REPLICAS, WAKES), lambda: (), samples))
    assert metrics.page().decode().count("# HELP") == 2
    assert metrics.descriptions == [REPLICAS, WAKES]
