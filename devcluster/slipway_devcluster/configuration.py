"""Writes what the programs of a cluster read: certificates, kubeconfigs, and the configuration of each node."""

from __future__ import annotations

from slipway_devcluster import components, pki, platform, requirements, volumes
from slipway_devcluster.addresses import API_PORT, API_SERVICE_IP, FIRST, NODE_IP, further_nodes
from slipway_devcluster.components import Layout
from slipway_devcluster.errors import Refusal
from slipway_devcluster.record import Record

MASTERS = ["system:masters"]


def write(layout: Layout, record: Record) -> platform.WebhookCertificates:
    """Write all of it, and return the certificates that are objects of the cluster."""
    nodes = [layout, *(layout.of(node) for node in further_nodes(record.nodes))]
    for folder in (folder for each in nodes for folder in each.folders() if folder != each.containerd):
        folder.mkdir(parents=True, exist_ok=True)
    authority = pki.Authority("slipway-devcluster")
    _write_control_plane(layout, authority, record.port)
    for each in nodes:
        _write_node(each, authority, record)
    return platform.issue_certificates(authority)


def _write_control_plane(layout: Layout, authority: pki.Authority, port: int) -> None:
    folder, front_proxy = layout.pki, pki.Authority("front-proxy")
    (folder / "front-proxy-ca.crt").write_bytes(front_proxy.own.certificate)
    api_hosts = ["127.0.0.1", "localhost", NODE_IP, API_SERVICE_IP, "kubernetes", "kubernetes.default"]
    api_hosts += ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    authority.issue("kube-apiserver", hosts=api_hosts).write(folder, "apiserver")
    authority.issue("kube-apiserver-kubelet", organizations=MASTERS).write(folder, "apiserver-kubelet")
    front_proxy.issue("front-proxy-client").write(folder, "front-proxy-client")
    private, public = pki.signing_keys()
    pki.write_secret(folder / "service-accounts.key", private)
    (folder / "service-accounts.pub").write_bytes(public)
    users = {
        "kube-controller-manager": ("system:kube-controller-manager", []),
        "kube-scheduler": ("system:kube-scheduler", []),
        "kwok": ("kwok", MASTERS),
        volumes.USER: (volumes.USER, MASTERS),
        "admin": ("admin", MASTERS),
    }
    for file, (user, groups) in users.items():
        client = _write_kubeconfig(layout, file, authority, user, groups)
    client.write(layout.pki, "admin")  # the last one is the administrator
    text = _kubeconfig(layout, "kubeconfig", f"https://127.0.0.1:{port}", authority, client)
    pki.write_secret(layout.state / "kubeconfig", text)
    (layout.config / "audit-policy.json").write_text(components.audit_policy())
    (layout.config / "local-path.json").write_text(volumes.configuration(layout))
    (layout.config / "local-path-helper.json").write_text(volumes.helper_pod())


def _write_node(layout: Layout, authority: pki.Authority, record: Record) -> None:
    node = layout.node
    (layout.pki / "ca.crt").write_bytes(authority.own.certificate)
    authority.issue(node.name, hosts=[node.name, node.ip]).write(layout.pki, "kubelet")
    _write_kubeconfig(layout, "kubelet", authority, f"system:node:{node.name}", ["system:nodes"])
    _write_kubeconfig(layout, "kube-proxy", authority, "system:kube-proxy", [])
    plugins = requirements.cni_folder()
    if plugins is None:
        raise Refusal("the CNI plugins are not installed; run `devcluster doctor`")
    image_volumes = record.image_volumes
    containerd = components.containerd_2_config if image_volumes else components.containerd_config
    cgroup = cgroup_of(record, layout)
    files = {
        layout.config / "containerd.toml": containerd(layout, cni_plugins=plugins),
        layout.config / "kubelet.json": components.kubelet_config(layout, cgroup=cgroup, image_volumes=image_volumes),
        layout.config / "cni/10-slipway.conflist": components.cni_config(node.pod_range),
        layout.home / "resolv.conf": components.resolv_conf(),
    }
    for path, text in files.items():
        path.write_text(text)


def cgroup_of(record: Record, layout: Layout) -> str:
    """The control group of the node's pods; those of further nodes are in the cluster's, and removed with it."""
    return record.cgroup if layout.node == FIRST else f"{record.cgroup}/{layout.node.name}"


def _write_kubeconfig(
    layout: Layout, file: str, authority: pki.Authority, user: str, groups: list[str]
) -> pki.Certificate:
    client = authority.issue(user, organizations=groups)
    text = _kubeconfig(layout, file, f"https://{NODE_IP}:{API_PORT}", authority, client)
    pki.write_secret(layout.kubeconfig_of(file), text)
    return client


def _kubeconfig(layout: Layout, user: str, server: str, authority: pki.Authority, client: pki.Certificate) -> bytes:
    cluster, trusted = f"slipway-{layout.state.name}", authority.own.certificate
    return pki.kubeconfig(server=server, cluster=cluster, user=user, authority=trusted, client=client).encode()
