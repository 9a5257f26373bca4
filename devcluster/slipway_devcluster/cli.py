"""`devcluster`: the command line. Each command is a few lines that call the library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from slipway_devcluster import build_table, containerfiles, forecast, lifecycle, requirements, status
from slipway_devcluster import cluster as clusters
from slipway_devcluster import demo as demonstration
from slipway_devcluster.addresses import MOST_NODES, NODE_NAME
from slipway_devcluster.builds import missing
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache, default_cache
from slipway_devcluster.programs import OF_EVERY_CLUSTER
from slipway_devcluster.progress import Durations, Steps
from slipway_devcluster.record import Options

DEFAULT_NAME = "dev"
COMPLETERS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


class RefusingGroup(click.Group):
    """A group that prints a refusal as one sentence on stderr, without a traceback, and exits with 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except Refusal as refusal:
            raise click.ClickException(str(refusal)) from refusal
        except PermissionError as error:
            if os.geteuid() == 0:
                raise
            command = f"sudo -E {' '.join(sys.argv)}"
            raise click.ClickException(f"{error.filename} belongs to root; run `{command}`") from error


class ClusterName(click.ParamType[str]):
    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = [cluster.name for cluster in clusters.every(default_cache())]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class ComponentName(click.ParamType[str]):
    name = "component"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        cluster = clusters.named(ctx.params.get("name") or DEFAULT_NAME, default_cache())
        return [CompletionItem(name) for name in _log_names(cluster) if name.startswith(incomplete)]


name_option = click.option(
    "--name",
    type=ClusterName(),
    default=DEFAULT_NAME,
    show_default=True,
    help="Name of the cluster; several can be up at the same time.",
)


@click.group(cls=RefusingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slipway-devcluster")
def main() -> None:
    """A real Kubernetes with KServe and KEDA on this machine, without Docker.

    Needs Linux and root. All of its files are in one folder: $SLIPWAY_CACHE, or ~/.cache/slipway by default.
    """


@main.command()
@name_option
@click.option(
    "--nodes",
    type=click.IntRange(1, MOST_NODES),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of real nodes. Each further one has a kubelet, a containerd and a network of pods of its own.",
)
@click.option(
    "--gpu-nodes",
    default="",
    metavar="LIST",
    help="Simulated GPU nodes to add: h100:2,3xl4:4 is one node with 2 H100s and three with 4 L4s each.",
)
@click.option(
    "--node-gpus",
    type=click.IntRange(0, 64),
    default=0,
    metavar="N",
    help="Number of nvidia.com/gpu that the first node advertises; pods that request one really start.",
)
@click.option(
    "--image-volumes",
    is_flag=True,
    help="Let pods mount images as volumes: containerd 2, built from source, instead of the machine's own.",
)
@click.option(
    "--volumes/--no-volumes",
    default=True,
    show_default=True,
    help="Make volumes when they are claimed: local-path-provisioner, and its class local-path, which is the default "
    "one where no node is simulated.",
)
@click.option(
    "--port",
    type=click.IntRange(1024, 65535),
    help="Port of the API server on 127.0.0.1.  [default: the first free one from 16443 on]",
)
def up(name: str, port: int | None, **options: Any) -> None:
    """Start a cluster and wait until all of it is Ready.

    Missing programs are built from source first. An interrupted build resumes the next time.
    """
    cache, steps = _cache_and_steps()
    wanted = Options(**options)
    programs = lifecycle.programs_of(wanted)
    for line in forecast.lines(forecast.of_up(clusters.named(name, cache), cache, programs)):
        steps.say(line)
    cluster = lifecycle.up(name, cache=cache, steps=steps, options=wanted, port=port)
    seconds = cluster.record.phases["ready"]
    click.echo(f"cluster {name} is Ready (its start took {seconds:.1f} s)")
    click.echo(f"  export KUBECONFIG={cluster.kubeconfig}")
    click.echo(f"  devcluster shell --name {name}        # kubectl, helm and the network of the node")
    click.echo(f"  devcluster down --name {name}")


@main.command()
@name_option
@click.option("--all", "every", is_flag=True, help="End every cluster.")
def down(name: str, *, every: bool) -> None:
    """End a cluster and remove all of it, in whatever state it is."""
    cache, steps = _cache_and_steps()
    for each in [cluster.name for cluster in clusters.every(cache)] if every else [name]:
        lifecycle.down(each, cache=cache, steps=steps)
        click.echo(f"cluster {each} is gone")


@main.command("status")
@name_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def show_status(name: str, *, as_json: bool) -> None:
    """Show a cluster's health, start time and memory."""
    cache = default_cache()
    seen = status.look(clusters.named(name, cache), Durations(cache))
    if as_json:
        click.echo(json.dumps(seen.as_json(), indent=2))
    else:
        click.echo("\n".join(status.lines(seen)))
    if not seen.alive:
        sys.exit(1)


@main.command()
@name_option
def kubeconfig(name: str) -> None:
    """Print the path of a cluster's kubeconfig.

    Use it as in: export KUBECONFIG=$(devcluster kubeconfig)
    """
    click.echo(clusters.find(name, default_cache()).kubeconfig)


@main.command("load-image")
@name_option
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--tag",
    help="Name of the image that a Containerfile makes.  [default: localhost/slipway-NAME:dev for NAME.Containerfile "
    "and for NAME/Containerfile]",
)
def load_image(name: str, source: Path, tag: str | None) -> None:
    """Load an image into all nodes of a cluster.

    SOURCE is an OCI archive (.tar), or a Containerfile, which is built first.
    """
    cache, steps = _cache_and_steps()
    cluster = clusters.find(name, cache)
    archive = source
    if source.suffix != ".tar":
        tag = tag or containerfiles.default_name(source)
        archive = containerfiles.build_image(source, name=tag, cache=cache, steps=steps)
    loaded = cluster.load_image(archive)
    click.echo(f"{tag or archive.name} {'is loaded' if loaded else 'was loaded already'}")


@main.command()
@name_option
@click.argument("component", type=ComponentName(), required=False)
@click.option("-f", "--follow", is_flag=True, help="Also print new lines as they are written.")
def logs(name: str, component: str | None, *, follow: bool) -> None:
    """Print the log of a program of the node.

    Without COMPONENT, list the programs. For pods, use kubectl logs.
    """
    cluster = clusters.named(name, default_cache())
    known = _log_names(cluster)
    if component is None:
        click.echo("\n".join(known) or f"there is no cluster {name!r}")
        return
    if component not in known:
        raise Refusal(
            f"{component!r} has no log in cluster {name!r}; the programs with a log are: {', '.join(known) or 'none'}"
        )
    path = cluster.layout.logs / f"{component}.log"
    os.execvp("tail", ["tail", "-n", "+1", *(["-f"] if follow else []), str(path)])


@main.command(context_settings={"ignore_unknown_options": True})
@name_option
@click.option(
    "--node", default=NODE_NAME, show_default=True, metavar="NODE", help="Name of the node, if there are several."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(name: str, node: str, command: tuple[str, ...]) -> None:
    """Open a shell on a node, or run COMMAND there.

    kubectl, helm and ctr are set up for the cluster.
    """
    cluster = clusters.find(name, default_cache())
    folders = [cluster.kubectl.parent, cluster.helm.parent, *([Path(cluster.ctr).parent] if "/" in cluster.ctr else [])]
    programs = os.pathsep.join(map(str, folders))
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig_on_node),
        "KUBECACHEDIR": str(cluster.kubectl_cache),
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin:/sbin",
        "CONTAINERD_NAMESPACE": "k8s.io",
        "PS1": f"({name}) \\w # ",
    }
    wanted = list(command) or [os.environ.get("SHELL", "/bin/sh")]
    there = cluster.namespaces_of(node).enter_command()
    sys.exit(subprocess.run([*there, *wanted], env=environment, check=False).returncode)


@main.command("builds")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def show_builds(*, as_json: bool) -> None:
    """List the programs that are built from source.

    Shows for each what its build took in elapsed time and CPU time. Nothing is built; for programs that are not in the
    cache, times are estimates.
    """
    table = build_table.rows(default_cache())
    if as_json:
        click.echo(json.dumps([row.as_json() for row in table], indent=2))
    else:
        click.echo("\n".join(build_table.lines(table)))


@main.command()
def doctor() -> None:
    """Check whether this machine can run a cluster.

    For each requirement that is not met, prints what to do.
    """
    cache = default_cache()
    absent = missing(OF_EVERY_CLUSTER, cache)
    findings = requirements.check(cache, everything_built=not absent)
    for finding in findings:
        click.echo(f"{'ok     ' if finding.met else 'MISSING'}  {finding.requirement}: {finding.sentence}")
    click.echo(f"to be built at the next `up`: {', '.join(absent) or 'nothing'}; the cache is {cache.root}")
    if absent:
        seconds = sum(forecast.build_seconds(name, cache) for name in absent)
        click.echo(f"that is expected to take {forecast.about(seconds)}; `devcluster builds` lists each program")
    if not all(finding.met for finding in findings):
        sys.exit(1)


@main.command()
@name_option
@click.argument("prompt", required=False)
@click.option("--keep/--no-keep", default=True, show_default=True, help="Leave the cluster up afterwards.")
def demo(name: str, prompt: str | None, *, keep: bool) -> None:
    """Start a cluster with Slipway and a model that answers PROMPT.

    First prints how long that is expected to take. Missing programs are built from source, and an interrupted build
    resumes the next time.
    """
    cache, steps = _cache_and_steps()
    demonstration.run(name, prompt, cache=cache, steps=steps)
    if not keep:
        lifecycle.down(name, cache=cache, steps=steps)


@main.command()
@click.argument("kind", type=click.Choice(list(COMPLETERS)))
def completion(kind: str) -> None:
    """Print the completion script of a shell.

    Use it as in: eval "$(devcluster completion bash)"
    """
    completer = COMPLETERS[kind]
    click.echo(completer(main, {}, "devcluster", "_DEVCLUSTER_COMPLETE").source())


def _cache_and_steps() -> tuple[Cache, Steps]:
    cache = default_cache()
    return cache, Steps(cache)


def _log_names(cluster: Cluster) -> list[str]:
    return sorted(path.stem for path in cluster.layout.logs.glob("*.log"))
