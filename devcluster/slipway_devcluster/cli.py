"""`devcluster`: the command line."""

from __future__ import annotations

import click

from .errors import Refusal
from .lifecycle import down as bring_down
from .lifecycle import up as bring_up
from .paths import default_cache
from .progress import Steps


@click.group()
def main() -> None:
    pass


@main.command()
@click.option("--name", default="dev")
@click.option("--gpu-nodes", default="")
@click.option("--node-gpus", default=0)
@click.option("--port", type=int)
def up(name: str, gpu_nodes: str, node_gpus: int, port: int | None) -> None:
    cache = default_cache()
    try:
        c = bring_up(name, cache=cache, steps=Steps(cache), gpu_nodes=gpu_nodes, node_gpus=node_gpus, port=port)
        print(c.record.phases)
    except Refusal as e:
        raise click.ClickException(str(e))


@main.command()
@click.option("--name", default="dev")
def down(name: str) -> None:
    cache = default_cache()
    try:
        bring_down(name, cache=cache, steps=Steps(cache))
    except Refusal as e:
        raise click.ClickException(str(e))
