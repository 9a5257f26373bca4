"""A cluster reaches nothing of the machine or beyond, and changes nothing there."""

import errno
import socket
from contextlib import closing

import pytest
from support.cluster import AnyCluster, Kube, Neighbour, host
from support.cluster.pods import run_python

UNASSIGNED = ("192.0.2.1", 80)  # reserved for documentation: no machine has it
PUBLIC_DNS = ("8.8.8.8", 53)
NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
CONNECT = """
import socket
for address in {addresses!r}:
    try:
        socket.create_connection(address, timeout=5)
        print(0)
    except OSError as error:
        print(error.errno)
"""


def addresses_of_host() -> list[tuple[str, int]]:
    """The addresses of this machine that others could reach."""
    output = host.network()["ip -oneline address"]
    fields = [line.split() for line in output.splitlines()]
    return [(field[3].split("/")[0], 22) for field in fields if field[2] == "inet" and field[1] != "lo"]


def outside() -> list[tuple[str, int]]:
    return [UNASSIGNED, PUBLIC_DNS, *addresses_of_host()]


@pytest.fixture(autouse=True)
def embedded(cluster: AnyCluster) -> None:
    """Other clusters aren't isolated."""
    cluster.devcluster()


async def test_no_packet_of_a_pod_leaves_the_node(kube: Kube, python_image: str) -> None:
    output = await run_python(kube, python_image, CONNECT.format(addresses=outside()))
    assert {int(line) for line in output.split()} <= NO_ROUTE, output


@pytest.mark.parametrize("address", outside())
def test_no_packet_of_the_node_itself_leaves_it(cluster: AnyCluster, address: tuple[str, int]) -> None:
    with cluster.devcluster().entered():
        connection = socket.socket()
    with closing(connection):
        connection.settimeout(5)
        assert connection.connect_ex(address) in NO_ROUTE


def test_a_cluster_changes_nothing_of_the_machines_network(neighbour: Neighbour) -> None:
    assert host.network() == neighbour.host_before.network


def test_a_cluster_mounts_nothing_on_the_machine(neighbour: Neighbour) -> None:
    assert host.snapshot(neighbour.cluster).mounts == neighbour.host_before.mounts
