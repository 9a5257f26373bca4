"""`init`: writes an LLMDeployment, from a few questions or from flags; without a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.output import screen
from slipway_cli.problems import NOT_WELL, Misused

if TYPE_CHECKING:
    from slipway_cli.offline.answering import Answer
    from slipway_cli.offline.drafting import Draft

NEVER = "never"


@click.command(short_help="Write an LLMDeployment, from a few questions or from flags.")
@click.argument("model", required=False, metavar="MODEL")
@click.option("--name", help="Name of the object.  [default: from the model]")
@click.option("--namespace", "-n", help="Its namespace.  [default: left out]")
@click.option("--gpu", "gpus", multiple=True, metavar="NAME", help="Only these accelerator profiles.")
@click.option("--engine", metavar="NAME", help="vllm or llamacpp.  [default: vllm]")
@click.option("--target", metavar="TIMES", help="Latencies to meet: ttft=500ms,tpot=40ms.")
@click.option("--idle-after", metavar="TIME", help="Sleep after so long without requests, or never.  [default: 10m]")
@click.option("--max-replicas", type=click.IntRange(1), metavar="N", help="Most replicas.  [default: 1]")
@click.option("--keys", metavar="SECRET", help="Secret with the API keys of clients.")
@click.option("--hub-token", metavar="SECRET", help="Secret with the token for the model's source.")
@click.option("--per-day", type=click.FloatRange(0, min_open=True), metavar="AMOUNT", help="Budget of a day.")
@click.option("--file", "-f", "target_file", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--yes", "-y", "quiet", is_flag=True, help="Ask nothing.")
@click.pass_context
def command(ctx: click.Context, /, model: str | None, target_file: Path | None, **given: Any) -> None:
    """Write an LLMDeployment with comments, from a few questions or from flags, without a cluster.

    What isn't given by a flag is asked for, if this is a terminal; else it has its default. The file is planned before
    it is written: if the model fits nowhere, that is said, and the exit code is 1.
    """
    asks = _asker(quiet=given["quiet"])
    uri = _uri(model or asks("Model, as ORGANIZATION/MODEL or a URI", ""))
    draft = _draft(uri, given, asks)
    answer, remarks = _planned(draft)
    if answer is not None and answer.chosen is not None and draft.ttft + draft.tpot:
        draft = _with_chosen(draft, answer)
    _write(draft, remarks, target_file, force=given["force"])
    if answer is not None and not answer.is_well:
        ctx.exit(NOT_WELL)


def _asker(*, quiet: bool) -> Callable[[str, str], str]:
    is_terminal = not quiet and sys.stdin.isatty() and sys.stderr.isatty()

    def ask(question: str, default: str) -> str:
        if not is_terminal:
            return default
        answer: str = click.prompt(question, default=default, err=True, show_default=bool(default))
        return answer.strip()

    return ask


def _uri(model: str) -> str:
    from slipway_cli.offline.wanted import wanted_of

    if not model:
        raise click.UsageError("Name a model, as in: init meta-llama/Llama-3.1-8B-Instruct")
    if "://" in model or model.count("/") == 1:
        return model if "://" in model else f"hf://{model}"
    return wanted_of(model, {})[0].deployment.spec.model.uri


def _draft(uri: str, given: dict[str, Any], asks: Callable[[str, str], str]) -> Draft:
    from slipway_cli.commands.plan import target_of
    from slipway_cli.offline.drafting import Draft
    from slipway_cli.offline.profiles import named, shipped
    from slipway_cli.offline.wanted import name_of

    name = given["name"] or asks("Name", name_of(uri))
    target = given["target"]
    if target is None:
        target = asks("Latencies to meet, as ttft=500ms,tpot=40ms (nothing: none)", "")
    times = target_of(target) or {}
    idle_after = given["idle_after"] or asks(f"Sleep after so long without requests, or {NEVER}", "10m")
    replicas = given["max_replicas"] or _whole(asks("Most replicas", "1"))
    keys = given["keys"]
    if keys is None:
        keys = asks("Secret with the API keys of clients (nothing: no keys)", "")
    return Draft(
        name=name,
        namespace=given["namespace"] or "",
        uri=uri,
        hub_token=given["hub_token"] or "",
        profiles=tuple(named(given["gpus"], shipped())),
        engine=given["engine"] or "",
        ttft=times.get("ttftP95", ""),
        tpot=times.get("tpotP95", ""),
        idle_after=idle_after,
        most_replicas=replicas,
        keys=keys,
        per_day=given["per_day"],
    )


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Misused(f"{text!r} is not a number of replicas: write a whole number from 1.")
    return int(text)


def _planned(draft: Draft) -> tuple[Answer | None, tuple[str, ...]]:
    """The plan, where the model's numbers are known, and what the file says of it."""
    from slipway.operator.planning import Plan

    from slipway_cli.offline.answering import answer_for, headline, lacking
    from slipway_cli.offline.drafting import spec_of
    from slipway_cli.offline.profiles import shipped
    from slipway_cli.offline.wanted import checked

    wanted = checked(spec_of(draft), draft.name)
    if wanted.known.model is None or lacking(wanted.known.model):
        return None, ("It wasn't planned, because this version doesn't know the model: spec.model.facts describes it.",)
    answer = answer_for(wanted.deployment, wanted.known, None, shipped())
    by_prices = "By the chart's prices: " if isinstance(answer.plan, Plan) else ""
    return answer, (f"{by_prices}{headline(answer)}",)


def _with_chosen(draft: Draft, answer: Answer) -> Draft:
    """The accelerator that meets the target, since the operator takes the cheapest that fits."""
    from dataclasses import replace

    spec = answer.deployment.spec
    tensor = spec.engine.parallelism.tensor
    return replace(draft, profiles=tuple(spec.accelerator.profiles), tensor=None if tensor == "Auto" else tensor)


def _write(draft: Draft, remarks: tuple[str, ...], file: Path | None, *, force: bool) -> None:
    from slipway_cli.offline.drafting import written

    text = written(draft, remarks)
    if file is None or str(file) == "-":
        click.echo(text, nl=False)
        return
    if file.exists() and not force:
        raise Misused(f"{file} exists: choose another file, or replace it by --force.")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misused(f"{file} can't be written ({os.strerror(error.errno or 0)}): choose another file.") from None
    for remark in remarks:
        screen.paragraph(remark)
    screen.paragraph(f"{file} is written: `kubectl llm plan {file}` plans it, `kubectl apply -f {file}` starts it.")
