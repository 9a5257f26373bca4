"""The components of a node, with the command lines and configurations that form a cluster. Pure: starts nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from slipway_devcluster.addresses import (
    ALL_PODS,
    API_PORT,
    CLUSTER_DOMAIN,
    DNS_IP,
    FIRST,
    NODE_IP,
    SERVICE_RANGE,
    Node,
)

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
IMAGE_VOLUMES = "ImageVolume"
ETCD_URL = "http://127.0.0.1:2379"
SLIPWAY_NAMESPACE = "slipway-system"
STARTING = "slipway.dev/starting"
"""The taint of a further node until the programs of the platform are placed: a test may take such a node away."""


@dataclass(frozen=True)
class Component:
    """One long-running program of the node."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """Where the files of one cluster, and of one of its nodes, are; paths are the same on the host and on the node."""

    state: Path
    node: Node = FIRST

    def of(self, node: Node) -> Layout:
        return replace(self, node=node)

    @property
    def home(self) -> Path:
        """The node's own folder: that of the cluster for the first one."""
        return self.state if self.node == FIRST else self.state / "nodes" / self.node.name

    @property
    def pki(self) -> Path:
        return self.home / "pki"

    @property
    def etcd(self) -> Path:
        return self.state / "etcd"

    @property
    def containerd(self) -> Path:
        return self.home / "containerd"

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def logs(self) -> Path:
        """/var/log of the node: pods' logs too."""
        return self.home / "log"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def kubelet(self) -> Path:
        """/var/lib/kubelet of the node."""
        return self.home / "kubelet"

    @property
    def registries(self) -> Path:
        """For containerd 2 of all nodes: one folder for each registry, with a hosts.toml."""
        return self.state / "config/registries"

    def folders(self) -> list[Path]:
        of_node = [self.pki, self.containerd, self.config, self.config / "cni", self.logs, self.kubelet]
        return [*of_node, *([self.etcd] if self.node == FIRST else [])]

    def kubeconfig_of(self, user: str) -> Path:
        return self.config / f"{user}.kubeconfig"


def etcd(layout: Layout, program: Path) -> Component:
    argv = [
        str(program),
        f"--data-dir={layout.etcd}",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
        "--unsafe-no-fsync=true",  # its data need not survive a crash of the machine
        "--log-level=warn",
        # A single member elects itself only after an election timeout, so this one is short.
        "--heartbeat-interval=50",
        "--election-timeout=250",
    ]
    return Component("etcd", argv)


def api_server(layout: Layout, program: Path) -> Component:
    pki = layout.pki
    argv = [
        str(program),
        f"--etcd-servers={ETCD_URL}",
        f"--advertise-address={NODE_IP}",
        f"--bind-address={NODE_IP}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        f"--audit-policy-file={layout.config}/audit-policy.json",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=64",  # megabytes, which renewals of leases would fill in a day
        "--audit-log-maxbackup=3",
        "--allow-privileged=true",
        "--profiling=false",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",  # otherwise `kubectl logs` looks the node's name up in DNS
        # Aggregation: KEDA's external metrics are an API of their own behind this one.
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        "--enable-aggregator-routing=true",
    ]
    return Component("kube-apiserver", argv)


def audit_policy() -> str:
    """Requests of Slipway's own service accounts, without their bodies; nothing of others, so it costs nothing."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{SLIPWAY_NAMESPACE}"]},
            {"level": "None"},
        ],
    }
    return json.dumps(policy, indent=2)


def controller_manager(layout: Layout, program: Path) -> Component:
    own = layout.kubeconfig_of("kube-controller-manager")
    argv = [
        str(program),
        f"--kubeconfig={own}",
        f"--authentication-kubeconfig={own}",
        f"--authorization-kubeconfig={own}",
        f"--root-ca-file={layout.pki}/ca.crt",
        f"--service-account-private-key-file={layout.pki}/service-accounts.key",
        "--use-service-account-credentials=true",  # the HPA's right to external metrics is bound to its own account
        "--leader-elect=false",
        "--allocate-node-cidrs=false",
        "--kube-api-qps=200",  # with the defaults, deleting a namespace of 400 pods takes minutes
        "--kube-api-burst=400",
        "--pvclaimbinder-sync-period=1s",  # otherwise a claim that is older than its volume is bound after up to 15 s
    ]
    return Component("kube-controller-manager", argv)


def scheduler(layout: Layout, program: Path) -> Component:
    own = layout.kubeconfig_of("kube-scheduler")
    argv = [
        str(program),
        f"--kubeconfig={own}",
        f"--authentication-kubeconfig={own}",
        f"--authorization-kubeconfig={own}",
        "--leader-elect=false",
    ]
    return Component("kube-scheduler", argv)


def kube_proxy(layout: Layout, program: Path) -> Component:
    argv = [
        str(program),
        f"--kubeconfig={layout.kubeconfig_of('kube-proxy')}",
        f"--hostname-override={layout.node.name}",
        f"--cluster-cidr={ALL_PODS}",
        "--proxy-mode=iptables",
        # These sysctls can't be written in a network namespace; kube-proxy exits if it fails to write them.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]
    return Component("kube-proxy", argv)


def with_image_volumes(component: Component) -> Component:
    """Kubernetes 1.34 knows volumes of images, but has them off."""
    return replace(component, argv=[*component.argv, f"--feature-gates={IMAGE_VOLUMES}=true"])


def containerd(layout: Layout, program: Path) -> Component:
    """Its shim must be of the same version, so it is looked for next to it first."""
    path = f"{program.parent}:{os.environ.get('PATH', os.defpath)}"
    return Component("containerd", [str(program), "--config", str(layout.config / "containerd.toml")], {"PATH": path})


def containerd_config(layout: Layout, *, cni_plugins: Path) -> str:
    cri = "io.containerd.grpc.v1.cri"
    return _containerd_config(
        layout,
        version=2,
        snapshotters=("aufs", "btrfs", "devmapper", "native", "zfs"),
        images=f'[plugins."{cri}".containerd]\n  snapshotter = "overlayfs"',
        runtime=cri,
        settings=('sandbox_image = "localhost/pause:1"',),
        cni=f'bin_dir = "{cni_plugins}"',
    )


def containerd_2_config(layout: Layout, *, cni_plugins: Path) -> str:
    """The same for containerd 2, which can mount images as volumes. Registries with a certificate of their own, or
    without TLS, are described by files in a folder of the cluster, as for any containerd."""
    images = "io.containerd.cri.v1.images"
    return _containerd_config(
        layout,
        version=3,
        snapshotters=("blockfile", "btrfs", "devmapper", "erofs", "native", "zfs"),
        images="\n  ".join(
            (
                f'[plugins."{images}"]',
                'snapshotter = "overlayfs"',
                'pinned_images.sandbox = "localhost/pause:1"',
                f'registry.config_path = "{layout.registries}"',
            )
        ),
        runtime="io.containerd.cri.v1.runtime",
        cni=f'bin_dirs = ["{cni_plugins}"]',
    )


def _containerd_config(
    layout: Layout,
    *,
    version: int,
    snapshotters: tuple[str, ...],
    images: str,
    runtime: str,
    settings: tuple[str, ...] = (),
    cni: str,
) -> str:
    """`snapshotters`: those that aren't used; `images`: what its plugin for images is to know; `runtime`: the name of
    the one that runs pods, with these `settings` of its own."""
    plugins = ["internal.v1.opt", *(f"snapshotter.v1.{name}" for name in snapshotters)]  # opt creates a folder in /opt
    unused = ", ".join(f'"io.containerd.{name}"' for name in plugins)
    own = "\n  ".join((*settings, "restrict_oom_score_adj = true"))
    return f"""version = {version}
root = "{layout.containerd}"
state = "/run/containerd/state"
disabled_plugins = [{unused}]
[grpc]
  address = "{CONTAINERD_SOCKET}"
{images}
[plugins."{runtime}"]
  {own}
  [plugins."{runtime}".cni]
    {cni}
    conf_dir = "{layout.config}/cni"
  [plugins."{runtime}".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."{runtime}".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def cni_config(pod_range: str) -> str:
    """Every pod has a routed link of its own. So traffic between pods passes the node's iptables rules, and a pod
    reaches itself and its neighbours through a Service without the special cases of a bridge."""
    link = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": pod_range}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/cni",
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "slipway", "plugins": [link, ports]}, indent=2)


def kubelet(layout: Layout, program: Path) -> Component:
    argv = [
        str(program),
        f"--config={layout.config}/kubelet.json",
        f"--kubeconfig={layout.kubeconfig_of('kubelet')}",
        f"--hostname-override={layout.node.name}",
        f"--node-ip={layout.node.ip}",
    ]
    return Component("kubelet", argv)


def kubelet_config(layout: Layout, *, cgroup: str, image_volumes: bool = False) -> str:
    starting = [{"key": STARTING, "effect": "NoSchedule"}]
    config = {
        **({"featureGates": {IMAGE_VOLUMES: True}} if image_volumes else {}),
        **({"registerWithTaints": starting} if layout.node != FIRST else {}),
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/kubelet.key",
        "clusterDNS": [DNS_IP],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "",  # pods with the node's DNS get none, because nothing outside is reachable
        "serializeImagePulls": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images come only from the cache; the kubelet must not remove any
        "nodeStatusUpdateFrequency": "5s",
    }
    return json.dumps(config, indent=2)


def resolv_conf() -> str:
    """The resolv.conf of the node's own processes."""
    return f"nameserver {DNS_IP}\nsearch svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}\noptions ndots:5 timeout:2\n"


def on(node: Node, component: Component) -> Component:
    """The component under the name that it has in the cluster: several nodes have a kubelet."""
    return component if node == FIRST else replace(component, name=f"{component.name}.{node.name}")


ComponentMaker = Callable[[Layout, Path], Component]

KUBERNETES: dict[str, ComponentMaker] = {
    "kube-apiserver": api_server,
    "kube-controller-manager": controller_manager,
    "kube-scheduler": scheduler,
    "kubelet": kubelet,
    "kube-proxy": kube_proxy,
}
OF_EVERY_NODE = ("kubelet", "kube-proxy")
OF_CONTROL_PLANE = ("kube-scheduler", "kube-controller-manager")
