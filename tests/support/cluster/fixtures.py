"""A plugin of pytest for tests that run on a cluster: options, fixtures, and a report when a test fails.

There is one cluster for the session, and one namespace for each test.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from slipway_devcluster import lifecycle
from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster, named
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Options

from support.cluster import clusters, host, report
from support.cluster import installation as installed
from support.cluster.access import ServiceAccess
from support.cluster.clusters import AnyCluster, Neighbour, Settings, own_devcluster
from support.cluster.kube import Kube
from support.cluster.mixed_nodes import Mixed
from support.cluster.namespaces import own_namespace
from support.cluster.nodes import made_up_node
from support.cluster.tester import ReachableServer
from support.cluster.volumes import folder_claimed
from support.programs import operator
from support.programs.operator import Operator

NO_IMAGE = "localhost/none"
LIMIT = 180
LIMITS = {"alerts": 900, "runbooks": 900}
"""Seconds for a test; those in these folders wait for windows of some minutes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("slipway", "Slipway: where cluster tests run")
    group.addoption(
        "--cluster",
        choices=["embedded", "kind", "existing"],
        default="embedded",
        help="embedded (default): a devcluster on this machine; kind: made by kind, where Docker answers; "
        "existing: the one of $KUBECONFIG, which must have KServe and KEDA",
    )
    group.addoption(
        "--tester-address",
        metavar="IP",
        help="an address of this machine that pods reach, for tests in which the cluster sends requests to the test; "
        "embedded clusters need none",
    )
    group.addoption(
        "--python-image",
        metavar="NAME",
        default="docker.io/library/python:3.11-slim-bookworm",
        help="an image with Python that the nodes can pull; embedded clusters need none (default: %(default)s)",
    )
    group.addoption("--cluster-name", default="test", metavar="NAME", help="its name (default: test)")
    group.addoption("--keep-cluster", action="store_true", help="leave the cluster up at the end")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limits the time of tests that don't say how long they take. A fixture may take long when nothing is built yet."""
    for item in items:
        if "settings" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            seconds = LIMITS.get(item.path.parent.name, LIMIT)
            item.add_marker(pytest.mark.timeout(seconds, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Puts the report before the test's own output, so that its first lines say how to go on."""
    done = yield
    if done.failed:
        done.sections[:0] = report.sections_of(item)
    return done


def kubectl_for(cluster: AnyCluster | Cluster, folders: pytest.TempPathFactory) -> Kube:
    """Returns kubectl for the default namespace; all kubectl processes of the session share a cache."""
    return Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=folders.getbasetemp() / "kubectl")


# --- for the session -------------------------------------------------------------------------------------------------


@contextmanager
def _shown(config: pytest.Config) -> Iterator[None]:
    """Shows the progress of a long step."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        yield


def _own_name(config: pytest.Config) -> str:
    """Each of several test processes has a cluster of its own, so that none sees what another one does."""
    name: str = config.getoption("cluster_name")
    worker = getattr(config, "workerinput", {}).get("workerid")
    return f"{name}-{worker}" if worker else name


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    cache = default_cache()
    return Settings(
        kind=pytestconfig.getoption("cluster"),
        name=_own_name(pytestconfig),
        keep=pytestconfig.getoption("keep_cluster"),
        tester_address=pytestconfig.getoption("tester_address"),
        python_image=pytestconfig.getoption("python_image"),
        cache=cache,
        steps=Steps(cache, stream=sys.__stderr__),
    )


@pytest.fixture(scope="session")
def cluster(settings: Settings, pytestconfig: pytest.Config) -> Iterator[AnyCluster]:
    """The cluster of the session, with KServe and KEDA."""
    with ExitStack() as session:
        with _shown(pytestconfig):
            cluster = session.enter_context(clusters.cluster_of_session(settings))
        yield cluster
        with _shown(pytestconfig):
            session.close()


@pytest.fixture(scope="session")
def python_image(cluster: AnyCluster, pytestconfig: pytest.Config) -> str:
    with _shown(pytestconfig):
        return cluster.python_image()


@pytest.fixture(scope="session")
def llamacpp_image(cluster: AnyCluster, pytestconfig: pytest.Config) -> str:
    with _shown(pytestconfig):
        return cluster.llamacpp_image()


@pytest.fixture(scope="session")
def vllm_cpu_image(cluster: AnyCluster, pytestconfig: pytest.Config) -> str:
    with _shown(pytestconfig):
        return cluster.vllm_cpu_image()


@pytest.fixture(scope="session")
def model_folder(cluster: AnyCluster, pytestconfig: pytest.Config) -> Path:
    with _shown(pytestconfig):
        return cluster.model_folder()


@pytest.fixture(scope="session")
def checkpoint_folder(cluster: AnyCluster, pytestconfig: pytest.Config) -> Path:
    with _shown(pytestconfig):
        return cluster.checkpoint_folder()


@pytest.fixture(scope="session")
def neighbour(cluster: AnyCluster, settings: Settings, pytestconfig: pytest.Config) -> Iterator[Neighbour]:
    """A second devcluster, for tests that change or break it."""
    second = own_devcluster(cluster, settings)
    before = host.snapshot(second)
    with _shown(pytestconfig):
        lifecycle.up(second.name, cache=settings.cache, steps=settings.steps, options=Options(volumes=True))
    yield Neighbour(second, before)
    with _shown(pytestconfig), suppress(Refusal):  # a test may have removed it
        lifecycle.down(second.name, cache=settings.cache, steps=settings.steps)


@pytest.fixture(scope="module")
def operator_pods(neighbour: Neighbour, settings: Settings, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The neighbour with all of Slipway in it. Its programs are removed at the end: they would act on other tests'
    objects."""
    with _shown(pytestconfig):
        installation.install(neighbour.cluster, cache=settings.cache, steps=settings.steps)
    yield neighbour.cluster
    installation.remove_programs(neighbour.cluster)


@pytest.fixture(scope="session")
def two_nodes(settings: Settings, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A devcluster with a second real node, for these tests alone; no simulated nodes, and nothing of Slipway."""
    if settings.kind != "embedded":
        pytest.skip("only an embedded cluster has a node that a test can take away")
    pair = named(f"{settings.name[:13]}-two", settings.cache)
    with _shown(pytestconfig):
        lifecycle.up(pair.name, cache=settings.cache, steps=settings.steps, options=Options(volumes=True, nodes=2))
    yield pair
    if not settings.keep:
        with _shown(pytestconfig), suppress(Refusal):
            lifecycle.down(pair.name, cache=settings.cache, steps=settings.steps)


@pytest.fixture
def spare(cluster: AnyCluster, settings: Settings) -> Iterator[Cluster]:
    """A devcluster that is not up yet; it is removed at the end, however the test ends."""
    spare = own_devcluster(cluster, settings)
    yield spare
    with suppress(Refusal):
        lifecycle.down(spare.name, cache=settings.cache, steps=settings.steps)


# --- for a module ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed_cluster(cluster: AnyCluster, llamacpp_image: str, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """The cluster, with the types, runtimes and profiles that the operator needs."""
    kube = kubectl_for(cluster, tmp_path_factory)
    asyncio.run(installed.install(kube, llamacpp_image))
    return kube


@pytest.fixture(scope="module")
def installed_neighbour(neighbour: Neighbour, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """The same for the neighbour, without an image: its models stay at zero."""
    kube = kubectl_for(neighbour.cluster, tmp_path_factory)
    asyncio.run(installed.install(kube, NO_IMAGE))
    return kube


@pytest.fixture(scope="module")
def slipway(cluster: AnyCluster, installed_cluster: Kube) -> Iterator[Operator]:
    """The operator, as a process on this machine; it leads."""
    with operator.running(cluster.kubeconfig) as slipway:
        yield slipway


# --- for each test ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def kube(cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kube]:
    """The cluster, in a new namespace for the test."""
    whole = kubectl_for(cluster, tmp_path_factory)
    async with own_namespace(whole) as kube:
        yield kube


@pytest.fixture
async def neighbour_kube(neighbour: Neighbour, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kube]:
    """The neighbour, in a new namespace for the test."""
    async with own_namespace(kubectl_for(neighbour.cluster, tmp_path_factory)) as kube:
        yield kube


@pytest.fixture
def namespace(kube: Kube) -> str:
    return kube.namespace


@pytest.fixture
async def access(cluster: AnyCluster, kube: Kube) -> AsyncIterator[ServiceAccess]:
    async with cluster.access(kube) as access:
        yield access


@pytest.fixture
def tester(cluster: AnyCluster) -> ReachableServer:
    """The test process as a server that pods can reach."""
    return cluster.tester()


@pytest.fixture
async def node(kube: Kube, cluster: AnyCluster) -> AsyncIterator[str]:
    """A node without a machine, whose status the test writes."""
    cluster.devcluster()
    async with made_up_node(kube) as node:
        yield node


@pytest.fixture
async def mixed(kube: Kube, cluster: AnyCluster) -> AsyncIterator[Mixed]:
    """Simulated nodes of many kinds, for the test alone."""
    cluster.devcluster()  # only clusters that the tests create have kwok
    mixed = Mixed(kube)
    yield mixed
    await mixed.end()


@pytest.fixture
async def weights(kube: Kube) -> AsyncIterator[None]:
    """The claim `weights` of the namespace, for engines that don't read it."""
    async with folder_claimed(kube, "weights", Path("/usr")):
        yield


@pytest.fixture
async def gemma_volume(kube: Kube, model_folder: Path) -> AsyncIterator[None]:
    """The demo model, as the claim `gemma` of the namespace."""
    async with folder_claimed(kube, "gemma", model_folder):
        yield
