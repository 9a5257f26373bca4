"""`completion`: the script that a shell needs to complete the program's commands, flags and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from slipway_cli.problems import Problem

PROGRAM = "slipway"
KUBECTL = """\
# kubectl completes `kubectl llm` by itself, since version 1.26: by the program kubectl_complete-llm, which is installed
# next to kubectl-llm, and kubectl's own completion (`kubectl completion SHELL`). What follows is for `slipway`."""


@click.command(short_help="Print the script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, /, shell: str) -> None:
    """Print the script by which a shell completes the commands, flags and names of `slipway`:

    \b
      bash: source <(slipway completion bash)
      zsh:  source <(slipway completion zsh)
      fish: slipway completion fish | source

    `kubectl llm` needs none: kubectl 1.26 or later completes it by the program kubectl_complete-llm on the PATH.
    """
    found = get_completion_class(shell)
    if found is None:
        raise Problem(f"This version of click has no completion for {shell}: choose another shell.")
    click.echo(KUBECTL)
    click.echo(found(ctx.find_root().command, {}, PROGRAM, "_SLIPWAY_COMPLETE").source())
