"""Answers for programs: JSON and YAML with a version, whose members stay as they are within `cli.slipway.dev/v1`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from slipway_cli.visible import plain

API_VERSION = "cli.slipway.dev/v1"

Document = Mapping[str, Any]


def document(kind: str, **members: Any) -> Document:
    """Members that are None are left out: they aren't known."""
    known = {name: value for name, value in members.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": kind, **known}


def write(found: Document, form: str) -> None:
    """Letters of tenants stay readable, unless one would steer a terminal: then all but ASCII is escaped."""
    text = _text(found, form, ascii_only=False)
    click.echo(text if plain(text) == text else _text(found, form, ascii_only=True), nl=form == "json")


def _text(found: Document, form: str, *, ascii_only: bool) -> str:
    if form == "json":
        return json.dumps(found, indent=2, ensure_ascii=ascii_only, allow_nan=False)
    import yaml

    return str(yaml.safe_dump(dict(found), sort_keys=False, allow_unicode=not ascii_only, width=118))
