"""The node plugin on a real kubelet: pods of one namespace share a folder of the node, and no other pod sees it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from slipway_devcluster.addresses import NODE_NAME
from support.cluster import AnyCluster, Kube, node_plugin
from support.cluster.clusters import Settings
from support.cluster.namespaces import own_namespace
from support.cluster.node_plugin import KEY, OTHER_KEY, THIRD_KEY, pod
from support.cluster.pods import is_running, run_to_end
from support.waiting import until

RESTRICTED = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
WAIT = "import time; time.sleep(600)"
SHOW = "import os; print(sorted(name for name in os.listdir('/cache') if not name.startswith('.')))"


def put(key: str, size: int = 1) -> str:
    """The program that writes a model of that many bytes."""
    return f"""
import os
os.mkdir("/cache/{key}")
with open("/cache/{key}/weights", "wb") as file:
    file.write(b"w" * {size})
"""


TRAPS = f"""
import os
os.symlink("/etc", "/cache/{KEY}")
os.symlink("/etc/passwd", "/cache/.{KEY}.lock")
os.mkfifo("/cache/.{OTHER_KEY}.lock")
os.mkdir("/cache/{OTHER_KEY}")
os.chdir("/cache/{OTHER_KEY}")
for _ in range(300):
    os.mkdir("deeper")
    os.chdir("deeper")
"""


@pytest.fixture(scope="module", autouse=True)
def plugin(cluster: AnyCluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """The namespace of the plugin."""
    cluster.devcluster()  # no other cluster has a folder of its node that is the tests' own
    kube = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    plugin = asyncio.run(node_plugin.install(kube, cluster, settings))
    yield plugin
    asyncio.run(node_plugin.remove(plugin))


@pytest.fixture
async def restricted(kube: Kube) -> Kube:
    await kube.patch("namespace", kube.namespace, RESTRICTED)
    return kube


@pytest.fixture
async def limited(plugin: Kube) -> AsyncIterator[Kube]:
    """For tests that change the plugin's limits."""
    yield plugin
    await node_plugin.has_values(plugin)


async def runs(kube: Kube, program: str, *, name: str = "", keys: str = KEY) -> str:
    name = name or f"pod-{secrets.token_hex(4)}"
    return await run_to_end(kube, pod(name, program, keys=keys, node=NODE_NAME))


async def starts(kube: Kube, name: str, program: str, *, keys: str = KEY) -> None:
    await kube.apply(pod(name, program, keys=keys, node=NODE_NAME))
    await kube.wait_for("pod", name, is_running)


async def until_event(kube: Kube, name: str, words: str) -> None:
    await kube.wait_for_any(
        "events", "", lambda event: event["involvedObject"]["name"] == name and words in event.get("message", "")
    )


async def test_pods_of_a_restricted_namespace_share_a_folder_that_no_other_namespace_sees(restricted: Kube) -> None:
    await runs(restricted, put(KEY))
    assert await runs(restricted, SHOW) == f"['{KEY}']\n"
    async with own_namespace(restricted) as other:
        assert await runs(other, SHOW) == "[]\n"


@pytest.mark.slow
async def test_a_namespace_that_is_deleted_and_created_again_has_an_empty_folder(kube: Kube) -> None:
    async with own_namespace(kube) as first:
        await runs(first, put(KEY))
    await kube.wait_gone("namespace", first.namespace)
    async with own_namespace(kube, first.namespace) as second:
        assert await runs(second, SHOW) == "[]\n"


@pytest.mark.slow
async def test_a_pod_keeps_its_folder_while_the_plugin_is_replaced_and_later_pods_get_the_same(
    restricted: Kube, plugin: Kube
) -> None:
    await starts(restricted, "early", f"{put(KEY)}{WAIT}")
    old = await node_plugin.pod_on(plugin, NODE_NAME)
    await plugin.run("delete", "pod", old["metadata"]["name"], "--grace-period=0", "--force")
    assert await runs(restricted, SHOW) == f"['{KEY}']\n"
    assert await restricted.run("exec", "early", "--", "ls", "/cache") == f"{KEY}\n"
    await restricted.delete("pod", "early", wait=True)
    assert await runs(restricted, SHOW) == f"['{KEY}']\n"


@pytest.mark.slow
async def test_what_no_pod_names_is_removed_when_there_is_too_much(restricted: Kube, limited: Kube) -> None:
    await runs(restricted, put(OTHER_KEY, 4_000_000), keys=OTHER_KEY)
    await starts(restricted, "uses", f"{put(KEY, 4_000_000)}{WAIT}")
    await node_plugin.has_values(limited, totalSize="6M")

    async def is_removed() -> bool:
        return await restricted.run("exec", "uses", "--", "ls", "/cache") == f"{KEY}\n"

    await until(is_removed)


@pytest.mark.slow
async def test_a_pod_whose_model_has_no_room_waits_with_the_reason_until_there_is_room(
    restricted: Kube, limited: Kube
) -> None:
    await starts(restricted, "uses", f"{put(KEY, 4_000_000)}{WAIT}")
    await node_plugin.has_values(limited, totalSize="3M")
    await restricted.apply(pod("waits", WAIT, keys=THIRD_KEY, node=NODE_NAME))
    await until_event(restricted, "waits", "modelCache.node.totalSize")
    await restricted.delete("pod", "uses")
    await restricted.wait_for("pod", "waits", is_running, timeout=120)


async def test_what_a_tenant_writes_leads_nowhere_and_is_removed(restricted: Kube) -> None:
    """Links out of the folder, locks that are something else, and folders deeper than those of models."""
    await runs(restricted, TRAPS, keys="")

    async def is_removed() -> bool:
        return OTHER_KEY not in await runs(restricted, SHOW, keys="")

    await until(is_removed)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"keys": "../../etc"}, "write names such as 0123456789abcdef"),
        ({"folder": "/etc"}, "the only attribute is `keys`"),
    ],
)
async def test_attributes_of_a_tenant_lead_nowhere(restricted: Kube, attributes: dict[str, str], words: str) -> None:
    await restricted.apply(pod("attacker", WAIT, attributes=attributes, node=NODE_NAME))
    await until_event(restricted, "attacker", words)
