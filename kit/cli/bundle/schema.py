"""`speedrun bundle schema`: the JSON Schemas of signed documents."""

from __future__ import annotations

import click

from kit.cli.terminal import emit_json, say
from kit.core.schema import load_schema, schema_names


@click.command("schema")
@click.argument("name", default="result.v2")
@click.option("--list", "list_names", is_flag=True, help="List the names of all schemas.")
def command(name: str, list_names: bool) -> None:
    """Print a JSON Schema (2020-12); by default that of a bundle's payload.

    \b
    Examples:
      speedrun bundle schema
      speedrun bundle schema --list
    """
    if list_names:
        say(*schema_names())
    else:
        emit_json(load_schema(name))
