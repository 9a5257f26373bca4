"""Objectives that running pods can't count are named, and a new leader doesn't forget them."""

from __future__ import annotations

from typing import Any

from slipway.contract.buckets import OF_TIMES, Boundaries
from slipway.objects.kinds import Object
from slipway.observing.uncounted import fields_uncounted, with_uncounted
from slipway.observing.usage import RunningPod

STATUS: Object = {"slo": {"boundaries": {"ttftP95": "0.5", "e2eP99": "30.0"}}}
KEPT: Object = {**STATUS, "update": {"version": "0.2.0"}}
OLDER: Boundaries = {"ttft": (0.25, 1.0), "tpot": OF_TIMES["tpot"], "e2e": OF_TIMES["e2e"]}


def pod(name: str, minute: int = 0) -> RunningPod:
    return RunningPod(
        f"uid-{name}", "10.0.0.1", is_leaving=False, name=name, started_at=f"2026-11-30T12:{minute:02}:00Z"
    )


def uncounted(*pods: RunningPod, status: Object = STATUS, before: Object | None = None, **known: Boundaries) -> Any:
    read = {f"uid-{name}": each for name, each in known.items()}
    return with_uncounted(status, before, pods, read)["slo"].get("uncounted")


def test_pods_with_the_boundaries_of_this_version_count_everything() -> None:
    assert uncounted(pod("a"), pod("b"), a=OF_TIMES, b=OF_TIMES) is None


def test_the_status_says_what_isnt_counted_since_when_and_how_to_change_it() -> None:
    assert uncounted(pod("a"), status=KEPT, a=OLDER) == {
        "objectives": ["ttftP95"],
        "pod": "a",
        "message": "ttftP95: not counted since 2026-11-30 12:00:00 UTC, because pod a has histograms without the "
        "boundary 0.5. An older version of Slipway made it. Restart the model when convenient, by a new value of the "
        "annotation slipway.dev/sync.",
    }


def test_a_pod_that_reports_no_boundaries_counts_no_objective_of_time() -> None:
    assert uncounted(pod("a"), a={})["objectives"] == ["ttftP95", "e2eP99"]


def test_one_of_several_is_enough_since_the_others_alone_say_something_else() -> None:
    found = uncounted(pod("a", 3), pod("b", 1), pod("c", 2), a=OLDER, b=OF_TIMES, c=OLDER)
    assert found["pod"] == "c"
    assert "since 2026-11-30 12:02:00 UTC, because pod c and 1 more have histograms" in found["message"]


def test_pods_that_no_update_would_replace_have_another_image_or_boundaries_of_their_own() -> None:
    assert "spec.engine.extraArgs has --custom-histogram-buckets" in uncounted(pod("a"), a=OLDER)["message"]


def test_what_an_earlier_leader_has_found_stays_until_its_pod_is_read_or_gone() -> None:
    before = {"slo": {"uncounted": uncounted(pod("a"), a=OLDER)}}
    assert uncounted(pod("a"), before=before) == before["slo"]["uncounted"]
    assert uncounted(pod("a"), before=before, a=OF_TIMES) is None
    assert uncounted(pod("b"), before=before) is None


def test_without_objectives_nothing_is_said() -> None:
    assert with_uncounted({}, None, [pod("a")], {"uid-a": {}}) == {}


def test_whatever_others_have_written_into_the_status_can_be_read() -> None:
    assert fields_uncounted({"slo": {"uncounted": {"objectives": ["ttftP95", 3, None]}}}) == {"ttftP95"}
    assert fields_uncounted({"slo": None}) == frozenset()
