"""Invalid names, options and components of clusters are refused with one sentence."""

from pathlib import Path

import pytest
from slipway_devcluster import cluster as clusters
from slipway_devcluster import lifecycle, nodes
from slipway_devcluster.components import Component
from slipway_devcluster.errors import Refusal
from slipway_devcluster.identity import Identity
from slipway_devcluster.namespaces import Namespaces
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
def test_valid_names_are_accepted(cache: Cache, name: str) -> None:
    assert clusters.named(name, cache).name == name


@pytest.mark.parametrize("name", ["", "Dev", "1a", "-a", "a-", "a_b", "a/b", "../a", "a" * 21, "a\n"])
def test_an_invalid_name_is_refused_with_the_rule(cache: Cache, name: str) -> None:
    with pytest.raises(Refusal, match="lower-case letter"):
        clusters.named(name, cache)


def test_a_cluster_that_does_not_exist_can_be_created(cache: Cache) -> None:
    with pytest.raises(Refusal, match=r"there is no cluster 'dev'; make it with `devcluster up --name dev`"):
        clusters.find("dev", cache)


def test_stopping_a_cluster_that_does_not_exist_changes_nothing_and_says_so(cache: Cache) -> None:
    with pytest.raises(Refusal, match=r"there is no cluster 'dev' to end \(there are: none\); nothing was changed"):
        lifecycle.down("dev", cache=cache, steps=Steps(cache))


def test_stopping_a_cluster_that_does_not_exist_names_those_that_do(cache: Cache) -> None:
    recorded(cache, Record("other", 1, "slipway-other"))

    with pytest.raises(Refusal, match="there are: other"):
        lifecycle.down("dev", cache=cache, steps=Steps(cache))


def test_a_cluster_whose_node_has_stopped_says_how_to_create_it_again(cache: Cache) -> None:
    recorded(cache, Record("dev", 1, "slipway-dev", ready=True))

    with pytest.raises(Refusal, match="has ended; `devcluster up --name dev` makes it again"):
        clusters.find("dev", cache)


def test_an_unknown_component_is_refused_with_a_list_of_the_known_ones(cache: Cache) -> None:
    etcd = Running(Component("etcd", ["etcd"]), Identity(pid=1, start_ticks=1, boot_id="b"))
    cluster = recorded(cache, Record("dev", 1, "slipway-dev", components={"etcd": etcd}))

    with pytest.raises(Refusal, match="'etdc' is not a component of this cluster, which has etcd"):
        cluster.kill("etdc")


def test_the_first_node_cannot_be_taken_away(cache: Cache) -> None:
    cluster = recorded(cache, Record("dev", 1, "c", nodes=2))

    with pytest.raises(
        Refusal, match="'slipway' is not a further node of cluster 'dev', which has slipway-2; the first"
    ):
        nodes.cut_power(cluster, "slipway")


def test_programs_of_a_node_that_was_taken_away_do_not_run(cache: Cache) -> None:
    gone = Identity(pid=1, start_ticks=1, boot_id="b")
    kubelet = Running(Component("kubelet.slipway-2", ["kubelet"]), gone, "slipway-2")
    further = {"slipway-2": Namespaces(gone, gone)}
    components = {"kubelet.slipway-2": kubelet}
    cluster = recorded(cache, Record("dev", 1, "c", nodes=2, further=further, components=components))

    assert not cluster.is_running("kubelet.slipway-2")


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        (Record("dev", 0, "c", nodes=2), "--nodes"),
        (Record("dev", 0, "c", gpu_nodes="h100:2"), "--gpu-nodes"),
        (Record("dev", 0, "c", node_gpus=1), "--node-gpus"),
        (Record("dev", 0, "c", image_volumes=True), "--image-volumes"),
        (Record("dev", 17000, "c"), "--port"),
    ],
)
def test_other_options_for_a_running_cluster_are_refused(wanted: Record, option: str) -> None:
    with pytest.raises(Refusal, match=f"is up with {option} .*; end it first"):
        lifecycle.refuse_other_options(Record("dev", 16443, "c"), wanted)


def test_the_same_options_for_a_running_cluster_are_accepted() -> None:
    found = Record("dev", 16443, "c", gpu_nodes="h100:2")

    lifecycle.refuse_other_options(found, Record("dev", 0, "c", gpu_nodes="h100:2"))


def test_clusters_with_the_same_name_in_two_caches_have_different_control_groups(tmp_path: Path) -> None:
    one, other = (clusters.named("dev", Cache(tmp_path / name)) for name in ("a", "b"))

    assert clusters.cgroup_name(one.layout) != clusters.cgroup_name(other.layout)


def test_two_clusters_never_get_the_same_port(cache: Cache) -> None:
    first = lifecycle.free_port(cache)
    recorded(cache, Record("first", first, "c"))

    assert lifecycle.free_port(cache) != first


def test_if_all_ports_are_taken_the_error_names_the_option(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PORTS", range(16443, 16444))
    recorded(cache, Record("first", 16443, "c"))

    with pytest.raises(Refusal, match="are all in use; choose another with --port"):
        lifecycle.free_port(cache)
