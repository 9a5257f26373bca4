"""`logs`: of all pods and containers of a model, in the order of time."""

from __future__ import annotations

import heapq
import re
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.commands.wait import seconds_of
from slipway_cli.output import screen
from slipway_cli.problems import Problem
from slipway_cli.visible import of_log, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway_cli.cluster.kubectl import Kubectl

AT_ONCE = 4
MOST_FOLLOWED = 50
_TIMED = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))(?: |$)")


@click.command(short_help="Show the logs of all pods of a model, by time.")
@click.argument("name", shell_complete=names)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is logged from now on.")
@click.option("--previous", "-p", is_flag=True, help="Of containers before their last restart.")
@click.option("--tail", type=click.IntRange(-1), default=200, show_default=True, help="Last lines of each; -1: all.")
@click.option("--since", metavar="TIME", help="Only what is newer than that, as 10m.")
@click.option("--timestamps", is_flag=True, help="With the time of each line.")
@on_cluster
def command(name: str, **given: Any) -> None:
    """Show the logs of all containers of all pods of a model, merged in the order of time, each line with its pod and
    container.
    """
    from slipway.api.names import OWNER_LABEL
    from slipway.objects.kinds import POD

    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.reading import read_one
    from slipway_cli.cluster.world import paths_of

    since = seconds_of("since", given["since"]) if given["since"] else None
    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    namespace = kubectl.place().namespace
    read_one(kubectl, name, namespace)  # a sentence, if there is none
    options = [f"--namespace={namespace}", "--timestamps", f"--tail={given['tail']}"]
    options += [f"--since={max(1.0, since):.0f}s"] if since is not None else []  # for kubectl, 0s is all
    if given["follow"]:
        follow = ("--follow", "--prefix", "--all-containers", f"--max-log-requests={MOST_FOLLOWED}")
        with kubectl.lines("logs", f"--selector={OWNER_LABEL}={name}", *options, *follow) as lines:
            for line in lines:
                _write(*_of_follow(line), times=given["timestamps"])
        return
    pods = kubectl.get(paths_of(name, namespace)[POD]).get("items") or []
    logs = _logs(kubectl, pods, options, previous=given["previous"])
    if not logs:
        which = "that was restarted" if given["previous"] else "that has started"
        shows = kubectl.ours("status", name, namespace)
        raise Problem(f"{namespace}/{name} has no container {which}: {shows} shows its pods.")
    for time, place, text in heapq.merge(*logs, key=itemgetter(0)):
        _write(time, place, text, times=given["timestamps"])


Entry = tuple[str, str, str]


def _logs(kubectl: Kubectl, pods: list[dict[str, Any]], options: list[str], *, previous: bool) -> list[list[Entry]]:
    """Of each container, its lines with their time and place. One may be gone by now, and the others count."""
    from slipway_cli.cluster.kubectl import ApiError
    from slipway_cli.cluster.reading import BASIC
    from slipway_cli.cluster.world import logged_containers

    wanted = [(pod["metadata"]["name"], name) for pod in pods for name in logged_containers(pod, previous=previous)]
    more = ["--previous"] if previous else []

    def read(pod: str, container: str) -> list[Entry]:
        try:
            text = kubectl.run("logs", pod, f"--container={container}", *options, *more)
        except ApiError as error:
            if error.word in BASIC or len(wanted) == 1:
                raise
            click.echo(f"! {pod}/{container} is left out: {visible(error.message)}", err=True)
            return []
        return list(_entries(f"{pod}/{container}", text))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda each: read(*each), wanted))


def _entries(place: str, text: str) -> Iterator[Entry]:
    """A line without a time, which kubelet itself writes, belongs to the one before."""
    time = ""
    for line in text.removesuffix("\n").split("\n") if text else ():
        found = _TIMED.match(line)
        time = found[1] if found else time
        yield time, place, line[found.end() :] if found else line


def _of_follow(line: str) -> Entry:
    """`[pod/NAME/CONTAINER] TIME text`, as kubectl writes it."""
    place, _, rest = line.rstrip("\n").partition(" ")
    time, _, text = rest.partition(" ")
    return time, place.strip("[]").removeprefix("pod/"), text


def _write(time: str, place: str, text: str, *, times: bool) -> None:
    shown = text.rstrip("\r").rpartition("\r")[2]  # of a progress bar, what a terminal shows in the end
    click.echo(f"{f'{time} ' if times else ''}{screen.faint(place)} {of_log(shown)}")
