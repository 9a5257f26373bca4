"""Which version of a model's files its pods have, and how far one is that fetches them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from slipway.objects.kinds import Object
from slipway.observing.fetch_progress import LONGEST_LEFT, MOST, Progress, progress_in
from slipway.observing.fetching import fetching_pods, with_fetch
from slipway.observing.keeping import pod_shown
from slipway.observing.snapshot import Snapshot
from support.builders import observed

FOLDER = "0123456789abcdef-01234567"
MOUNT = {"name": "slipway-weights", "mountPath": "/mnt/models", "subPath": FOLDER}
SERVICE: Object = {
    "spec": {"predictor": {"volumes": [{"name": "slipway-weights"}], "model": {"volumeMounts": [MOUNT]}}}
}
RUNNING = {"running": {"startedAt": observed.STARTED}}


def pod(state: Object, *, container: str = "storage-initializer", **spec: Any) -> Object:
    """As it is stored; its init container is in this state."""
    made = observed.pod(podIP="10.0.0.1")
    made["spec"] |= {"initContainers": [{"name": container}], **spec}
    made["status"]["initContainerStatuses"] = [{"name": container, "restartCount": 0, "state": state}]
    return pod_shown(made)


def fetched(version: str, *, folder: str = FOLDER) -> Object:
    said = json.dumps({"folder": folder, "version": version, "bytes": 7, "files": 2})
    return pod(observed.ended(f"slipway-fetched-1:{said}\n", code=0, reason="Completed"))


def snapshot(*pods: Object, status: Object | None = None, **more: Any) -> Snapshot:
    thing = {"metadata": {"name": "model"}, "status": status or {}}
    return Snapshot(now=observed.NOW, llm_deployment=thing, pods=pods, **{"inference_service": SERVICE, **more})


# --- the version -----------------------------------------------------------------------------------------------------


def test_the_version_is_the_one_that_the_pods_fetcher_has_reported() -> None:
    status = with_fetch({"model": {"source": "hf://org/model"}}, snapshot(fetched("0e0e69c")))
    assert status["model"] == {"source": "hf://org/model", "version": "0e0e69c", "folder": FOLDER}


def test_it_stays_known_while_the_model_sleeps() -> None:
    known = {"model": {"version": "0e0e69c", "folder": FOLDER}}
    assert with_fetch({}, snapshot(status=known)) == known


def test_it_is_forgotten_once_the_next_pods_will_fetch_something_else() -> None:
    known = {"model": {"version": "0e0e69c", "folder": "another"}}
    assert with_fetch({}, snapshot(status=known)) == {}


def test_a_pod_of_before_does_not_count() -> None:
    assert with_fetch({}, snapshot(fetched("old", folder="another"))) == {}


@pytest.mark.parametrize("version", ["", "a\nb", "x" * 201, "<b>"])
def test_a_version_that_can_not_be_one_is_not_shown(version: str) -> None:
    assert with_fetch({}, snapshot(fetched(version))) == {}


@pytest.mark.parametrize("said", ["[1]", "{", f'{{"folder": "{FOLDER}", "version": 3}}', "[" * 4000])
def test_any_message_is_survived(said: str) -> None:
    assert with_fetch({}, snapshot(pod(observed.ended(f"slipway-fetched-1:{said}", code=0)))) == {}


# --- the progress ----------------------------------------------------------------------------------------------------


def test_a_pod_whose_fetcher_runs_is_asked() -> None:
    assert [(each.name, each.address) for each in fetching_pods(snapshot(pod(RUNNING)))] == [("model-1", "10.0.0.1")]


def test_no_other_pod_is() -> None:
    others = [fetched("0e0e69c"), pod(RUNNING, container="another"), pod(RUNNING, hostNetwork=True)]
    assert [*fetching_pods(snapshot(*others))] == []


def test_kserves_own_initializer_is_not_asked() -> None:
    service: Object = {"spec": {"predictor": {"model": {"storageUri": "hf://org/model"}}}}
    assert [*fetching_pods(snapshot(pod(RUNNING), inference_service=service))] == []


def test_progress_is_shown_while_it_is_known_and_then_removed() -> None:
    progress = Progress("model-1", 410, 1000, 60, 10, "")
    status = with_fetch({}, snapshot(pod(RUNNING), fetching=progress))
    found = {"pod": "model-1", "bytes": 410, "total": 1000, "percent": 41, "bytesPerSecond": 60, "secondsLeft": 10}
    assert status["model"]["fetch"] == found
    assert with_fetch({"model": {"fetch": found}}, snapshot(status=status)) == {}


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress("m", 41 * 10**9, 100 * 10**9, 1_200_000_000, 49, ""), "41 %, 1.2 GB/s, 49 s left"),
        (Progress("m", 0, 100, 1, 3700, ""), "0 %, 1 B/s, 1h1m40s left"),
        (Progress("m", 12_345_678, None, 999, None, ""), "12 MB so far, 999 B/s"),
        (Progress("m", 0, 100, 0, None, "hub.example is busy"), "0 %; hub.example is busy"),
        (Progress("m", 99_950, None, 99_950_000, None, ""), "100 kB so far, 100 MB/s"),
    ],
)
def test_progress_in_words(progress: Progress, words: str) -> None:
    assert progress.in_words() == words


def said(**fields: Any) -> Progress:
    found = progress_in(json.dumps({"fetch": fields}).encode(), "model-1")
    assert found is not None
    return found


def test_numbers_and_strings_of_a_pod_are_bounded() -> None:
    found = said(bytes=-5, total=1 << 80, bytesPerSecond=True, secondsLeft=1 << 80, waiting="x" * 10_000)
    assert found[1:5] == (0, MOST, 0, LONGEST_LEFT)
    assert len(found.waits_for) <= 200


def test_more_than_all_is_all() -> None:
    assert said(bytes=2000, total=1000).percent == 100


@pytest.mark.parametrize("info", [b"", b"\xff", b"[]", b'{"fetch": 1}', b"[" * 100_000])
def test_what_is_no_response_of_a_fetcher_is_ignored(info: bytes) -> None:
    assert progress_in(info, "model-1") is None
