"""The programs `kubectl-llm` (which kubectl runs for `kubectl llm`) and `slipway`: one group of commands.

A command's module is imported when the command runs, so that `--help` and completion don't wait for it.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import PurePath
from typing import Any, NamedTuple

import click

from slipway_cli.ending import Piped, run
from slipway_cli.output.screen import wants_colour


class Lazy(NamedTuple):
    """Where a command is, as MODULE or MODULE:ATTRIBUTE, and what `--help` says of it; a test compares that with the
    command's own help."""

    module: str
    help: str
    section: str


WITHOUT_CLUSTER = "Without a cluster"
LOOKING = "What a cluster has"
CHANGING = "Changes"
TALKING = "Requests"

COMMANDS = {
    "plan": Lazy("plan", "Show what a model needs: accelerators, requests, speed and cost.", WITHOUT_CLUSTER),
    "init": Lazy("init", "Write an LLMDeployment, from a few questions or from flags.", WITHOUT_CLUSTER),
    "explain": Lazy("explain", "Explain a reason, state or condition, with its runbook.", WITHOUT_CLUSTER),
    "status": Lazy("status", "Show models, or all about one of them.", LOOKING),
    "top": Lazy("top", "Show what models do now: requests, tokens, times, KV cache and cost.", LOOKING),
    "why": Lazy("why", "Say why a model is as it is, and what to run next.", LOOKING),
    "tree": Lazy(
        "tree", "Show the objects of a model, live with --watch, and the cause at the one that fails.", LOOKING
    ),
    "timeline": Lazy("timeline", "Draw the last start of a model, phase by phase.", LOOKING),
    "events": Lazy("events", "Show the events of a model and of all that belongs to it, by time.", LOOKING),
    "logs": Lazy("logs", "Show the logs of all pods of a model, by time.", LOOKING),
    "wait": Lazy("wait", "Wait until a model is ready, idle or rolled out.", LOOKING),
    "accelerators": Lazy(
        "accelerators", "Show what the cluster has of each accelerator, what is free, and who holds it.", LOOKING
    ),
    "doctor": Lazy("doctor", "Check that the cluster has what models need, with a remedy for each line.", LOOKING),
    "support-bundle": Lazy("support_bundle", "Collect what a maintainer needs to help, without credentials.", LOOKING),
    "diff": Lazy("diff", "Show what a file would change, whether pods restart, and what that costs.", LOOKING),
    "wake": Lazy("acting:wake", "Wake a model at zero replicas.", CHANGING),
    "sleep": Lazy("acting:sleep", "Send a model to sleep now.", CHANGING),
    "pause": Lazy("acting:pause", "Leave the number of replicas as it is.", CHANGING),
    "resume": Lazy("acting:resume", "Let the number of replicas follow the demand again.", CHANGING),
    "restart": Lazy("restart", "Replace the pods of a model by new ones, as a rollout.", CHANGING),
    "chat": Lazy("chat:chat", "Talk with a model; it is woken if it sleeps.", TALKING),
    "complete": Lazy("chat:complete", "Complete a text by a model; it is woken if it sleeps.", TALKING),
    "completion": Lazy("completion", "Print the script that completes commands in a shell.", "Shells"),
}
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """The commands by name, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].module.partition(":")
        found: click.Command = getattr(import_module(f"slipway_cli.commands.{module}"), attribute or "command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(each.section for each in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, each.help) for name, each in COMMANDS.items() if each.section == section], col_max=20
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"'{ctx.info_name} --help' lists the commands."
            ctx.fail(f"'{args[0]}' is not a command. {hint}")
        return super().resolve_command(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _piped():  # --help and --version are written here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _piped():
            return super().invoke(ctx)


@contextlib.contextmanager
def _piped() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise Piped from None  # click itself would end with 1


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(package_name="slipway-cli", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Plan, watch and diagnose language models that Slipway serves on Kubernetes.

    Exit codes: 0 well, 1 not well, 2 wrong usage, 3 can't tell.
    """
    ctx.color = wants_colour()


def main() -> None:
    gc.set_threshold(100_000)  # most commands end before garbage matters, and importing makes a lot of what stays
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console with another encoding than UTF-8, as on Windows
    sys.exit(run(cli, program(sys.argv[0])))


def program(path: str) -> str:
    """As users call it: kubectl runs `kubectl-llm` for `kubectl llm`."""
    name = PurePath(path.replace("\\", "/")).name.removesuffix(".exe")
    return "kubectl llm" if name == "kubectl-llm" else name
