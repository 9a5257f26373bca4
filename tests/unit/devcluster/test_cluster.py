"""Wrong names, options and components of clusters are refused with one sentence."""

from pathlib import Path

import pytest
from slipway_devcluster import cluster as clusters
from slipway_devcluster import lifecycle
from slipway_devcluster.components import Component
from slipway_devcluster.errors import Refusal
from slipway_devcluster.identity import Identity
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Record, Running


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def recorded(cache: Cache, record: Record) -> clusters.Cluster:
    cluster = clusters.named(record.name, cache)
    cluster.layout.state.mkdir(parents=True)
    record.write(cluster.layout.state)
    return cluster


@pytest.mark.parametrize("name", ["a", "dev", "a-1", "a" * 20])
def test_good_names_are_taken(cache: Cache, name: str) -> None:
    assert clusters.named(name, cache).name == name


@pytest.mark.parametrize("name", ["", "Dev", "1a", "-a", "a-", "a_b", "a/b", "../a", "a" * 21, "a\n"])
def test_a_bad_name_is_refused_with_the_rule(cache: Cache, name: str) -> None:
    with pytest.raises(Refusal, match="lower-case letter"):
        clusters.named(name, cache)


def test_a_cluster_that_is_not_there_can_be_made(cache: Cache) -> None:
    with pytest.raises(Refusal, match=r"there is no cluster 'dev'; make it with `devcluster up --name dev`"):
        clusters.find("dev", cache)


def test_ending_what_is_not_there_changes_nothing_and_says_so(cache: Cache) -> None:
    with pytest.raises(Refusal, match=r"there is no cluster 'dev' to end \(there are: none\); nothing was changed"):
        lifecycle.down("dev", cache=cache, steps=Steps(cache))


def test_ending_what_is_not_there_names_what_is(cache: Cache) -> None:
    recorded(cache, Record("other", 1, "slipway-other"))

    with pytest.raises(Refusal, match="there are: other"):
        lifecycle.down("dev", cache=cache, steps=Steps(cache))


def test_a_cluster_whose_node_has_ended_says_how_to_make_it_again(cache: Cache) -> None:
    recorded(cache, Record("dev", 1, "slipway-dev", ready=True))

    with pytest.raises(Refusal, match="has ended; `devcluster up --name dev` makes it again"):
        clusters.find("dev", cache)


def test_a_component_that_is_not_there_is_refused_with_those_that_are(cache: Cache) -> None:
    etcd = Running(Component("etcd", ["etcd"]), Identity(pid=1, start_ticks=1, boot_id="b"))
    cluster = recorded(cache, Record("dev", 1, "slipway-dev", components={"etcd": etcd}))

    with pytest.raises(Refusal, match="'etdc' is not a component of this cluster, which has etcd"):
        cluster.kill("etdc")


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        (Record("dev", 0, "c", gpu_nodes="h100:2"), "--gpu-nodes"),
        (Record("dev", 0, "c", node_gpus=1), "--node-gpus"),
        (Record("dev", 17000, "c"), "--port"),
    ],
)
def test_a_cluster_that_is_up_is_not_changed_behind_one_s_back(wanted: Record, option: str) -> None:
    with pytest.raises(Refusal, match=f"is up with {option} .*; end it first"):
        lifecycle.refuse_other_options(Record("dev", 16443, "c"), wanted)


def test_asking_again_for_what_is_up_is_fine() -> None:
    found = Record("dev", 16443, "c", gpu_nodes="h100:2")

    lifecycle.refuse_other_options(found, Record("dev", 0, "c", gpu_nodes="h100:2"))


def test_clusters_of_one_name_in_two_caches_do_not_share_a_control_group(tmp_path: Path) -> None:
    one, other = (clusters.named("dev", Cache(tmp_path / name)) for name in ("a", "b"))

    assert clusters.cgroup_name(one.layout) != clusters.cgroup_name(other.layout)


def test_two_clusters_are_never_given_one_port(cache: Cache) -> None:
    first = lifecycle.free_port(cache)
    recorded(cache, Record("first", first, "c"))

    assert lifecycle.free_port(cache) != first


def test_when_every_port_is_taken_the_option_is_named(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PORTS", range(16443, 16444))
    recorded(cache, Record("first", 16443, "c"))

    with pytest.raises(Refusal, match="are all in use; choose another with --port"):
        lifecycle.free_port(cache)
