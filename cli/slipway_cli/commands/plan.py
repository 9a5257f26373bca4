"""`plan`: which accelerators a model fits on, what it can do there, and what that costs; without a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.output import documents
from slipway_cli.problems import NOT_WELL, Misused, Problem

if TYPE_CHECKING:
    from slipway_cli.offline.answering import Answer
    from slipway_cli.offline.profiles import Profiles

FORMS = ("json", "yaml", "wide", "name")
TARGETS = {"ttft": "ttftP95", "tpot": "tpotP95", "ttftp95": "ttftP95", "tpotp95": "tpotP95"}


@click.command(short_help="Show what a model needs: accelerators, requests, speed and cost.")
@click.argument("model", required=False, metavar="MODEL|FILE")
@click.option("--gpu", "gpus", multiple=True, metavar="NAME", help="Only these profiles, by name or its start: h100.")
@click.option("--devices", type=click.IntRange(1, 64), metavar="N", help="As many devices for each replica.")
@click.option("--engine", metavar="NAME", help="vllm, llamacpp, or a ServingRuntime.  [default: vllm]")
@click.option(
    "--context", "--context-length", "context", type=click.IntRange(64), metavar="TOKENS", help="Length of a request."
)
@click.option("--concurrency", type=click.IntRange(1, 4096), metavar="N", help="Concurrent requests of a replica.")
@click.option("--quantization", metavar="KIND", help="FP8, or what the checkpoint has: AWQ, GPTQ, W8A8, W4A16, GGUF.")
@click.option("--kv-cache", "kv_cache", metavar="TYPE", help="Data type of the KV cache: FP8, BF16, Q8…")
@click.option("--target", metavar="TIMES", help="Latencies to meet: ttft=500ms,tpot=40ms.")
@click.option("--policy", type=click.Choice(["Cheapest", "Fastest"]), help="What is best.  [default: Cheapest]")
@click.option("--fact", "facts", multiple=True, metavar="FIELD=VALUE", help="A number of the model, such as layers=80.")
@click.option("--price", "prices", multiple=True, metavar="NAME=PER_HOUR", help="What you pay for a device per hour.")
@click.option(
    "--profiles",
    "profile_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="AcceleratorProfiles to use instead of the chart's.",
)
@click.option("--all", "everything", is_flag=True, help="Also profiles on which it doesn't fit, with what would help.")
@click.option("--manifest", is_flag=True, help="Print an LLMDeployment for it.")
@click.option("--list-gpus", is_flag=True, help="List the profiles.")
@click.option("--output", "-o", "form", type=click.Choice(FORMS), help="Print it in this form.")
@click.pass_context
def command(ctx: click.Context, /, model: str | None, form: str | None, **given: Any) -> None:
    """Show what a model needs, without a cluster: on which accelerators it fits, for how many requests, how fast, at
    what cost, and why.

    MODEL is ORGANIZATION/MODEL on the Hub, or a URI of spec.model.uri. FILE is an LLMDeployment, or the config.json of
    a model; - is the standard input.

    The numbers are those of the operator's planner, with the chart's profiles. Exit code 1: it fits nowhere, or meets
    no target.
    """
    from slipway_cli.offline.answering import answer_for
    from slipway_cli.offline.wanted import wanted_of

    profiles = _profiles(given)
    if given["list_gpus"]:
        from slipway_cli.offline.telling import tell_profiles

        tell_profiles(profiles)
        return
    if not model:
        raise click.UsageError("Name a model, as in: plan meta-llama/Llama-3.1-70B-Instruct")
    answers = [
        answer_for(each.deployment, each.known, each.draft.model if each.draft else None, profiles)
        for each in wanted_of(model, changes_of(given, profiles))
    ]
    for at, answer in enumerate(answers):
        _refuse_unknown(answer)
        if at and form not in ("json", "name"):
            click.echo("---" if form == "yaml" or given["manifest"] else "")
        _tell(answer, form, given)
    if not all(answer.is_well for answer in answers):
        ctx.exit(NOT_WELL)


def _tell(answer: Answer, form: str | None, given: Mapping[str, Any]) -> None:
    from slipway_cli.offline import answering, manifests, telling

    if given["manifest"]:
        click.echo(manifests.written(answer), nl=False)
    elif form in ("json", "yaml"):
        documents.write(documents.document("Plan", **answering.as_members(answer)), form)
    elif form == "name":
        for each in answer.comparison.offers:
            click.echo(each.candidate.label)
    else:
        telling.tell(answer, wide=form == "wide", everything=given["everything"])


def _refuse_unknown(answer: Answer) -> None:
    """Without the model's numbers, a plan needs a profile that the spec names."""
    from slipway.operator.planning import Plan

    from slipway_cli.offline.answering import lacking
    from slipway_cli.offline.wanted import why_unknown

    model, uri = answer.known.model, answer.deployment.spec.model.uri
    if isinstance(answer.plan, Plan):
        return
    if model is None:
        raise Problem(why_unknown(uri))
    if fields := lacking(model):
        ways = " ".join(f"--fact {field}=…" for field in fields)
        problems = "".join(f" {each}" for each in answer.known.problems)
        raise Problem(f"Nothing is known of {', '.join(fields)} of {uri}: add {ways}.{problems}")


def _profiles(given: Mapping[str, Any]) -> Profiles:
    from slipway_cli.offline import profiles

    file = given["profile_file"]
    return profiles.with_prices(profiles.of_file(file) if file else profiles.shipped(), _prices(given["prices"]))


def changes_of(given: Mapping[str, Any], profiles: Profiles) -> dict[str, dict[str, Any]]:
    """What the command line says of the spec, by section."""
    from slipway_cli.offline.profiles import named

    engine = {
        "name": given["engine"],
        "contextLength": given["context"],
        "maxConcurrency": given["concurrency"],
        "quantization": _as_known(given["quantization"]),
        "kvCacheDtype": _as_known(given["kv_cache"]),
        "parallelism": {"tensor": given["devices"]} if given["devices"] else None,
    }
    accelerator = {"profiles": named(given["gpus"], profiles) or None, "policy": given["policy"]}
    sections = {
        "model": {"facts": _facts(given["facts"])},
        "engine": engine,
        "accelerator": accelerator,
        "scaling": {"target": target_of(given["target"])},
    }
    said = {name: {key: value for key, value in each.items() if value is not None} for name, each in sections.items()}
    return {name: each for name, each in said.items() if each}


def _as_known(word: str | None) -> str | None:
    """`fp8` is FP8, `none` is None and `auto` is Auto."""
    if word is None:
        return None
    return word.capitalize() if word.lower() in ("none", "auto") else word.upper()


def target_of(text: str | None) -> dict[str, str] | None:
    if not text:
        return None
    found = {}
    for part in re.split(r"[,\s]+", text.strip()):
        name, is_given, value = part.partition("=")
        if not is_given or name.lower() not in TARGETS or not value:
            raise Misused(f"--target {text} is invalid: write ttft=500ms,tpot=40ms, or one of the two.")
        found[TARGETS[name.lower()]] = value
    return found


def _facts(texts: tuple[str, ...]) -> dict[str, Any] | None:
    return {name: _number(value) for name, value in _pairs("--fact", texts, "layers=80")} or None


def _number(text: str) -> int | str:
    """`8e9` and `70_000_000` are numbers of things, too."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else text


def _prices(texts: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for name, value in _pairs("--price", texts, "h100-80gb=2.50"):
        try:
            price = float(value)
        except ValueError:
            price = -1.0
        if not 0 <= price < float("inf"):
            raise Misused(f"--price {name}={value} is not a price per hour: write a number, as {name}=2.50.")
        found[name.lower()] = price
    return found


def _pairs(option: str, texts: tuple[str, ...], example: str) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    for (name, is_given, value), text in zip(pairs, texts, strict=True):
        if not name or not is_given or not value:
            raise Misused(f"{option} {text} is invalid: write it as {example}.")
    return [(name, value) for name, _, value in pairs]
