"""Answers for programs: JSON and YAML with a version, whose members stay as they are within `cli.slipway.dev/v1`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from slipway_cli.visible import CONTROLS

API_VERSION = "cli.slipway.dev/v1"

Document = Mapping[str, Any]


def document(kind: str, **members: Any) -> Document:
    """Members that are None are left out: they aren't known."""
    known = {name: value for name, value in members.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": kind, **known}


def write(found: Document, form: str) -> None:
    """Letters that would act on a terminal are escaped, which changes nothing for a program."""
    if form == "json":
        text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
        click.echo(CONTROLS.sub(lambda each: json.dumps(each[0])[1:-1], text))
        return
    import yaml

    text = yaml.safe_dump(dict(found), sort_keys=False, allow_unicode=True, width=118)
    if CONTROLS.search(text):
        text = yaml.safe_dump(dict(found), sort_keys=False, allow_unicode=False, width=118)
    click.echo(text, nl=False)
