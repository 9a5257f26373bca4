"""Starts a cluster, from nothing until it is Ready, and ends it."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway_devcluster import cgroups, components, configuration, namespaces, nodes, platform, requirements, volumes
from slipway_devcluster import gpu_nodes as simulated
from slipway_devcluster import record as records
from slipway_devcluster.addresses import NODE_NAME, further_nodes
from slipway_devcluster.builds import Build, discard_go_caches, ensure_all, missing
from slipway_devcluster.cluster import Cluster, cgroup_name, every, named
from slipway_devcluster.components import Component
from slipway_devcluster.errors import Refusal
from slipway_devcluster.image_store import ensure_seed, plant
from slipway_devcluster.images import ensure_platform_images, existing_base_image
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import OF_EVERY_CLUSTER, OF_GPU_NODES, OF_IMAGE_VOLUMES, OF_VOLUMES
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Options, Record

PORTS = range(16443, 16543)
READY_TIMEOUT = 90
NO_OPTIONS = Options()


@dataclass(frozen=True)
class Parts:
    """What is made once and used by every cluster."""

    builds: dict[str, Build]
    seed: Path

    def program(self, upstream: str, name: str) -> Path:
        return self.builds[upstream].binary(name)


def programs_of(options: Options) -> tuple[str, ...]:
    """The upstreams that a cluster needs: kwok only with simulated GPU nodes, containerd only to mount images, and the
    provisioner only to make volumes."""
    of_nodes = OF_GPU_NODES if options.gpu_nodes else ()
    of_volumes = OF_VOLUMES if options.volumes else ()
    return (*OF_EVERY_CLUSTER, *of_nodes, *(OF_IMAGE_VOLUMES if options.image_volumes else ()), *of_volumes)


def ensure_parts(
    cache: Cache, steps: Steps, names: Sequence[str], *, alongside: Sequence[Callable[[], object]] = ()
) -> Parts:
    """Build those of `names` that are not in the cache yet, and run `alongside` next to it."""
    requirements.ensure_fit(cache, everything_built=not missing(names, cache), steps=steps)
    builds: dict[str, Build] = {}
    steps.parallel(lambda: builds.update(_ensure_built(names, cache, steps)), *alongside)
    programs = {
        "node": builds["node"].binary("node"),
        "coredns": builds["coredns"].binary("coredns"),
        "kserve-manager": builds["kserve"].binary("manager"),
        **{f"keda-{name}": builds["keda"].binary(name) for name in ("operator", "adapter", "webhooks")},
    }
    archives = [*ensure_platform_images(programs, cache, steps), *existing_base_image(cache)]
    return Parts(builds, ensure_seed(archives, cache, steps))


def _ensure_built(names: Sequence[str], cache: Cache, steps: Steps) -> dict[str, Build]:
    """The builds. Go's own caches, ten times larger than the programs, are removed after the last one."""
    absent = missing(names, cache)
    builds = ensure_all(names, cache, steps)
    if absent:
        discard_go_caches(cache)
    return builds


# --- up --------------------------------------------------------------------------------------------------------------


def up(
    name: str,
    *,
    cache: Cache,
    steps: Steps,
    options: Options = NO_OPTIONS,
    port: int | None = None,
    next_to_builds: Sequence[Callable[[], object]] = (),
    next_to_platform: Callable[[Cluster], object] = lambda _: None,
) -> Cluster:
    """Return the cluster of that name when it is Ready. A cluster that is up already must have the same options.

    `next_to_builds` run while missing programs are built. `next_to_platform` is called with the cluster as soon as its
    API server answers, and runs while KServe and KEDA start: it can load images, and create objects that need neither.
    """
    cluster = named(name, cache)
    wanted = Record(name, port or 0, cgroup_name(cluster.layout), **asdict(options))
    simulated.gpu_nodes(options.gpu_nodes)  # a mistake in it is reported before anything is built
    parts = ensure_parts(cache, steps, programs_of(options), alongside=next_to_builds)
    with locked(cache.locks / f"cluster-{name}", say=steps.say):
        if cluster.alive():
            refuse_other_options(cluster.record, wanted)
            for node in further_nodes(wanted.nodes):
                nodes.switch_on(cluster, node.name)
            next_to_platform(cluster)
            return cluster
        _remove(cluster)
        started = time.monotonic()
        with steps.step(start_step(name)), _undone_on_failure(cluster, cache):
            _Start(cluster, wanted, parts, cache, started).run(steps, lambda: next_to_platform(cluster))
    return cluster


def start_step(cluster: str) -> str:
    return f"starting cluster {cluster}"


def refuse_other_options(found: Record, wanted: Record) -> None:
    asked = [
        ("--nodes", found.nodes, wanted.nodes),
        ("--gpu-nodes", found.gpu_nodes, wanted.gpu_nodes),
        ("--node-gpus", found.node_gpus, wanted.node_gpus),
        ("--image-volumes", found.image_volumes, wanted.image_volumes),
        ("--volumes", found.volumes, wanted.volumes or found.volumes),
        ("--port", found.port, wanted.port or found.port),
    ]
    for option, has, wants in asked:
        if has != wants:
            raise Refusal(
                f"cluster {found.name!r} is up with {option} {has or 'unset'}, not {wants or 'unset'}; "
                f"end it first with `devcluster down --name {found.name}`, or choose another --name"
            )


class _Start:
    """One start of one cluster; its methods are called in the order in which they are written."""

    def __init__(self, cluster: Cluster, record: Record, parts: Parts, cache: Cache, started: float) -> None:
        self._cluster, self._record, self._parts, self._cache = cluster, record, parts, cache
        self._layout = cluster.layout
        self._further = [cluster.layout.of(node) for node in further_nodes(record.nodes)]
        self._started = started

    def run(self, steps: Steps, next_to_platform: Callable[[], object]) -> None:
        steps.parallel(self._prepare_files, self._plant_images)
        self._make_nodes()
        self._start_control_plane()
        steps.parallel(lambda: self._start_platform(steps), next_to_platform)
        self._record.ready = True
        self._done("ready")

    def _start_platform(self, steps: Steps) -> None:
        steps.parallel(self._start_node_programs, self._install_platform, self._add_gpus)
        self._wait_until_ready()

    def _prepare_files(self) -> None:
        self._layout.state.mkdir(parents=True, exist_ok=True)
        with locked(self._cache.locks / "port"):  # two clusters that start at the same moment don't choose the same one
            self._record.port = self._record.port or free_port(self._cache)
            self._record.write(self._layout.state)
        self._certificates = configuration.write(self._layout, self._record)
        kubernetes = self._parts.builds["kubernetes"]
        self._record.programs = {
            "node": str(self._parts.program("node", "node")),
            "kubectl": str(kubernetes.binary("kubectl")),
            "helm": str(self._parts.program("helm", "helm")),
            **({"ctr": str(self._parts.program("containerd", "ctr"))} if self._record.image_volumes else {}),
        }

    def _plant_images(self) -> None:
        self._layout.state.mkdir(parents=True, exist_ok=True)
        for layout in (self._layout, *self._further):
            plant(self._parts.seed, layout.containerd)

    def _make_nodes(self) -> None:
        self._record.write(self._layout.state)
        cgroups.create(self._record.cgroup)
        namespaces.create(
            node_program=self._parts.program("node", "node"),
            state=self._layout.state,
            cache_root=self._cache.root,
            port=self._record.port,
            log=self._layout.logs / "node.log",
            record=self._record_node,
        )
        for layout in self._further:
            nodes.make(self._record, layout, self._namespaces)
        self._done("node")

    def _record_node(self, made: namespaces.Namespaces) -> None:
        self._record.namespaces = made
        self._record.write(self._layout.state)

    def _start_control_plane(self) -> None:
        image_volumes = self._record.image_volumes
        containerd = self._parts.program("containerd", "containerd") if image_volumes else _program("containerd")
        api_server = components.api_server(self._layout, self._parts.program("kubernetes", "kube-apiserver"))
        self._spawn(components.containerd(self._layout, containerd))
        self._spawn(components.etcd(self._layout, self._parts.program("etcd", "etcd")))
        self._spawn(components.with_image_volumes(api_server) if image_volumes else api_server)
        self._wait("the API server", lambda: api_server_answers(self._cluster))
        self._done("API server")

    def _start_node_programs(self) -> None:
        for name in (*components.OF_EVERY_NODE, *components.OF_CONTROL_PLANE):
            make = components.KUBERNETES[name]
            self._spawn(make(self._layout, self._parts.program("kubernetes", name)))
        for layout in self._further:
            nodes.start(self._record, layout)
        if self._record.volumes:
            program = self._parts.program("local-path", "local-path-provisioner")
            self._spawn(volumes.provisioner(self._layout, program))

    def _install_platform(self) -> None:
        objects = platform.rendered(self._parts.builds, self._cache)
        everything = [*platform.dns(), *platform.adapt(objects, self._certificates), *self._storage_classes()]
        platform.install(everything, self._cluster.run_kubectl)
        self._done("platform installed")

    def _storage_classes(self) -> list[volumes.Object]:
        return volumes.storage_classes(is_default=not self._record.gpu_nodes) if self._record.volumes else []

    def _add_gpus(self) -> None:
        nodes = simulated.gpu_nodes(self._record.gpu_nodes)
        if not nodes:
            return
        kwok, config = self._parts.builds["kwok"], self._layout.config
        stages = config / "kwok-stages.yaml"
        stages.write_text(f"{simulated.kwok_stages(kwok.source)}---\n{volumes.kwok_stage()}\n")
        arguments = simulated.kwok_arguments(self._layout.kubeconfig_of("kwok"), stages)
        listed = {"apiVersion": "v1", "kind": "List", "items": nodes}
        self._cluster.run_kubectl(["apply", "--server-side", "-f", "-"], json.dumps(listed).encode())
        self._spawn(Component("kwok", [str(kwok.binary("kwok")), *arguments]))

    def _wait_until_ready(self) -> None:
        kubectl, timeout = self._cluster.run_kubectl, f"--timeout={READY_TIMEOUT}s"
        for node in (NODE_NAME, *(layout.node.name for layout in self._further)):
            kubectl(["wait", "--for=create", timeout, f"node/{node}"], None)
        if self._record.node_gpus:
            patch = json.dumps(simulated.advertise_gpus_patch(self._record.node_gpus))
            kubectl(["patch", "node", NODE_NAME, "--subresource=status", "--type=merge", "-p", patch], None)
        kubectl(["wait", "--for=condition=Ready", timeout, "nodes", "--all"], None)
        self._done("nodes Ready")
        kubectl(["wait", "-n", "kube-system", "--for=condition=Available", timeout, "deployment/coredns"], None)
        platform.wait_until_available(kubectl, timeout=READY_TIMEOUT)
        kubectl(["wait", "--for=create", timeout, "serviceaccount/default"], None)
        for layout in self._further:
            nodes.admit_pods(self._cluster, layout.node)

    @property
    def _namespaces(self) -> namespaces.Namespaces:
        if self._record.namespaces is None:
            raise RuntimeError("the node of this cluster has not been made yet")
        return self._record.namespaces

    def _spawn(self, component: Component) -> None:
        nodes.spawn(self._record, self._layout, component)

    def _wait(self, what: str, answers: Callable[[], bool], *, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not answers():
            self._refuse_if_one_ended()
            if time.monotonic() > deadline:
                raise Refusal(f"{what} did not answer within {timeout:.0f} s")
            time.sleep(0.03)

    def _refuse_if_one_ended(self) -> None:
        for name, running in self._record.components.items():
            place = self._record.further.get(running.node, self._namespaces)
            if not running.process.alive(proc=place.proc):
                raise Refusal(f"{name} ended while the cluster was starting")

    def _done(self, phase: str) -> None:
        self._record.phases[phase] = round(time.monotonic() - self._started, 2)
        self._record.write(self._layout.state)


def api_server_answers(cluster: Cluster) -> bool:
    """Whether the API server reports that it is ready."""
    pki_folder, port = cluster.layout.pki, cluster.record.port
    context = ssl.create_default_context(cafile=str(pki_folder / "ca.crt"))
    context.load_cert_chain(pki_folder / "admin.crt", pki_folder / "admin.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port(cache: Cache) -> int:
    """The first port on which no program listens, and that no other cluster uses."""
    given = {found.port for cluster in every(cache) if (found := records.read(cluster.layout.state))}
    for port in PORTS:
        if port not in given and is_free(port):
            return port
    raise Refusal(f"ports {PORTS.start} to {PORTS.stop - 1} on 127.0.0.1 are all in use; choose another with --port")


def is_free(port: int) -> bool:
    """Whether no program listens on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _program(name: str) -> Path:
    found = requirements.find_program(name)
    if found is None:
        raise Refusal(f"{name} is not installed; run `devcluster doctor`")
    return found


# --- down ------------------------------------------------------------------------------------------------------------


def down(name: str, *, cache: Cache, steps: Steps) -> None:
    """End the cluster and remove all of it, in whatever state it is."""
    cluster = named(name, cache)
    with locked(cache.locks / f"cluster-{name}", say=steps.say):
        if not cluster.layout.state.exists():
            others = ", ".join(other.name for other in every(cache)) or "none"
            raise Refusal(f"there is no cluster {name!r} to end (there are: {others}); nothing was changed")
        with steps.step(f"ending cluster {name}"):
            _remove(cluster)


def _remove(cluster: Cluster) -> None:
    found = records.read(cluster.layout.state)
    for node in (*found.further.values(), found.namespaces) if found else ():
        if node:
            node.destroy()
    cgroups.remove(cgroup_name(cluster.layout))
    if cluster.layout.state.exists():
        shutil.rmtree(cluster.layout.state)


@contextlib.contextmanager
def _undone_on_failure(cluster: Cluster, cache: Cache) -> Iterator[None]:
    """A context that removes a cluster whose start failed or was interrupted; only its logs are kept."""
    try:
        yield
    except BaseException as error:
        logs = cache.logs / f"cluster-{cluster.name}-{time.strftime('%Y%m%dT%H%M%S')}"
        if cluster.layout.logs.exists():
            cache.logs.mkdir(parents=True, exist_ok=True)
            shutil.copytree(cluster.layout.logs, logs, symlinks=True)
        _remove(cluster)
        if isinstance(error, Refusal):
            raise Refusal(
                f"cluster {cluster.name!r} did not start: {error} (the logs of its programs are in {logs})"
            ) from error
        raise
