"""`diff`: what a file would change in the cluster, and what that does to pods, replicas, cost and requests."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import on_cluster, target_of
from slipway_cli.output import documents, screen
from slipway_cli.problems import NOT_WELL, Misused, Problem
from slipway_cli.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slipway_cli.cluster.differing import Around, Difference
    from slipway_cli.cluster.kubectl import Kubectl, Object


@click.command(short_help="Show what a file would change, whether pods restart, and what that costs.")
@click.argument("files", nargs=-1, type=click.Path(allow_dash=True), metavar="[FILE]...")
@click.option(
    "--filename", "-f", "named", multiple=True, type=click.Path(allow_dash=True), help="The same, as kubectl."
)
@click.option("--server-side", is_flag=True, help="As `kubectl apply --server-side` would change it.")
@click.option("--force-conflicts", is_flag=True, help="With --server-side: take over fields that others have set.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "yaml", "name"]), help="Print it in this form.")
@on_cluster
@click.pass_context
def command(
    ctx: click.Context, /, files: tuple[str, ...], named: tuple[str, ...], form: str | None, **given: Any
) -> None:
    """Show what `kubectl apply` of these files would change in LLMDeployments, and what that does: whether pods are
    replaced, replicas, accelerator, cost, and what happens to requests meanwhile. FILE may have several objects; - is
    the standard input.

    The API server fills in defaults and applies its rules in a dry run; nothing is changed. Plans and pods are computed
    by the operator's own code. Exit code 0: no difference; 1: there are some; 2: a file is invalid; 3: can't tell.
    """
    from slipway_cli.cluster.kubectl import Kubectl

    how = _how(server_side=given.pop("server_side"), force=given.pop("force_conflicts"))
    target = target_of(given)
    manifests = _manifests((*files, *named))
    kubectl = Kubectl(target.flags, target.namespace)
    own = kubectl.place().namespace
    found = [_difference(kubectl, each, own, target.namespace, how) for each in manifests]
    if form in ("json", "yaml"):
        documents.write(documents.document("DiffList", items=[_members(*each) for each in found]), form)
    elif form == "name":
        for difference, _ in found:
            if _lines(difference):
                click.echo(f"llmdeployment.slipway.dev/{difference.after.llm['metadata']['name']}")
    else:
        for at, (difference, warnings) in enumerate(found):
            if at:
                click.echo()
            _tell(difference, warnings)
    if any(_lines(difference) for difference, _ in found):
        ctx.exit(NOT_WELL)


def _how(*, server_side: bool, force: bool) -> list[str]:
    """Further flags of kubectl apply."""
    if force and not server_side:
        raise Misused("--force-conflicts is only for --server-side: give both, or none.")
    return [*(["--server-side"] if server_side else []), *(["--force-conflicts"] if force else [])]


def _manifests(files: Sequence[str]) -> list[Object]:
    """The LLMDeployments of the files; other objects are named, and left to kubectl."""
    from slipway.api.names import GROUP, KIND

    from slipway_cli.offline.wanted import documents_in

    if not files:
        raise Misused("Name a file, as in: diff model.yaml. - is the standard input.")
    found, others = [], []
    for file in files:
        for each in _flat(documents_in(file)):
            if each.get("kind") == KIND and str(each.get("apiVersion") or GROUP).partition("/")[0] == GROUP:
                _check_names(file, each)
                found.append(each)
            else:
                others.append(_called(each))
    if not found:
        raise Misused(f"{', '.join(files)}: there is no {KIND} in it; `kubectl diff` compares other objects.")
    if others:
        click.echo(visible(f"Not compared: {', '.join(others)}. `kubectl diff` does that."), err=True)
    return found


def _check_names(file: str, manifest: Object) -> None:
    metadata = manifest.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    if not names.get("name"):
        raise Misused(f"{file} has a {manifest['kind']} without metadata.name: add it.")
    for field in ("name", "namespace"):
        if not isinstance(names.get(field) or "", str):
            raise Misused(f"{file}: metadata.{field} is {names[field]!r}, which is no name: write it in quotes.")


def _called(other: Object) -> str:
    metadata = other.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{other.get('kind') or 'an object without a kind'}{f' {name}' if name else ''}"


def _flat(documents: Sequence[Any]) -> Iterator[Object]:
    for each in documents:
        if isinstance(each, dict) and isinstance(each.get("items"), list):
            yield from _flat(each["items"])
        elif isinstance(each, dict):
            yield each
        else:
            raise Misused(f"{each!r} is not an object of Kubernetes: give manifests.")


def _difference(
    kubectl: Kubectl, manifest: Object, own: str, given: str, how: Sequence[str]
) -> tuple[Difference, list[str]]:
    """And what the API server warns of, or can't be read."""
    from pydantic import ValidationError

    from slipway_cli.cluster.differing import Difference, version_of
    from slipway_cli.cluster.reading import NotThereError, read_one
    from slipway_cli.cluster.trying import tried
    from slipway_cli.offline.invalid import first_mistake

    name, namespace = manifest["metadata"]["name"], str(manifest["metadata"].get("namespace") or own)
    if given and namespace != given:
        raise Misused(f"The file has {name} in namespace {namespace}, and --namespace is {given}: leave one out.")
    try:
        live = read_one(kubectl, name, namespace)
    except NotThereError:
        live = None
    result = tried(kubectl, manifest, namespace, how)
    status = (live or {}).get("status") or {}
    around, gaps = _around(kubectl, live, result.llm)
    try:
        before = version_of(live, status, around) if live else None
        after = version_of(result.llm, status, around)
    except ValidationError as error:
        raise Problem(
            f"This version of the tool can't read LLMDeployment {name}: {first_mistake(error)} If the cluster "
            "has newer CRDs, install the tool of their version."
        ) from None
    return Difference(before, after, status, around.has_pods), [*result.warnings, *gaps]


def _around(kubectl: Kubectl, live: Object | None, after: Object) -> tuple[Around, list[str]]:
    """And a sentence for each part that can't be read."""
    from datetime import UTC, datetime

    from slipway.objects.kinds import ACCELERATOR_PROFILE, CLUSTER_SERVING_RUNTIME, POD, SERVING_RUNTIME

    from slipway_cli.cluster.differing import Around, profiles_there
    from slipway_cli.cluster.reading import read_lists
    from slipway_cli.cluster.state import State
    from slipway_cli.cluster.world import path_of_replicas
    from slipway_cli.offline.families import families_with
    from slipway_cli.offline.profiles import shipped

    name, namespace, status = (
        after["metadata"]["name"],
        after["metadata"]["namespace"],
        (live or {}).get("status") or {},
    )
    wanted = {
        ACCELERATOR_PROFILE: ACCELERATOR_PROFILE.path(),
        CLUSTER_SERVING_RUNTIME: CLUSTER_SERVING_RUNTIME.path(),
        SERVING_RUNTIME: SERVING_RUNTIME.path(namespace),
        POD: path_of_replicas(name, namespace),
    }
    objects, unreadable = read_lists(kubectl, wanted)
    profiles, pods = objects.get(ACCELERATOR_PROFILE), objects.get(POD)
    runtimes = (*objects.get(CLUSTER_SERVING_RUNTIME, ()), *objects.get(SERVING_RUNTIME, ()))
    uris = {str(((each.get("spec") or {}).get("model") or {}).get("uri") or "") for each in (live or after, after)}
    around = Around(
        now=datetime.now(UTC),
        profiles=tuple(shipped().values()) if profiles is None else profiles_there(profiles, status),
        runtimes=None if {CLUSTER_SERVING_RUNTIME, SERVING_RUNTIME} & unreadable.keys() else runtimes,
        catalogues={uri: families_with(uri) for uri in uris},
        has_pods=bool(live and State(live).desired) if pods is None else bool(pods),
    )
    return around, [
        f"{kind.plural} can't be read ({word}), so {INSTEAD[kind.plural]}." for kind, word in unreadable.items()
    ]


INSTEAD = {
    "acceleratorprofiles": "plans are made with those of the chart",
    "clusterservingruntimes": "what they add to pods isn't compared",
    "servingruntimes": "what they add to pods isn't compared",
    "pods": "whether some run is taken from the status",
}


def _lines(difference: Difference) -> list[str]:
    from slipway_cli.cluster.trying import compared
    from slipway_cli.offline.manifests import dumped

    before = dumped(compared(difference.before.llm), sort=True) if difference.before else ""
    after = dumped(compared(difference.after.llm), sort=True)
    name = difference.after.llm["metadata"]["name"]
    there = "cluster" if difference.before else "nothing"
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} ({there})", f"{name} (file)", lineterm=""
    )
    return list(lines)


def _tell(difference: Difference, warnings: list[str]) -> None:
    metadata, lines = difference.after.llm["metadata"], _lines(difference)
    click.echo(screen.strong(f"{metadata.get('namespace')}/{metadata['name']}"))
    for warning in warnings:
        screen.paragraph(warning, indent="  ", first="! ", paint=screen.uncertain)
    if not lines:
        click.echo("No difference.")
        return
    for line in lines:
        paint = {"+": screen.good, "-": screen.bad, "@": screen.faint}.get(line[0], str)
        click.echo(paint(visible(line)))
    click.echo()
    for each in difference.effects():
        if each.name:
            screen.paragraph(f"{each.name}: {each.says} ({each.evidence})", indent="  ", first="")
        else:
            screen.paragraph(each.says, indent="    ", first="  ")


def _members(difference: Difference, warnings: list[str]) -> dict[str, Any]:
    metadata, lines = difference.after.llm["metadata"], _lines(difference)
    effects = [
        {"name": each.name or None, "value": each.says, "evidence": str(each.evidence)}
        for each in (difference.effects() if lines else ())
    ]
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "change": "none" if not lines else "created" if difference.before is None else "changed",
        "replacesPods": difference.replaces_pods if lines else False,
        "diff": lines,
        "effects": [{name: value for name, value in each.items() if value is not None} for each in effects],
        "warnings": warnings,
    }
