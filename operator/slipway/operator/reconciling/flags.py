"""The flags of `slipway-operator`, and the settings that it makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

from slipway.api import units
from slipway.api.names import ACTIVATOR_SERVICE, RUNTIME_LABEL
from slipway.api.schema import OBJECT_NAME
from slipway.contract.runbooks import Runbooks
from slipway.objects.kinds import CLUSTER_SERVING_RUNTIME, Object
from slipway.operator.installation import EVERYWHERE, Fetcher, Installation
from slipway.operator.planning.volumes import NO_VOLUMES, SiteStorage
from slipway.process.flags import comma_separated, duration, flag, integer, object_name

LONGEST_NAME = 253


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """One field for each flag; they hold for the life of the process."""

    kubeconfig: Path | None
    namespace: str
    watch_namespaces: tuple[str, ...]
    activators: tuple[str, ...]
    ports_per_namespace: int
    inspect_namespaces: tuple[str, ...]
    compiled_size: str
    compiled_storage_class: str
    compiled_shared_class: str
    weights_size: str
    weights_storage_class: str
    weights_shared_class: str
    fetcher_image: str
    fetcher_pull_policy: str
    fetcher_pull_secrets: tuple[str, ...]
    hub_endpoint: str
    hub_redirects_to: tuple[str, ...]
    runtimes: Mapping[str, Object]
    keep_old_runtimes: float
    kserve_namespace: str
    keda_namespace: str
    lease_name: str
    identity: str
    workers: int
    resync: float
    prometheus_namespaces: tuple[str, ...]
    opencost_metrics: bool
    runbooks: Runbooks
    management_port: int
    log_level: str
    log_format: str

    @property
    def installation(self) -> Installation:
        """What they say about the installation that it belongs to."""
        watched, everywhere = self.watch_namespaces, (EVERYWHERE, *self.watch_namespaces)
        return Installation(
            self.namespace,
            self.activators,
            self.prometheus_namespaces,
            version=version("slipway"),
            runtimes=self.runtimes,
            watched=watched,
            inspects=tuple(each for each in self.inspect_namespaces if not watched or each in everywhere),
            compiled=SiteStorage(
                size=self.compiled_size,
                storage_class=self.compiled_storage_class,
                shared_class=self.compiled_shared_class,
            ),
            weights=SiteStorage(
                size=self.weights_size,
                storage_class=self.weights_storage_class,
                shared_class=self.weights_shared_class,
            ),
            fetcher=self._fetcher,
        )

    @property
    def _fetcher(self) -> Fetcher | None:
        if not self.fetcher_image:
            return None
        return Fetcher(self.fetcher_image, self.fetcher_pull_policy, self.fetcher_pull_secrets)


def services(text: str) -> tuple[str, ...]:
    found = comma_separated(object_name)(text)
    if not found or len(set(found)) != len(found):
        raise click.BadParameter(f"{text!r} names none, or one of them twice: name each once")
    return found


def inspected(text: str) -> str:
    return text if text == EVERYWHERE else object_name(text)


def storage_size(text: str) -> str:
    """Or NO_VOLUMES."""
    try:
        is_size = text == NO_VOLUMES or units.amount(text) >= units.amount("1Mi")
    except ValueError:
        is_size = False
    if not is_size:
        raise click.BadParameter(f"{text!r} is not a size of a volume: write a quantity from 1Mi on, such as 10Gi")
    return text


def storage_class(text: str) -> str:
    if text and not _may_have_dots(text):
        raise click.BadParameter(
            f"{text!r} can't be the name of a StorageClass: name one of `kubectl get storageclasses`"
        )
    return text


def secret(text: str) -> str:
    if not _may_have_dots(text):
        raise click.BadParameter(f"{text!r} can't be the name of a Secret: name one of `kubectl get secrets`")
    return text


def _may_have_dots(name: str) -> bool:
    return len(name) <= LONGEST_NAME and bool(re.fullmatch(OBJECT_NAME, name))


def image(text: str) -> str:
    """As a container names it, or empty."""
    if text and not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9._:/@]{0,511}", text):
        raise click.BadParameter(f"{text!r} can't be the name of an image: write REGISTRY/REPOSITORY:TAG")
    return text


def https_origin(text: str) -> str:
    """https://HOST, of the Hub or of a mirror of it."""
    if text and not re.fullmatch(r"https://[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]{1,5})?/?", text):
        raise click.BadParameter(f"{text!r} is not the address of a Hub: write https://HOST")
    return text.rstrip("/")


def host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]{1,5})?", text):
        raise click.BadParameter(f"{text!r} is not a host: write its name, such as cdn.example.com")
    return text


def runtimes_in(folder: str) -> dict[str, Object]:
    """By the names that plans use for them."""
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise click.BadParameter(f"{folder!r} is not a folder: name the one with the runtimes of this release")
    return dict(_runtime(file) for file in sorted(Path(folder).glob("*.json")))


def _runtime(file: Path) -> tuple[str, Object]:
    try:
        runtime = json.loads(file.read_text())
        if runtime["kind"] == CLUSTER_SERVING_RUNTIME.name and runtime["metadata"]["name"]:
            return str(runtime["metadata"]["labels"][RUNTIME_LABEL]), runtime
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise click.BadParameter(
        f"{file} holds no ClusterServingRuntime with a name and the label {RUNTIME_LABEL}: "
        "leave in the folder only what the release put there"
    )


activators = flag(
    "--activators",
    type=services,
    default=ACTIVATOR_SERVICE,
    metavar="NAMES",
    help="Services of the activators in Slipway's namespace, separated by commas; each has 10000 ports, one for each "
    "LLMDeployment, and those that have no port at the first get one at the next",
)
ports_per_namespace = flag(
    "--ports-per-namespace",
    type=integer(at_least=1, at_most=1_000_000),
    default="1000",
    metavar="N",
    help="how many LLMDeployments of one namespace get a port of an activator",
)
inspect_namespaces = flag(
    "--inspect-namespaces",
    type=comma_separated(inspected),
    default="",
    metavar="NAMES",
    help="namespaces in which Jobs may read the headers of models' files for the planner, separated by commas; *: all "
    "whose LLMDeployments are served; empty: none",
)
compiled_size = flag(
    "--compile-cache-size",
    "compiled_size",
    type=storage_size,
    default="10Gi",
    metavar="SIZE",
    help="size of a volume for compiled code, if the LLMDeployment names none; 0: no volumes are claimed",
)
compiled_storage_class = flag(
    "--compile-cache-storage-class",
    "compiled_storage_class",
    type=storage_class,
    default="",
    metavar="NAME",
    help="StorageClass of volumes for compiled code, each for one replica; empty: the cluster's default",
)
compiled_shared_class = flag(
    "--compile-cache-shared-storage-class",
    "compiled_shared_class",
    type=storage_class,
    default="",
    metavar="NAME",
    help="StorageClass of volumes for compiled code that all replicas of a model share (ReadWriteMany); empty: one "
    "whose provisioner or annotation slipway.dev/access-modes says that it can",
)
weights_size = flag(
    "--model-cache-size",
    "weights_size",
    type=storage_size,
    default="100Gi",
    metavar="SIZE",
    help="size of a volume for a model's files, if the LLMDeployment names none and the model's size isn't known; 0: "
    "no volumes are claimed",
)
weights_storage_class = flag(
    "--model-cache-storage-class",
    "weights_storage_class",
    type=storage_class,
    default="",
    metavar="NAME",
    help="StorageClass of volumes for models' files, each for one replica; empty: the cluster's default",
)
weights_shared_class = flag(
    "--model-cache-shared-storage-class",
    "weights_shared_class",
    type=storage_class,
    default="",
    metavar="NAME",
    help="StorageClass of volumes for models' files that all replicas of a model share (ReadWriteMany); empty: one "
    "whose provisioner or annotation slipway.dev/access-modes says that it can",
)
fetcher_image = flag(
    "--fetcher-image",
    type=image,
    default="",
    metavar="IMAGE",
    help="image of slipway-fetch, which brings models' files into their pods; empty: KServe's storage initializer does",
)
fetcher_pull_policy = flag(
    "--fetcher-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    default="IfNotPresent",
    metavar="Always|IfNotPresent|Never",
    help="when nodes pull that image",
)
fetcher_pull_secrets = flag(
    "--fetcher-pull-secrets",
    type=comma_separated(secret),
    default="",
    metavar="NAMES",
    help="Secrets with which nodes pull that image, separated by commas; they must be in each namespace with models",
)
hub_endpoint = flag(
    "--hub-endpoint",
    type=https_origin,
    default="",
    metavar="URL",
    help="the Hugging Face Hub, or a mirror of it, from which config.json files of models are read that the planner "
    "doesn't know otherwise; empty: it isn't asked",
)
hub_redirects_to = flag(
    "--hub-redirects-to",
    type=comma_separated(host),
    default="",
    metavar="HOSTS",
    help="further hosts to which the Hub may redirect, separated by commas",
)
runtimes = flag(
    "--runtimes",
    type=runtimes_in,
    default="",
    metavar="FOLDER",
    help="folder with the ClusterServingRuntimes of this release, as JSON, one in each file; those that are missing "
    "in the cluster are created",
)
keep_old_runtimes = flag(
    "--keep-old-runtimes",
    type=duration(at_least=1.0),
    default="1h",
    metavar="TIME",
    help="how long at least a ClusterServingRuntime of an older release stays that no InferenceService uses",
)
kserve_namespace = flag(
    "--kserve-namespace",
    type=object_name,
    default="kserve",
    metavar="NAME",
    help="namespace in which KServe's controller runs",
)
lease_name = flag(
    "--lease-name",
    type=object_name,
    default="slipway-operator",
    metavar="NAME",
    help="Lease by which the replicas elect their leader",
)
workers = flag(
    "--workers",
    type=integer(at_least=1, at_most=256),
    default="16",
    metavar="N",
    help="how many LLMDeployments are reconciled at the same time",
)
resync = flag(
    "--resync",
    type=duration(at_least=10.0),
    default="10m",
    metavar="TIME",
    help="how often each LLMDeployment is reconciled though nothing has changed",
)
prometheus_namespaces = flag(
    "--prometheus-namespace",
    "prometheus_namespaces",
    type=comma_separated(object_name),
    default="monitoring",
    metavar="NAMES",
    help="namespaces from which the metrics of models may be read, separated by commas; empty: none",
)
opencost_metrics = flag(
    "--opencost-metrics",
    type=bool,
    default="false",
    metavar="true|false",
    help="whether the accelerators of models are also exposed under OpenCost's names; not next to a real OpenCost, "
    "whose metrics would be summed with these",
)
